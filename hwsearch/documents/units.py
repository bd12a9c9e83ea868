"""SI values in the form that people read, for the terminal and the report. Axes of figures count in the same units (``BYTES``,
``SECONDS``); numbers of device files are written by ``hwmodels.device.facts``, and ``problem.budgets`` reads what people write.

Bytes use powers of 1024 (KiB, MiB), everything else powers of 1000. ``None`` is written as a dash.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from hwmodels.numbers import Width, bits_of

if TYPE_CHECKING:
    from hwmodels.fitting.agreement import Doubt
    from hwmodels.tiling.tiling import Tiling

NONE = "–"
"""What stands where there is no value."""
UNKNOWN = "not known"
"""What stands where a device's file has no figure that a price could follow from."""
THREE_WORDS = (
    "Simulated: quantized in floating point on the search pictures; predicted: from the damage of single choices; "
    "measured: run in integers on the evaluation pictures."
)
NO_MEASUREMENT = "no measurement of this device"
"""Beside a latency that nothing was ever compared with; ``NEVER_MEASURED`` is the same in a sentence."""
NEVER_MEASURED = "No latency of {} was ever compared with a measurement: it follows from data sheets and stated assumptions."
FEW_MEASUREMENTS = "no interval: compared with too few measurements"
FEWER_MEASURED = (
    "Latencies of {} were compared with fewer than {} measurements, or were only fitted to its own: too few for an interval."
)
"""``NO_MEASUREMENT`` and ``NEVER_MEASURED`` where there were some."""
HALO = {"keep": "kept", "recompute": "recomputed"}
MINUS = "\u2212"
DIGITS = 3
BYTES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
JOULES = ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ"), (1e-12, "pJ"))
COUNTS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def _significant(value: float) -> str:
    """``value`` (not negative) with at least three significant digits, never in exponent form: 4.31, 13.2, 118, 2048."""
    if value == 0:
        return "0"
    decimals = DIGITS - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    return f"{rounded:.{max(0, DIGITS - 1 - math.floor(math.log10(abs(rounded))))}f}"


def bytes_(count: float | None) -> str:
    """``13517 -> "13.2 KiB"``."""
    if count is None:
        return NONE
    if abs(count) < 1024:
        return f"{count:.0f} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if abs(value) < 999.5 or unit == "GiB":
            break
    return f"{_significant(value)} {unit}"


def interval(low_s: float, high_s: float) -> str:
    """``0.00329, 0.00623 -> "3.29 to 6.23 ms"``; an end that is not known is left open."""
    if math.isinf(high_s):
        return f"{seconds(low_s)} or more"
    low, high = seconds(low_s), seconds(high_s)
    number, _, unit = low.rpartition(" ")
    return f"{number} to {high}" if high.endswith(f" {unit}") else f"{low} to {high}"


def doubt(known: Doubt) -> str:
    """A sentence on how far latencies may be off, and from which difference on one plan is faster than another."""
    left_out = f", {known.groups} families of networks left out in turn" if known.groups > 1 else ""
    seen = f" (the fit saw {known.seen})" if known.seen else ""
    said = f"90 % of predicted latencies were within {known.share:.0%} of {known.source}{left_out}{seen}"
    if known.between_plans is None:
        return f"{said}."
    return f"{said}; between two plans of one network, differences below {known.between_plans:.0%} are not significant."


def seconds(value_s: float | None) -> str:
    """``0.00431 -> "4.31 ms"``; minutes from 100 s on."""
    if value_s is None:
        return NONE
    if value_s == 0:
        return "0 s"
    if value_s >= 99.95:
        minutes, rest = divmod(round(value_s), 60)
        return f"{minutes} min {rest:02d} s"
    return _scaled(value_s, SECONDS)


def joules(value_j: float | None) -> str:
    """``0.0021 -> "2.10 mJ"``; ``None`` is not known."""
    if value_j is None:
        return UNKNOWN
    return "0 J" if value_j == 0 else _scaled(value_j, JOULES)


def _scaled(value: float, units: Sequence[tuple[float, str]]) -> str:
    """``value`` in the largest of ``units`` of which it is at least one, once it is rounded."""
    factor, unit = next((known for known in units if abs(value) >= 0.9995 * known[0]), units[-1])
    return f"{_significant(value / factor)} {unit}"


def count(number: float) -> str:
    """A count: ``998 -> "998"``, ``12_345 -> "12.3 k"``, ``6.16e9 -> "6.16 G"``, and powers of ten from 10^15 on."""
    if abs(number) < 1000:
        return f"{number:.0f}"
    if abs(number) >= 1e15:
        return f"about 10{_superscript(math.floor(math.log10(abs(number))))}"
    factor, prefix = next((f, p) for f, p in COUNTS if abs(number) >= f)
    return f"{_significant(number / factor)} {prefix}"


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def decibel(value_db: float | None, digits: int = 2) -> str:
    """A level: ``36.8412 -> "36.84 dB"``."""
    return NONE if value_db is None else f"{decibel_number(value_db, digits)} dB"


def decibel_number(value_db: float, digits: int = 2) -> str:
    """The number alone, with a typographic minus and no negative zero."""
    if math.isinf(value_db):
        return "∞" if value_db > 0 else f"{MINUS}∞"
    text = f"{abs(value_db):.{digits}f}"
    return f"{MINUS}{text}" if value_db < 0 and float(text) else text


def loss(value_db: float | None) -> str:
    """A PSNR loss: three decimals below 1 dB, where they matter, two above."""
    return NONE if value_db is None else decibel(value_db, 3 if abs(value_db) < 0.9995 else 2)


def ratio(value: float | None) -> str:
    """``4.27 -> "4.27×"``."""
    return NONE if value is None or not math.isfinite(value) or value <= 0 else f"{_significant(value)}×"


def percent(share: float) -> str:
    """``0.1234 -> "12 %"``; small shares have a decimal: ``0.0123 -> "1.2 %"``."""
    return f"{100 * share:.{0 if abs(share) >= 0.0995 or share == 0 else 1}f} %"


def tile(tiling: Tiling | None) -> str:
    """``"15x320 kept"``, or a dash for the whole picture."""
    return NONE if tiling is None else f"{tiling.height}x{tiling.width} {HALO[tiling.halo]}"


def blocks(names: Sequence[str]) -> str:
    """Blocks that a network is without, or a dash."""
    return listing(names) or NONE


def branches(ranks: Mapping[str, int]) -> str:
    """Layers with a low-rank branch, and its rank: ``"c.0=4, d=8"``, or a dash."""
    return ", ".join(f"{layer}={rank}" for layer, rank in ranks.items()) or NONE


def rewritten(dropped: Sequence[str], ranks: Mapping[str, int]) -> str:
    """What was done to a network: ``"without IMDB4 and with low-rank branches (c.0=4)"``; empty: nothing."""
    said = [f"without {listing(dropped)}"] if dropped else []
    if ranks:
        said.append(f"with low-rank branches ({branches(ranks)})")
    return listing(said)


def behind(rewritten: str) -> str:
    """The same behind the name of the network."""
    return f" {rewritten}" if rewritten else ""


def headroom(left: float) -> str:
    """The share of the time between two pictures that is left over; a negative one means that the rate is not held."""
    return percent(left) if left >= 0 else "not held"


def rate(latency_s: float, fps: float) -> str:
    """Whether a plan holds a rate: ``"30 pictures a second held, headroom 41 %"``, or how far it comes."""
    share = latency_s * fps
    if share > 1:
        return f"{fps:g} pictures a second not held: {_significant(1 / latency_s)} a second, {_significant(share)} times too slow"
    return f"{fps:g} pictures a second held, headroom {percent(1 - share)} of the time between two"


_BUDGETS: Mapping[str, tuple[Callable[[float], str], str]] = {
    "latency": (seconds, "latency"),
    "memory": (bytes_, "memory (weights and peak activations)"),
    "weights": (bytes_, "weight memory"),
    "loss": (loss, "loss of quality"),
    "energy": (joules, "energy"),
    "mean_bits": ("{:g}".format, "bits a weight"),
    "bitops": (count, "bit operations"),
}


BRIEF = 60
"""Characters of a plan's widths beyond which a screen counts them."""


def budget(name: str, value: float) -> str:
    """A budget in SI units: ``("latency", 0.008) -> "8.00 ms latency"``."""
    form, title = _BUDGETS[name]
    return f"{form(value)} {title}"


def compress_bits(bits: Iterable[Width]) -> str:
    """Widths in network order, runs of three and more written once: ``[8, 8, 6, 6, 6, 6, 8] -> "8·8·6×4·8"``."""
    parts: list[str] = []
    for width, run in groupby(bits):
        length = len(list(run))
        parts += [str(width)] * length if length < 3 else [f"{width}×{length}"]
    return "·".join(parts) or NONE


def plan_bits(weight_bits: Mapping[str, Width], activation_bits: Mapping[str, Width]) -> tuple[str, str]:
    """The two bit strings of a plan: weights by layer, activations by width group of tensors."""
    return compress_bits(weight_bits.values()), compress_bits(activation_bits.values())


def brief_bits(weight_bits: Mapping[str, Width], activation_bits: Mapping[str, Width]) -> tuple[str, str]:
    """The same for a screen: of a network of hundreds of layers, whose widths in order are longer than ``BRIEF``, how many have
    each: ``"4 in 49, 8 in 121"``."""
    return _brief(weight_bits.values()), _brief(activation_bits.values())


def on_counts(bits: Iterable[tuple[str, str]]) -> str:
    """What to say below a table of ``brief_bits``: nothing where all widths stand in their order."""
    counted = any(" in " in written for pair in bits for written in pair)
    return "Widths: so many bits in so many layers or tensors; their order is in the plan files." if counted else ""


def _brief(bits: Collection[Width]) -> str:
    written = compress_bits(bits)
    if len(written) <= BRIEF:
        return written
    found = Counter(bits)
    return ", ".join(f"{width} in {found[width]}" for width in sorted(found, key=lambda width: (bits_of(width), str(width))))


def meaning(wide: str) -> str:
    """What 16 bits are, in words, for the name of their format."""
    return {"fp16": "half precision", "bf16": "bfloat16"}.get(wide, "integers")


def listing(items: Iterable[str]) -> str:
    """``["a", "b", "c"] -> "a, b and c"``."""
    words = list(items)
    return " and ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])} and {words[-1]}"


def shorten(name: str, length: int) -> str:
    """A name cut in the middle, where names of layers differ least."""
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[len(name) - (length - 1 - head) :]}"
