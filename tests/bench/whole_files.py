"""Random networks as exported for Ethos-U: latency and on-chip memory of whole files, ours beside Vela's (needs the extra: vela).

Weights are normally distributed, as trained ones about are. Run, with seeds that no mend has looked at:

    python tests/bench/whole_files.py --seeds 200:206 [--targets ethos-u55-128 ...] [--kinds plain bottleneck] [--bits 8]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import spearmanr

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")])

from file_networks import FURTHER, KINDS, draw, normal
from oracle.vela import Uniform
from random_networks import quantize

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.device import Device
from hwmodels.workload import Workload
from hwsearch.boards import vela
from hwsearch.formats.tflite import write
from hwsearch.formats.writing import exporters
from searchspaces.ir.lower import to_workload

TARGETS = ("ethos-u55-128", "ethos-u65-512", "ethos-u85-512")
NEAR = 0.02


class Error(NamedTuple):
    """Ours over Vela's, less one, of one network at one width of its feature maps; and both latencies."""

    target: str
    bits: int
    kind: str
    seed: int
    latency: float
    memory: float
    seconds: tuple[float, float]


def ours(device: Device, workload: Workload, bits: int) -> tuple[float, float]:
    """Seconds of the array and bytes on chip for a network as it is shipped, without the device's fixed costs."""
    found = exporters.shipped(workload, device)
    table = cost.lower(device, found, Uniform(found, bits))
    seconds = (table.latency_s - table.overhead_s)[:, 0, 0, 0]
    on_array = [not vela.runs_beside(found, device, row, bits) for row in range(len(found.layers))]
    used = cost.onchip_bytes(device, found, bits)
    assert used is not None
    return float(seconds[on_array].sum()), used


def measured(kinds: list[str], seeds: range, targets: list[str], widths: list[int]) -> Iterator[Error]:
    """Every network, width and target."""
    devices = {target: catalogue.load(target) for target in targets}
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            for seed in seeds:
                graph, rng = draw(kind, seed), np.random.default_rng(seed)
                height, width = (4 * int(side) for side in rng.integers(8, 40, 2))
                workload = to_workload(graph, height, width)
                for bits in widths:
                    file = write.export(
                        quantize(normal(graph), 8, bits), Path(folder, "net.tflite"), size=(height, width), flavour="ethos"
                    )
                    for target, device in devices.items():
                        rows, theirs = vela.estimate(file, device)
                        seconds, total = ours(device, workload, bits), sum(row.latency_s for row in rows)
                        yield Error(
                            target, bits, kind, seed, seconds[0] / total - 1, seconds[1] / theirs - 1, (seconds[0], total)
                        )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", default="200:206", help="first:behind the last")
    options.add_argument("--targets", nargs="+", default=list(TARGETS))
    options.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS | FURTHER))
    options.add_argument("--bits", nargs="+", type=int, default=[8, 16])
    given = options.parse_args()
    found: dict[tuple[str, int], list[Error]] = defaultdict(list)
    for error in measured(given.kinds, range(*map(int, given.seeds.split(":"))), given.targets, given.bits):
        found[error.target, error.bits].append(error)
        words = f"latency {error.latency:+.1%}, on-chip memory {error.memory:+.1%}"
        print(f"{error.kind} {error.seed} {error.target} W8A{error.bits}: {words}", flush=True)
    for (target, bits), errors in sorted(found.items()):
        latency, memory = (np.array([getattr(e, name) for e in errors]) for name in ("latency", "memory"))
        order = spearmanr(*zip(*(e.seconds for e in errors), strict=True)).statistic
        each = [
            f"median {np.median(a):.1%}, 90 % within {np.quantile(a, 0.9):.1%}, largest {a.max():.1%}"
            for a in map(abs, (latency, memory))
        ]
        print(f"{target} W8A{bits}, {len(errors)} networks: latency {each[0]}, rank correlation {order:.3f}")
        print(
            f"    on-chip memory {each[1]}; {np.sum(abs(memory) > NEAR)} off by more than {NEAR:.0%}, lowest {memory.min():+.1%}"
        )


if __name__ == "__main__":
    main()
