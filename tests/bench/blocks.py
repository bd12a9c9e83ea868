"""A front with blocks left out beside one without: hypervolume at equal evaluations, several seeds.

    python tests/bench/blocks.py FOLDER [--network pan --scale 4 --file pan_x4] [--target hexagon] [--seeds 5] [--out FILE]

Both are searched by the same code: plans of all fronts compete for being measured by the volume that they promise, and the
predictions are calibrated by what was measured. Without, the whole network is the only one there is. A look at the network
without a block, in floating point, counts as an evaluation, or for the share of the crops that it looked at: what is left of
``--evaluations`` are plans. The seed draws what plans are proposed; the calibration is one. The volume is a share of the box
between no loss at the least price of any of the networks, and ``MOST_DB`` at the price of the widest plan; losses are
simulated, on crops of photos that nothing was calibrated on. Nothing is trained.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parents[2])]

from hwmodels.pricing.table import estimate  # noqa: E402
from hwsearch.documents.files import write_json  # noqa: E402
from hwsearch.pipeline import block_losses  # noqa: E402
from hwsearch.problem.network import load_network  # noqa: E402
from hwsearch.problem.pose import Problem, pose  # noqa: E402
from hwsearch.problem.request import Request  # noqa: E402
from hwsearch.quality.evaluate import Evaluator  # noqa: E402
from hwsearch.quality.proxies import OUTPUT_SQNR, PROXIES  # noqa: E402
from hwsearch.quant.calibrate import Calibration, calibrate  # noqa: E402
from hwsearch.search import blocks as search  # noqa: E402
from hwsearch.search import pareto, variants  # noqa: E402
from hwsearch.search.blocks import Block, Looks  # noqa: E402
from hwsearch.search.propose import hypervolume_batch, uniform  # noqa: E402
from hwsearch.search.rounds import ANCHORS, BATCH  # noqa: E402
from hwsearch.search.variants import Rewriting, Variant  # noqa: E402
from searchspaces.data import pictures  # noqa: E402
from searchspaces.data.pictures import Pair  # noqa: E402
from searchspaces.ir.graph import execute  # noqa: E402
from searchspaces.networks.adapted import blocks  # noqa: E402
from searchspaces.space import PlanRow, matrix  # noqa: E402
from searchspaces.tasks.image import SuperResolution  # noqa: E402

MOST_DB = 1.0
METHOD = "mse"
"""Rounding to the nearest: every network of every seed is rounded anew."""
CROPS, CALIBRATED = 4, 4
"""Crops that plans are measured on, and that are calibrated on."""


@dataclass(frozen=True, eq=False)
class Bench:
    """The whole network, what judges, and the chain of smaller networks, posed on the device."""

    evaluator: Evaluator
    candidates: list[Block]
    problems: dict[tuple[str, ...], Problem]
    looks: int


def request_of(given: argparse.Namespace) -> Request:
    """What is asked for, with all blocks."""
    return Request(
        network=given.network,
        scale=given.scale,
        weights=given.folder / "weights" / f"{given.file}.safetensors",
        target=given.target,
        input_size=(given.side, given.side),
        tile="whole",
        weight_bits=given.weight_bits,
        activation_bits=given.activation_bits,
    )


def prepare(given: argparse.Namespace) -> Bench:
    """Measure what each block costs in quality, and pose the chain on the device."""
    request = request_of(given)
    network = load_network(request)
    split = pictures.split(pictures.load_folder(given.folder / "photos" / "train"))
    crops = pictures.crops(
        split.search, network.scale, network.channels, network.input_kind, count=CROPS, size=given.crop, seed=1
    )
    evaluator = Evaluator(network.module, crops, SuperResolution.of(crops))
    count = math.ceil(block_losses.FEW * len(crops))
    few, rest = (Evaluator(network.module, own, evaluator.task) for own in (crops[:count], crops[count:]))
    passes = 0

    def loss_db(judge: Evaluator, names: tuple[str, ...]) -> float:
        nonlocal passes
        passes += len(judge.pairs)
        return judge.score(blocks.without(network, names).module).loss_db

    looks = Looks(partial(loss_db, few), partial(loss_db, rest), count / len(crops), MOST_DB)
    names = block_losses.candidates(network, given.blocks)
    known = looks.blocks({name: block_losses.weights_of(network, name) for name in names})
    dropped = search.chain(known, looks, MOST_DB, given.chain)
    problems = {names: pose(replace(request, dropped=names)) for names in [(), *dropped]}
    for names, problem in problems.items():
        price = estimate(problem.table, problem.space.uniform(8, 8))
        own = Evaluator(lambda x, graph=problem.graph: execute(graph, x), crops, evaluator.task)
        print(
            f"without {', '.join(names) or 'nothing'}: {evaluator.float_db - own.float_db:.3f} dB lost in floating point, "
            f"{1e3 * float(price.latency_s[0]):.3f} ms and {float(price.weight_bytes[0]) / 1024:.0f} KiB of weights at W8A8",
            flush=True,
        )
    return Bench(evaluator, known, problems, math.ceil(passes / len(crops)))


@dataclass(frozen=True, eq=False)
class Searched:
    """A variant and what measures its plans: plan -> loss against the whole network in dB."""

    variant: Variant
    loss_db: Callable[[PlanRow], float]

    def measured(self, plans: Sequence[PlanRow]) -> list[Measured]:
        """Plans, measured and priced."""
        if not plans:
            return []
        losses = np.array([*map(self.loss_db, plans)])
        problem = self.variant.problem(np.zeros_like(self.variant.damage.noise))
        values = hypervolume_batch.objectives(problem, matrix(plans), losses)
        return [Measured(self.variant, plan, tuple(row)) for plan, row in zip(plans, values.tolist(), strict=True)]

    def anchors(self, count: int) -> list[Measured]:
        """Plans of one width, measured."""
        variant = self.variant
        problem = variant.problem(np.zeros_like(variant.damage.noise))
        return self.measured(uniform.anchors(variant.space, problem, variant.limits, count))


@dataclass(frozen=True)
class Measured:
    """A plan of a variant: ``objectives`` are (loss in dB, latency in s, memory in bytes)."""

    variant: Variant
    plan: PlanRow
    objectives: tuple[float, ...]


def searched(networks: Sequence[Searched], evaluations: int, seed: int) -> list[Measured]:
    """Plans of all variants, measured in the order of what they promise beside what is measured; ``evaluations`` at most."""
    found = networks[0].anchors(max(1, evaluations // ANCHORS))[:evaluations]
    ideal, reference = variants.box([own.variant for own in networks], MOST_DB)
    while len(found) < evaluations:
        offered = []
        for own in networks:
            known = {one.plan: one.objectives[0] for one in found if one.variant is own.variant}
            rng = np.random.default_rng((seed, len(found)))
            offered += [(own, plan, values) for plan, values in variants.offered(own.variant, known, rng)]
        values = np.array([values for *_, values in offered]).reshape(-1, len(ideal))
        measured = np.array([one.objectives for one in found])
        picked = hypervolume_batch.pick(values, measured, ideal, reference, min(BATCH, evaluations - len(found)))
        if not picked:
            break
        for own in networks:
            found += own.measured([offered[at][1] for at in picked if offered[at][0] is own])
    return found


def calibrated(bench: Bench, low: Sequence[torch.Tensor], pairs: Sequence[Pair]) -> list[Searched]:
    """The chain, calibrated on ``low``; damages are measured on ``pairs``."""
    found = []
    for names, problem in bench.problems.items():
        calibration = calibrate(problem.graph, low, problem.space, method=METHOD)
        own = Evaluator(lambda x, graph=problem.graph: execute(graph, x), bench.evaluator.pairs, bench.evaluator.task)
        damage = PROXIES[OUTPUT_SQNR].measure(calibration, pairs, 0, None, bench.evaluator.task)
        lost_db = bench.evaluator.float_db - own.float_db
        damage = replace(damage, float_mse=own.float_mse)
        variant = Variant(Rewriting(names), problem.space, [problem.table], damage, lost_db)
        found.append(Searched(variant, losses(bench.evaluator, calibration)))
    return found


def losses(evaluator: Evaluator, calibration: Calibration) -> Callable[[PlanRow], float]:
    """Plan -> what it loses, simulated."""
    return functools.cache(lambda plan: evaluator.score(lambda x: calibration.simulate(plan, x)).loss_db)


def volume(found: Sequence[Measured], ideal: np.ndarray, reference: np.ndarray) -> float:
    """Share of the box that plans dominate."""
    scaled = (np.maximum([one.objectives for one in found], ideal) - ideal) / (reference - ideal)
    return pareto.hypervolume(scaled[pareto.non_dominated(scaled)], np.ones(3))


def run(given: argparse.Namespace) -> dict[str, Any]:
    """All seeds, as the document that is written."""
    bench = prepare(given)
    split = pictures.split(pictures.load_folder(given.folder / "photos" / "train"))
    network = next(iter(bench.problems.values())).network
    rows = []
    drawn = pictures.crops(
        split.calibration, network.scale, network.channels, network.input_kind, count=CALIBRATED, size=given.crop, seed=0
    )
    every = calibrated(bench, [crop.low for crop in drawn], drawn)
    ideal, reference = variants.box([own.variant for own in every], MOST_DB)
    for seed in range(given.seeds):
        begun = time.perf_counter()
        without = searched(every[:1], given.evaluations, seed)
        having = searched(every, given.evaluations - bench.looks, seed)
        values = np.array([one.objectives for one in having])
        front = [
            one for one, kept in zip(having, pareto.non_dominated(values), strict=True) if kept and one.objectives[0] < MOST_DB
        ]
        row = {
            "seed": seed,
            "without": volume(without, ideal, reference),
            "with": volume(having, ideal, reference),
            "plans_without": len(without),
            "plans_with": len(having),
            "front": [{"dropped": one.variant.rewriting.dropped, "objectives": one.objectives} for one in front],
            "front_without": [
                one.objectives
                for one, kept in zip(without, pareto.non_dominated(np.array([w.objectives for w in without])), strict=True)
                if kept and one.objectives[0] < MOST_DB
            ],
        }
        rows.append(row)
        print(
            f"seed {seed}: without {row['without']:.4f} ({len(without)} plans), with {row['with']:.4f} ({len(having)} plans and "
            f"{bench.looks} looks), {sum(bool(one.variant.rewriting) for one in front)} of {len(front)} plans of the front lack "
            f"a block, {time.perf_counter() - begun:.0f} s",
            flush=True,
        )
    gains = np.array([row["with"] - row["without"] for row in rows])
    print(f"with blocks better in {int((gains > 0).sum())} of {len(rows)} seeds, {gains.mean():+.4f} on average")
    return {
        "network": f"{given.network} x{given.scale}",
        "target": given.target,
        "evaluations": given.evaluations,
        "looks": bench.looks,
        "blocks": [vars(block) for block in bench.candidates],
        "chain": [list(names) for names in bench.problems if names],
        "lost_db": [bench.evaluator.float_db - float(np.mean(_float(bench, problem))) for problem in bench.problems.values()],
        "rows": rows,
    }


def _float(bench: Bench, problem: Problem) -> float:
    return Evaluator(lambda x: execute(problem.graph, x), bench.evaluator.pairs, bench.evaluator.task).float_db


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this command."""
    parser.add_argument("folder", type=Path, help="holds weights/ and photos/train")
    parser.add_argument("--network", default="pan")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--file", default="pan_x4", help="weights, without their ending")
    parser.add_argument("--target", default="hexagon")
    parser.add_argument("--side", type=int, default=96, help="of the picture that is priced, low-resolution pixels")
    parser.add_argument("--crop", type=int, default=32, help="side of a crop; --side for networks that are traced for one size")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--evaluations", type=int, default=80)
    parser.add_argument("--blocks", type=int, default=17, help="candidates, those with most weights")
    parser.add_argument("--chain", type=int, default=2, help="smaller networks at most")
    parser.add_argument("--weight-bits", type=int, nargs="+", default=None, help="by default all that the device offers")
    parser.add_argument("--activation-bits", type=int, nargs="+", default=None)
    parser.add_argument("--out", type=Path)


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options of this benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    return parser


def measure(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], object]) -> None:
    """Run a benchmark as the command line asks, on one thread, and write what it found where ``--out`` says."""
    given = parser.parse_args()
    torch.set_num_threads(1)
    document = run(given)
    if given.out is not None:
        write_json(given.out, document)


if __name__ == "__main__":
    measure(parser_of(__doc__), run)
