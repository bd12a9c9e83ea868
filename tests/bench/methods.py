"""A page of quantization methods side by side, and which published claims it reproduces.

    hwsearch methods compare --network imdn ... --out imdn-44.json
    python tests/bench/methods.py reports/methods/*.json --into reports

Reads comparisons that ``hwsearch methods compare --out`` wrote and writes ``methods.md`` and ``methods.svg``. Nothing is measured
here. A claim is an order of two methods that a paper publishes, asked at the widths that it publishes it for; it is reproduced
where the difference, picture by picture, is of that sign and beyond its 95 % interval, a tie within it, and reversed otherwise.
Ours is set likewise beside the best published one.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from hwmodels.device import catalogue, reader
from hwsearch.documents import trust, units
from hwsearch.documents.comparisons import MethodComparison, MethodRow
from hwsearch.plans.compare_methods import beside_the_best
from hwsearch.quality.intervals import difference
from hwsearch.quant import methods


@dataclass(frozen=True)
class Claim:
    """An order of two methods that somebody published: ``better`` above ``worse``, by ``least_db`` at least, ``said`` where.

    ``bits``: widths of weights and tensors that it was published for; empty: it is asked of all, as the order of a whole table.
    """

    better: str
    worse: str
    said: str
    least_db: float = 0.0
    bits: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.better} above {self.worse} ({self.said})"

    def is_about(self, bits: tuple[int, int]) -> bool:
        """Whether it says anything of these widths of weights and tensors."""
        return not self.bits or set(bits) <= set(self.bits)


CLAIMS = (
    Claim("percentile", "minmax", "2DQuant's table at 3 and 4 bits; OAQ-SR's of EDSR has it the other way round", 0.0, (3, 4)),
    Claim("mse", "minmax", "OAQ-SR's table of EDSR x4 W4A4: 27.74 and 26.83 dB"),
    Claim("ptq4sr", "mse", "the same table, 30.51 and 27.74 dB: OAQ-SR's of EDSR x4 W4A4"),
    Claim("adabm", "ptq4sr", "the same table, 31.02 and 30.51 dB: OAQ-SR's of EDSR x4 W4A4"),
    Claim("dual_region", "ptq4sr", "the same table, 31.54 and 30.51 dB: OAQ-SR's of EDSR x4 W4A4"),
    Claim("harmoq", "twodquant", "HarmoQ's abstract: 0.46 dB above prior art at 2 bits, so 0.3 dB are asked for", 0.3, (2,)),
    Claim(
        "quantsr_plus",
        "lsq",
        "0.29 dB above the best before it at 2 bits, so 0.1 dB are asked for after equal steps",
        0.1,
        (2,),
    ),
    Claim("condiquant", "twodquant", "CondiQuant's table of SwinIR-light"),
)
BELIEVED = {
    (
        "ptq4sr",
        "mse",
    ): "on FSRCNN all ranges of its narrow tensors leave 8 to 10 dB at 4 bits, and moving ends cannot mend what integers that "
    "move (`lsq`, `together`) do; elsewhere its clipping keeps all but 5 values in 10,000 and so begins 0.3 to 1.1 dB below "
    "`mse`, of which a training of a twentieth to a third of its steps wins back at most half",
    (
        "quantsr_plus",
        "lsq",
    ): "one seed, a fifth of the steps (CARN-M: a tenth): it held on IMDN; on CARN-M its 0.3 dB are within the interval; "
    "on LapSRN both lose 14 dB, far from where either is of use",
    (
        "adabm",
        "ptq4sr",
    ): "held on CARN-M (1.2 dB); on IMDN, at a fifth of the steps, ends half-way to all values begin "
    "3.7 dB below `mse`, of which training wins back 2.7; thresholds are not trained, nor do layers have offsets",
    (
        "harmoq",
        "twodquant",
    ): "tried twice, on the linear layers of MobileSR and of ESWT: scales between channels, used only where they fold, begin "
    "0.02 and 0.04 dB below `twodquant`; corrected weights and the same training, of 40 steps, do not make up for that, and on "
    "ESWT end 0.8 dB below where they began",
    (
        "condiquant",
        "twodquant",
    ): "on the linear layers of MobileSR at 2 bits better conditioned weights begin 0.10 dB below those of `twodquant`, of "
    "which 40 steps of training win back 0.07; on those of ESWT they begin 0.01 dB below and end 0.03 dB above, a tie",
    (
        "dual_region",
        "ptq4sr",
    ): "on FSRCNN the middle tensors have no long tails, so half of the codes are spent on nothing; on IMDN and CARN-M "
    "its training, of a fifth and a tenth of the steps, wins back at most 0.1 dB, and it ends 0.8 dB below",
    (
        "mse",
        "minmax",
    ): "ties are FSRCNN at 4 bits, where both lose 24 dB and more, and IMDN at 2 bits, where they differ by picture",
}
"""Why a claim did not always hold, as far as we believe to know."""
SETS = {"a_set5_": "Set5"}
"""How names of pictures begin, and the set that they are of."""
OURS = "together"
WANTED = ("imdn x4", "vdsr x2", "carn_m x4", "lapsrn x2", "pan x4", "mobilesr x4", "hit_srf x4", "ngswin x2", "eswt x4")
"""Published networks that the comparison is meant for, at ``BITS``."""
BITS = ((4, 4), (3, 3), (2, 2))
NOT_BUILT = {
    "QuantSR+, slimmable": "the decisions of its bits and its distillation are `quantsr_plus`, and `--drop` takes "
    "blocks out before; its training, which finds out which blocks and drops one after another, is not built",
    "CADyQ, CABM, Granular-DQ": "widths of every layer or patch are chosen while the network runs, by what is trained beside it",
    "QuantVSR, QArtSR, in full": "`quantvsr` and `qartsr` are their quantizers with branches in integers; branches in floating "
    "point beside integer layers, perceptual losses and the training of the diffusion network are not built",
}
"""Published methods that are not here, and why."""
VERSIONS = (
    "Of the version before the present one are the rows of `together` and `output_noise` of abpn x3, hit_srf x4, imdn x4 "
    "without a block and mobilesr x4 linear, of vdsr x2 at W3A3 and W8A8, those of both of ngswin x2 at W3A3, of fsrcnn x2 "
    "without first and last layer and, at effort 0.2, at W4A8; those of `lsq` of abpn x3 and of hit_srf x4 W4A4; and that "
    "of `twodquant` of ngswin x2 W3A3. The other rows are of earlier versions, but for those named below. That one fits "
    "layers to what they read before it trains, gives idle channels work, and trains biases at a tenth of the rate that was "
    "usual at first. Earlier ones fit layers, and train biases so slowly, in eswt x4, ngswin x2 W4A4, imdn x4 W3A3 and W2A2 "
    "and fsrcnn x2 W4A8 at effort 1, but for `output_noise` of imdn x4, which fits nothing; they fit layers, at the earlier "
    "rate of biases, in mobilesr x4 W3A3; they do neither in carn_m x4 and lapsrn x2 W3A3, which train integers about the "
    "mean of what layers read, as those do. The rows of fsrcnn x2 W4A8 at effort 1 train twice as fast beside 8-bit "
    "tensors, and longer, as those at effort 0.2 do. Derivatives of bounds overflowed in earlier versions where few bits "
    "make rows of a normalization constant; the rows of `lsq` and `twodquant` of hit_srf x4 and ngswin x2 are of since, but "
    "for ngswin x2 W4A4, where training helped. Of the present version, which polishes from fitted layers and from where a "
    "plan was calibrated, are the rows of `together` at W4A4 of carn_m x4, imdn x4 with all blocks, lapsrn x2, pan x4, vdsr "
    "x2 and mobilesr x4 without first and last layer (before, they lost 1.71, 2.59, 3.92, 1.86, 0.91 and 1.40 dB), and "
    "those of pan x4 at W3A3 (2.73 dB), of `output_noise` of mobilesr x4 W4A4 (1.73 dB), of mobilesr x4 at effort 1 and "
    "of fsrcnn x2 in two regions, by the rule of the paper and of its code. Seconds are of machines that "
    "had other work, too."
)
"""What of the rows was measured by which version."""
COLUMNS = 4
"""Panels beside each other in the figure."""


def joined(comparisons: Sequence[MethodComparison]) -> list[MethodComparison]:
    """Comparisons of one network on the same pictures as one, in the order of the first of them."""
    alike: dict[tuple[object, ...], list[MethodComparison]] = {}
    for one in comparisons:
        key = (
            one.network,
            one.scale,
            one.weights_sha256,
            tuple(one.dropped),
            one.target,
            one.scope,
            one.seed,
            one.effort,
            tuple(one.pictures),
        )
        alike.setdefault(key, []).append(one)
    return [
        parts[0].model_copy(update={"rows": beside_the_best([row for part in parts for row in part.rows])})
        for parts in alike.values()
    ]


def verdicts(found: MethodComparison, bits: tuple[int, int]) -> Iterator[tuple[str, str, str]]:
    """(claim, difference, verdict) for every claim about these widths whose two methods were compared at them."""
    rows = {row.method: row for row in found.rows if (row.weight_bits, row.activation_bits) == bits}
    for claim in CLAIMS:
        if claim.better not in rows or claim.worse not in rows or not claim.is_about(bits):
            continue
        gain = difference(rows[claim.worse].losses_db, rows[claim.better].losses_db)
        if gain.is_tie:
            verdict = "tie"
        elif gain.mean < 0:
            verdict = "reversed"
        else:
            verdict = "reproduced" if gain.mean >= claim.least_db else f"right order, less than {claim.least_db:g} dB"
        yield str(claim), f"{gain.mean:+.2f} ± {gain.half:.2f} dB", verdict


def beside_published(found: MethodComparison, bits: tuple[int, int]) -> tuple[str, str] | None:
    """(the best published method of no higher price, what ours gains over it) at these widths; None where ours or theirs were not
    compared.

    The best is named by the pictures themselves, which favours it.
    """
    rows = [row for row in found.rows if (row.weight_bits, row.activation_bits) == bits]
    ours = [row for row in rows if row.method == OURS]
    published = [row for row in rows if not methods.load(row.method).INFO.source.startswith("hwsearch")]
    published = [row for row in published if ours and not _dearer(row, ours[0])]
    if not ours or not published:
        return None
    best = min(published, key=lambda row: row.loss_db)
    gain = difference(best.losses_db, ours[0].losses_db)
    return best.method, f"{gain.mean:+.2f} ± {gain.half:.2f} dB" + (", a tie" if gain.is_tie else "")


def _dearer(row: MethodRow, than: MethodRow) -> bool:
    """Whether a method's plan takes more time or memory on the target."""
    prices = ((one.latency_s, one.weight_bytes + one.peak_activation_bytes) for one in (row, than))
    return any(own > (1 + 1e-6) * other for own, other in zip(*prices, strict=True))


def widths(found: MethodComparison) -> list[tuple[int, int]]:
    """Pairs of widths that were compared, in their order."""
    return list(dict.fromkeys((row.weight_bits, row.activation_bits) for row in found.rows))


def _headed(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown behind an empty line."""
    return ["", *("| " + " | ".join(row) + " |" for row in (names, ["---"] * len(names), *rows))]


def _network(found: MethodComparison) -> str:
    return f"{found.network} x{found.scale}" + (f" without {', '.join(found.dropped)}" if found.dropped else "")


def _named(found: MethodComparison, bits: tuple[int, int]) -> str:
    return f"{_network(found)} W{bits[0]}A{bits[1]}"


def _summary(comparisons: Sequence[MethodComparison]) -> list[str]:
    """How often each claim held, and ours beside the best published method."""
    lines: list[str] = []
    every = [(found, bits) for found in comparisons for bits in widths(found)]
    ours = [
        (
            f"{_named(found, bits)}, {found.scope}",
            f"{len(found.pictures)}",
            f"{found.effort:g}",
            *beside,
        )
        for found, bits in every
        if (beside := beside_published(found, bits)) is not None
    ]
    if ours:
        lines += ["", f"## Ours, `{OURS}`, beside the best published method of the same widths and price"]
        lines += _headed(("network, widths, scope", "pictures", "effort", "best published", "ours gains"), ours)
    counts: dict[str, Counter[str]] = {}
    for found, bits in every:
        for claim, _, verdict in verdicts(found, bits):
            counts.setdefault(claim, Counter())[verdict.split(",")[0]] += 1
    kinds = ("reproduced", "right order", "tie", "reversed")
    told = [(claim, str(count.total()), *(str(count[kind]) for kind in kinds)) for claim, count in counts.items()]
    if told:
        lines += ["", "## Published claims: how often they were tried, and what came out"]
        lines += _headed(("claim", "tried", "reproduced", "right order, too little", "tie", "reversed"), told)
        failed = {claim.split(" (")[0] for claim, count in counts.items() if count["reproduced"] < count.total()}
        why = [(f"{better} above {worse}", reason) for (better, worse), reason in BELIEVED.items()]
        lines += ["", *(f"- {claim} did not always hold: {reason}." for claim, reason in why if claim in failed)]
    return lines


def missing(comparisons: Sequence[MethodComparison]) -> str:
    """The wanted networks that ours was not compared on, by their widths."""
    done = {_named(found, bits) for found in comparisons for bits in widths(found) if beside_published(found, bits)}
    left = {bits: [name for name in WANTED if f"{name} W{bits[0]}A{bits[1]}" not in done] for bits in BITS}
    return "; ".join(
        f"W{w}A{a}: {', '.join(names) if len(names) < len(WANTED) else 'any of them'}" for (w, a), names in left.items() if names
    )


def page(comparisons: Sequence[MethodComparison]) -> str:
    """The page, as Markdown."""
    lines = ["# Quantization methods side by side", ""]
    lines += [
        "Written by `tests/bench/methods.py` from what `hwsearch methods compare --out` measured: integers of our engine, on "
        "pictures that no method saw. Intervals are 95 % over pictures; a difference within its interval is a tie. The price is "
        "that of the plan on the target, with what a method's arithmetic needs at run time. Every method ran once, one seed. "
        "Effort: what trainings cost over what they usually may (`--effort`).",
        "",
        VERSIONS,
        "",
        "![Loss of each method](methods.svg)",
    ]
    targets = dict.fromkeys(found.target for found in comparisons if found.target in reader.shipped_names())
    lines += [line for target in targets for line in ("", trust.of(catalogue.load(target)).below)]
    lines += _summary(comparisons)
    for found in comparisons:
        for bits in widths(found):
            rows = [row for row in found.rows if (row.weight_bits, row.activation_bits) == bits]
            rows.sort(key=lambda row: row.loss_db)
            lines += ["", f"## {_network(found)}, W{bits[0]}A{bits[1]}, scope {found.scope}", ""]
            names = "method", "PSNR, dB", "loss, dB", "behind the best, dB", "SSIM", "before finishing, dB", "took, s"
            lines += [
                f"Floating point {found.float_db:.2f} dB, SSIM {found.float_second:.4f}, on {len(found.pictures)} pictures; "
                f"seed {found.seed}; effort {found.effort:g}; priced on {found.target}; weights {found.weights_sha256[:12]}.",
                "",
                "| " + " | ".join([*names, "latency", "energy", "memory"]) + " |",
                "|---" * (len(names) + 3) + "|",
            ]
            lines += [_line(row, row is rows[0]) for row in rows]
            lines += _of_sets(found, rows)
            lines += [line for row in rows for said in row.remarks for line in ("", f"{row.method}: {said}")]
            told = list(verdicts(found, bits))
            if told:
                lines += _headed(("published claim", "here", "verdict"), told)
    lines += ["", "## What is not here", ""]
    lines += [f"- {name}: {why}." for name, why in NOT_BUILT.items()]
    lines += [f"- `{OURS}` beside published methods was not measured for {missing(comparisons)}."]
    marks = {row.method for found in comparisons for row in found.rows}
    lines += ["", "## What is ours in them", ""]
    for name in sorted(marks):
        info = methods.load(name).INFO
        lines.append(f"- {name} ({info.source}): {info.reconstructed or 'as published'}. At run time: {info.price}.")
    return "\n".join(lines) + "\n"


def _of_sets(found: MethodComparison, rows: Sequence[MethodRow]) -> list[str]:
    """What the methods lose on the pictures of a known set alone, where only some are of it."""
    lines = []
    for prefix, name in SETS.items():
        of_it = [i for i, picture in enumerate(found.pictures) if picture.startswith(prefix)]
        if 0 < len(of_it) < len(found.pictures):
            losses = ", ".join(f"{row.method} {sum(row.losses_db[i] for i in of_it) / len(of_it):.2f}" for row in rows)
            lines += ["", f"On the {len(of_it)} pictures of {name} they lose, dB: {losses}."]
    return lines


def _line(row: MethodRow, best: bool) -> str:
    half = "" if row.half_db is None else f" ± {row.half_db:.2f}"
    behind = "best" if best else "tie" if row.tie else f"{row.behind_db:.2f} ± {row.behind_half_db:.2f}"
    memory = units.bytes_(row.weight_bytes + row.peak_activation_bytes)
    return (
        f"| {row.method} | {row.quality_db:.2f} | {row.loss_db:.2f}{half} | {behind} | {row.second:.4f} | "
        f"{row.first_db:.2f} | {row.seconds:.0f} | "
        f"{units.seconds(row.latency_s)} | {units.joules(row.energy_j)} | {memory} |"
    )


def figure(comparisons: Sequence[MethodComparison], path: Path) -> None:
    """Loss of every method with its interval, one panel for each network and pair of widths."""
    panels = [(found, bits) for found in comparisons for bits in widths(found)]
    columns = min(len(panels), COLUMNS)
    lines = -(-len(panels) // columns)
    drawn, axes = plt.subplots(lines, columns, figsize=(4 * columns, 3.2 * lines), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, (found, bits) in zip(axes.flat, panels, strict=False):
        rows = sorted((row for row in found.rows if (row.weight_bits, row.activation_bits) == bits), key=lambda row: -row.loss_db)
        halves = [row.half_db or 0.0 for row in rows]
        axis.errorbar([row.loss_db for row in rows], range(len(rows)), xerr=halves, fmt="o", color="#1f5fa8", capsize=3)
        axis.set_yticks(range(len(rows)), [row.method for row in rows])
        axis.set_title(f"{_network(found)}, W{bits[0]}A{bits[1]}", fontsize=10)
        axis.set_xlabel("loss, dB")
        axis.grid(axis="x", alpha=0.3)
    drawn.tight_layout()
    drawn.savefig(path, metadata={"Date": None})
    plt.close(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparisons", nargs="+", type=Path)
    parser.add_argument("--into", type=Path, default=Path("reports"))
    asked = parser.parse_args()
    found = joined([MethodComparison.model_validate_json(path.read_text()) for path in asked.comparisons])
    (asked.into / "methods.md").write_text(page(found))
    figure(found, asked.into / "methods.svg")


if __name__ == "__main__":
    main()
