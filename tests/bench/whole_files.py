"""Random networks as exported for Ethos-U: latency and on-chip memory of whole files, ours beside Vela's (needs the extra: vela).

Weights are normally distributed, as trained ones about are. Run, with seeds that no mend has looked at:

    python tests/bench/whole_files.py --seeds 200:206 [--targets ethos-u55-128 ...] [--kinds plain bottleneck] [--bits 8]

With ``--write`` the compiler's figures are stored for these targets in place of those that are there (``oracle.whole_files``);
``tests/bench/agreement.py --only whole_files`` makes from them what devices say of themselves.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")])

from file_networks import FURTHER, KINDS, normal
from oracle import whole_files
from oracle.whole_files import Compiled
from random_networks import quantize

from hwmodels.device import catalogue
from hwsearch.boards import vela
from hwsearch.formats.tflite import write

TARGETS = ("ethos-u55-128", "ethos-u65-512", "ethos-u85-512")
NEAR = 0.02


def compiled(kinds: list[str], seeds: range, targets: list[str], widths: list[int]) -> Iterator[Compiled]:
    """Every network, width and target."""
    devices = {target: catalogue.load(target) for target in targets}
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            for seed in seeds:
                graph, size = whole_files.network(kind, seed)
                for bits in widths:
                    file = write.export(quantize(normal(graph), 8, bits), Path(folder, "net.tflite"), size=size, flavour="ethos")
                    for target, device in devices.items():
                        rows, onchip = vela.estimate(file, device)
                        yield Compiled(kind, seed, bits, target, sum(row.latency_s for row in rows), onchip)


def store(found: list[Compiled]) -> None:
    """Replace the stored figures of their targets."""
    targets = {figure.target for figure in found}
    kept = [figure for figure in whole_files.figures() if figure.target not in targets]
    rows = ",\n".join(f"  {json.dumps(figure)}" for figure in [*kept, *found])
    head = f'"made_by": "tests/bench/whole_files.py --write",\n "made_with": "{whole_files.COMPILER}",'
    columns = f'"columns": {json.dumps(Compiled._fields)},'
    whole_files.FIGURES.write_text(f'{{{head}\n {columns}\n "rows": [\n{rows}\n]}}\n', encoding="utf-8")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", default="200:206", help="first:behind the last")
    options.add_argument("--targets", nargs="+", default=list(TARGETS))
    options.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS | FURTHER))
    options.add_argument("--bits", nargs="+", type=int, default=[8, 16])
    options.add_argument("--write", action="store_true", help="store the compiler's figures")
    given = options.parse_args()
    figures: dict[tuple[str, int], list[Compiled]] = defaultdict(list)
    prices: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for one in compiled(given.kinds, range(*map(int, given.seeds.split(":"))), given.targets, given.bits):
        figures[one.target, one.bits].append(one)
        seconds, onchip = whole_files.priced(one)
        prices[one.target, one.bits].append((seconds, onchip))
        words = f"latency {seconds / one.seconds - 1:+.1%}, on-chip memory {onchip / one.onchip_bytes - 1:+.1%}"
        print(f"{one.kind} {one.seed} {one.target} W8A{one.bits}: {words}", flush=True)
    for (target, bits), group in sorted(figures.items()):
        ours, theirs = np.array(prices[target, bits]), np.array([(one.seconds, one.onchip_bytes) for one in group])
        errors = ours / theirs - 1
        each = [
            f"median {np.median(a):.1%}, 90 % within {np.quantile(a, 0.9):.1%}, largest {a.max():.1%}" for a in np.abs(errors).T
        ]
        order, memory = spearmanr(ours[:, 0], theirs[:, 0]).statistic, errors[:, 1]
        print(f"{target} W8A{bits}, {len(group)} networks: latency {each[0]}, rank correlation {order:.3f}")
        print(
            f"    on-chip memory {each[1]}; {np.sum(abs(memory) > NEAR)} off by more than {NEAR:.0%}, lowest {memory.min():+.1%}"
        )
    if given.write:
        store([one for group in figures.values() for one in group])


if __name__ == "__main__":
    main()
