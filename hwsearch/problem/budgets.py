"""Budgets as people write them, ``latency=8ms``: the only parser of that notation.

A budget is an upper limit on one objective. Whatever leaves this module is in SI units: seconds, bytes, decibels, joules.
Prefixes are decimal (kB, MB) or binary (KiB, MiB), and upper and lower case do not matter, except that MJ is
refused: it is no millijoule. Two budgets are those of papers and
of no device: ``mean_bits``, weight bits by parameters over the layers of the scope, and ``bitops``, multiply-accumulates times
both widths (see ``hwmodels.counting``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from hwmodels.errors import UsageError, closest
from hwsearch.documents import earlier

_BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}

UNITS: Mapping[str, Mapping[str, float]] = {
    "latency": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6},
    "memory": _BYTES,
    "weights": _BYTES,
    "loss": {"dB": 1.0},
    "energy": {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "µJ": 1e-6, "nJ": 1e-9},
    "mean_bits": {"": 1.0, "bit": 1.0, "bits": 1.0},
    "bitops": {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15},
}
"""Objective -> unit -> factor to the SI unit; an empty unit may be left out."""

EXAMPLES = "latency=8ms, memory=512KiB, weights=1MB, loss=0.3dB, energy=2mJ, mean_bits=4, bitops=12G"
_QUANTITY = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\W\d_]*)")


def read(budgets: Iterable[str] | None, equal_bits: float | None = None, bitops: str | None = None) -> dict[str, float]:
    """Limits from all options that set one: ``--budget``, and its short forms ``--equal-bits`` and ``--bitops``.

    Raises:
        UsageError: as ``parse``.
    """
    short = ([] if equal_bits is None else [f"mean_bits={equal_bits:g}"]) + ([] if bitops is None else [f"bitops={bitops}"])
    return parse([*(budgets or ()), *short])


def of_python(budget: object) -> dict[str, float]:
    """Limits as Python's callers give them: ``"latency=8ms"``, several of those, or objective -> limit, a number in SI units or a
    text with its unit.

    Raises:
        UsageError: as ``parse``, and what is none of these.
    """
    if isinstance(budget, Mapping):
        texts = [f"{key}={value}" for key, value in budget.items() if isinstance(value, str)]
        return {**{key: value for key, value in budget.items() if not isinstance(value, str)}, **parse(texts)}
    given = [budget] if isinstance(budget, str) else budget
    if not isinstance(given, Iterable):
        raise UsageError(f"budget {budget!r} is no text", f"Give for example budget='latency=8ms'; several: {EXAMPLES}.")
    texts = list(given)
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise UsageError(f"budget {wrong[0]!r} is no text", f"Give for example budget='latency=8ms'; several: {EXAMPLES}.")
    return parse(texts)


def parse(budgets: Iterable[str]) -> dict[str, float]:
    """Read ``KEY=VALUE UNIT`` texts.

    Returns:
        Objective -> limit in SI units, in the order given.
    Raises:
        UsageError: not of that form, an unknown objective, a unit that does not measure it, a limit that nothing can meet,
            or an objective given twice.
    """
    limits: dict[str, float] = {}
    for text in budgets:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not value:
            raise UsageError(f"{text!r} is not a budget", f"Write KEY=VALUE with a unit, for example {EXAMPLES}.")
        key = earlier.BUDGETS.get(key, key)
        if key not in UNITS:
            raise UsageError(f"budget {text!r}: there is no objective {key!r}", closest(key, UNITS))
        if key in limits:
            raise UsageError(f"budget {key!r} is given twice", "Keep the smaller one.")
        limits[key] = quantity(key, value)
    return limits


def quantity(key: str, text: str) -> float:
    """One value of objective ``key`` in SI units.

    Raises:
        UsageError: no number, no unit or a wrong one, or a value that is not positive (zero is allowed for ``loss``).
    """
    units = UNITS[key]
    allowed = ", ".join(name for name in units if name)
    match = _QUANTITY.fullmatch(text)
    if not match:
        raise UsageError(f"budget {key}={text!r} is not a number and a unit", f"Units for {key}: {allowed}. Example: {EXAMPLES}.")
    number, unit = float(match[1]), match[2]
    factors = {name.lower(): factor for name, factor in units.items()}
    if not unit and "" not in units:
        raise UsageError(f"budget {key}={text} has no unit", f"Units for {key}: {allowed}.")
    if unit.lower() not in factors or (key == "energy" and unit.startswith("M")):
        raise UsageError(f"budget {key}={text}: {unit!r} does not measure {key}", f"Units for {key}: {allowed}.")
    value = number * factors[unit.lower()]
    if key == "loss" and value < 0:
        raise UsageError(f"budget {key}={text} asks for more than floating point gives", "Give zero or a loss above it.")
    if not math.isfinite(value) or value < 0 or (value == 0 and key != "loss"):
        raise UsageError(f"budget {key}={text} can never be met", "Give a limit greater than zero.")
    return value
