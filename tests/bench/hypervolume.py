"""Hypervolume against the number of plans measured: our search beside plain search, on FSRCNN, ABPN and VDSR.

    python tests/bench/hypervolume.py [--data ../shared/data] [--networks fsrcnn abpn vdsr] [--seeds 5] [--evaluations 500]

Writes ``hypervolume.csv`` and ``hypervolume.svg``. With ``--data`` the published weights are used (FSRCNN x2, ABPN m6c40 x3, VDSR
x2), without it the networks that ship. Pictures are crops of the shipped photos, calibrated on some and measured on others. A
plan has three objectives: PSNR lost, latency and memory (weights and peak activations) on an Ethos-U. The volume is that between
the plans and a reference, as a share of the box from no loss and the least prices; the reference loses all that the network gains
over bicubic enlargement, at the price of the widest plan. Every measured plan is kept under ``--cache``: the command may be
stopped at any time, and goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import functools
import hashlib
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2])]

from bench.hypervolume_figure import draw, verdicts  # noqa: E402
from bench.hypervolume_methods import METHODS, SEEDLESS, Subject  # noqa: E402

from hwmodels.device import catalogue  # noqa: E402
from hwmodels.pricing.table import CostTable  # noqa: E402
from hwmodels.tiling import tiles  # noqa: E402
from hwsearch.documents.files import replacing, write_json  # noqa: E402
from hwsearch.quality.evaluate import Evaluator, Score  # noqa: E402
from hwsearch.quality.log import EvaluationLog  # noqa: E402
from hwsearch.quant.calibrate import calibrate  # noqa: E402
from hwsearch.search import pareto  # noqa: E402
from hwsearch.search.exact.additive import lower  # noqa: E402
from searchspaces.data import pictures  # noqa: E402
from searchspaces.data.bicubic import imresize  # noqa: E402
from searchspaces.data.pictures import Pair  # noqa: E402
from searchspaces.ir.graph import execute  # noqa: E402
from searchspaces.ir.lower import to_workload  # noqa: E402
from searchspaces.networks import registry  # noqa: E402
from searchspaces.space import PlanRow, SearchSpace, build_space, matrix  # noqa: E402
from searchspaces.tasks.image import SuperResolution, to_picture  # noqa: E402
from searchspaces.tasks.metrics import psnr_y  # noqa: E402
from searchspaces.tasks.task import Signature  # noqa: E402
from searchspaces.tracing.trace import trace  # noqa: E402

ROOT = Path(__file__).parents[2]
COUNTS = (*range(1, 61), *range(70, 100, 10), *range(100, 10_001, 20))
"""Numbers of evaluations at which the hypervolume is taken."""


@dataclass(frozen=True)
class Case:
    """A network, its device and what it is measured on: ``size`` of the picture on the device, ``crop`` of the measured patches,
    in low-resolution pixels."""

    network: str
    scale: int
    file: str
    device: str
    size: tuple[int, int]
    crop: int


CASES = {
    "fsrcnn": Case("fsrcnn", 2, "fsrcnn_x2", "ethos-u55-256", (24, 32), 48),
    "abpn": Case("abpn", 3, "abpn_m6c40_x3", "ethos-u55-256", (24, 32), 48),
    "vdsr": Case("vdsr", 2, "vdsr_y", "ethos-u65-512", (48, 64), 24),
}


@dataclass(frozen=True, eq=False)
class Bench:
    """A subject with its cache; ``reference`` and ``ideal`` bound the box of objectives."""

    subject: Subject
    log: EvaluationLog
    folder: Path
    reference: np.ndarray
    ideal: np.ndarray

    def curve(self, method: str, seed: int, evaluations: int) -> np.ndarray:
        """Objectives ``float64[N, 3]`` of the plans in the order in which a method measured them, each counted once."""
        path = self.path(method, seed, evaluations)
        if not path.exists():
            asked: dict[PlanRow, tuple[float, float, float]] = {}

            def measure(plan: PlanRow) -> Score:
                score = next(self.log([plan]))
                asked.setdefault(plan, self.subject.objectives(plan, score.loss_db))
                return score

            METHODS[method](replace(self.subject, measure=measure), seed, evaluations)
            write_json(path, list(asked.values()))
        return np.array(json.loads(path.read_text()))

    def path(self, method: str, seed: int, evaluations: int) -> Path:
        """Where a finished curve is kept."""
        return self.folder / f"{method.lower().replace(' ', '-')}-{seed}-{evaluations}.json"

    def hypervolume(self, objectives: np.ndarray) -> float:
        """Share of the box that plans ``float64[N, 3]`` dominate."""
        scaled = (np.maximum(objectives, self.ideal) - self.ideal) / (self.reference - self.ideal)
        return pareto.hypervolume(scaled[pareto.non_dominated(scaled)], np.ones(3))


def bicubic_db(pairs: list[Pair], scale: int) -> float:
    """PSNR of bicubic enlargement, mean over pictures."""
    found = []
    for pair in pairs:
        low = pair.low[0].permute(1, 2, 0).double().numpy() * 255
        factor = pair.high.shape[0] // low.shape[0]
        enlarged = low if factor == 1 else imresize(low, factor)
        shown = to_picture(torch.from_numpy(enlarged / 255).permute(2, 0, 1)[None])
        found.append(psnr_y(shown, pair.high, scale))
    return float(np.mean(found))


def prepare(case: Case, data: Path | None, cache: Path) -> Bench:
    """Trace a network, price it, and open its cache."""
    weights = None if data is None else data / "weights" / f"{case.file}.safetensors"
    network = registry.load(case.network, case.scale, weights)
    upsampled = network.input_kind == "upsampled"
    graph = trace(network.module, network.channels, network.name, 1 if upsampled else case.scale)
    device = catalogue.load(case.device)
    height, width = (side * (case.scale if upsampled else 1) for side in case.size)
    workload = to_workload(graph, height, width)
    space = build_space(workload, device.offered.weight_bits, device.offered.activation_bits)
    table = tiles.lower(device, workload, space, None).table
    problem = lower(table, np.zeros(space.allowed.shape), space)
    split = pictures.split(pictures.shipped())
    kind, channels = network.input_kind, network.channels
    crops = pictures.crops(split.calibration, case.scale, channels, kind, count=16, size=64)
    measured = pictures.crops(split.search, case.scale, channels, kind, count=4, size=case.crop, seed=1)
    evaluator = Evaluator(lambda x: execute(graph, x), measured, SuperResolution(Signature(case.scale, measured[0].low.shape[1])))
    calibrated = functools.cache(lambda: calibrate(graph, [crop.low for crop in crops], space))
    widest, narrowest = (problem.costs(matrix([_uniform(space, end)])) for end in (-1, 0))
    lost = evaluator.float_db - bicubic_db(measured, SuperResolution(Signature(case.scale, measured[0].low.shape[1])))
    folder = cache / f"{case.network}-{_fingerprint(case, network.weights_sha256, table)}"
    folder.mkdir(parents=True, exist_ok=True)

    def score(plan: PlanRow) -> Score:
        formats = calibrated()
        return evaluator.score(lambda x: formats.simulate(plan, x))

    log = EvaluationLog(folder / "evaluations.jsonl", lambda plans: map(score, plans), space)
    names = ("latency_s", "memory_bytes")
    print(
        f"{case.network} x{case.scale} on {device.name}: {space.decisions} decisions, {space.size:.1e} plans; floating point "
        f"{evaluator.float_db:.2f} dB, {lost:.2f} dB above bicubic",
        flush=True,
    )
    return Bench(
        Subject(space, table, problem, calibrated, crops, score),
        log,
        folder,
        np.array([lost, *(float(widest[name][0]) for name in names)]),
        np.array([0.0, *(float(narrowest[name][0]) for name in names)]),
    )


def _uniform(space: SearchSpace, end: int) -> PlanRow:
    return space.row(space.choices(d)[end] for d in range(space.decisions))


def _fingerprint(case: Case, weights_sha256: str, table: CostTable) -> str:
    """Of what a curve depends on: another price is another search."""
    digest = hashlib.sha256(f"{case}{weights_sha256}".encode())
    for prices in (table.latency_s, table.weight_bytes, table.live, table.element_bytes):
        digest.update(prices.tobytes())
    return digest.hexdigest()[:12]


def run(given: argparse.Namespace) -> list[dict[str, object]]:
    """All methods and seeds on all networks: one row for each number of evaluations."""
    rows: list[dict[str, object]] = []
    for name in given.networks:
        bench = prepare(CASES[name], given.data, given.cache)
        for seed in range(given.seeds):
            for method in given.methods:
                if method in SEEDLESS and seed:
                    continue
                begun = time.perf_counter()
                evaluations = given.ours if method == "ours" else given.evaluations
                if given.finished and not bench.path(method, seed, evaluations).exists():
                    continue
                found = bench.curve(method, seed, evaluations)
                for count in sorted({c for c in COUNTS if c < len(found)} | {len(found)}):
                    volume = bench.hypervolume(found[:count])
                    rows.append({"network": name, "method": method, "seed": seed, "evaluations": count, "hypervolume": volume})
                print(
                    f"{name} {method} seed {seed}: {len(found)} plans, hypervolume {rows[-1]['hypervolume']:.4f}, "
                    f"{time.perf_counter() - begun:.0f} s",
                    flush=True,
                )
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, help="folder with weights/*.safetensors; without it, networks that ship")
    options.add_argument("--networks", nargs="+", choices=CASES, default=None)
    options.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--evaluations", type=int, default=500, help="for plain search")
    options.add_argument("--ours", type=int, default=120, help="evaluations for our search")
    options.add_argument("--finished", action="store_true", help="only what is in the cache: measure nothing")
    options.add_argument("--cache", type=Path, default=Path("runs/hypervolume"))
    options.add_argument("--out", type=Path, default=ROOT / "reports", help="folder for hypervolume.csv and hypervolume.svg")
    given = options.parse_args()
    torch.set_num_threads(1)
    if given.networks is None:
        given.networks = list(CASES) if given.data else ["fsrcnn", "abpn"]
    rows = run(given)
    if not rows:
        raise SystemExit(f"nothing is finished in {given.cache}")
    given.out.mkdir(parents=True, exist_ok=True)
    with replacing(given.out / "hypervolume.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows({**row, "hypervolume": f"{row['hypervolume']:.5f}"} for row in rows)
    with replacing(given.out / "hypervolume.svg") as temporary:
        draw(rows, temporary)
    for line in verdicts(rows):
        print(line)


if __name__ == "__main__":
    main()
