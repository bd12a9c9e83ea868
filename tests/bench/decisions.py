"""Fronts whose plans decide more and more: bits alone; the method, too; rewritings of the network (blocks left out, low-rank
branches), too. Hypervolume at equal evaluations, several seeds.

    python tests/bench/decisions.py FOLDER --network imdn [--target stm32n6] [--evaluations 40] [--seeds 5] [--out FILE]

All arms are searched by the same code (``blocks.searched``): plans of all fronts compete for being measured by the volume that
they promise. "bits" is the network as it is, by the method ``--plain``. "methods" has a front for each of ``--methods``, too, of
which ``a+b`` decides layer by layer. "rewritten" has those fronts of the sets of low-rank branches that ``--branches auto`` would
look at, and of the chain of smaller networks, too. A look at the network without a block counts as an evaluation, as in
``blocks``; what branches promise follows from weights and from what layers read, and is none. The seed draws what plans are
proposed; the calibration is one. The volume is a share of the box between no loss at the least price of any of the networks, and
``MOST_DB`` at the price of the widest plan; losses are simulated, on crops that nothing was calibrated on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from bench import blocks  # noqa: E402
from bench.blocks import Measured, Searched, searched, volume  # noqa: E402

from hwmodels.pricing.table import estimate  # noqa: E402
from hwsearch.pipeline import branch_promises  # noqa: E402
from hwsearch.problem.pose import Problem, pose  # noqa: E402
from hwsearch.quality.evaluate import Evaluator  # noqa: E402
from hwsearch.quality.proxies import OUTPUT_SQNR, PROXIES  # noqa: E402
from hwsearch.quant.calibrate import Calibration, calibrate  # noqa: E402
from hwsearch.search import branches as promises  # noqa: E402
from hwsearch.search import pareto, variants  # noqa: E402
from hwsearch.search.variants import Rewriting, Variant  # noqa: E402
from searchspaces.data import pictures  # noqa: E402
from searchspaces.data.pictures import Pair  # noqa: E402
from searchspaces.ir import branches  # noqa: E402
from searchspaces.ir.graph import execute  # noqa: E402

SCALES = {"fsrcnn": (2, "fsrcnn_x2"), "imdn": (4, "imdn_x4"), "mobilesr": (4, "mobilesr_x4")}


@dataclass(frozen=True, eq=False)
class Arm:
    """A rewritten network by one method."""

    method: str
    searched: Searched


@dataclass(frozen=True, eq=False)
class Calibrations:
    """Everything that is calibrated on ``pairs``, against the floating-point network that ``bench`` has."""

    bench: blocks.Bench
    pairs: Sequence[Pair]

    def arm(self, rewriting: Rewriting, problem: Problem, method: str) -> tuple[Arm, Calibration]:
        """A rewritten network, by one method."""
        evaluator = self.bench.evaluator
        low = [pair.low for pair in self.pairs]
        calibration = calibrate(problem.graph, low, problem.space, method=method)
        damage = PROXIES[OUTPUT_SQNR].measure(calibration, self.pairs, 0, None, evaluator.task)
        own = Evaluator(lambda x: execute(problem.graph, x), evaluator.pairs, evaluator.task)
        damage = replace(damage, float_mse=own.float_mse)
        variant = Variant(rewriting, problem.space, [problem.table], damage, evaluator.float_db - own.float_db)
        return Arm(method, Searched(variant, blocks.losses(evaluator, calibration))), calibration


@dataclass(frozen=True, eq=False)
class Branched:
    """The network with branches, posed on the device."""

    problem: Problem


def run(given: argparse.Namespace) -> dict[str, Any]:
    """All seeds, as the document that is written."""
    given.scale, given.file = SCALES[given.network]
    bench = blocks.prepare(given)
    whole = bench.problems[()]
    network = whole.network
    split = pictures.split(pictures.load_folder(given.folder / "photos" / "train"))
    pairs = pictures.crops(
        split.calibration, network.scale, network.channels, network.input_kind, count=given.calibrated, size=given.crop, seed=0
    )
    made = Calibrations(bench, pairs)
    methods = [given.plain, *given.methods]
    whole_arms = {method: made.arm(Rewriting(), whole, method) for method in methods}
    arms = [arm for arm, _ in whole_arms.values()]
    arms += [
        made.arm(Rewriting(names), problem, method)[0] for names, problem in bench.problems.items() if names for method in methods
    ]
    plain, calibration = whole_arms[given.plain]
    request = blocks.request_of(given)

    def branched(ranks: Mapping[str, int]) -> Branched:
        return Branched(pose(replace(request, branches=branches.written(ranks))))

    ranked = promises.best(branch_promises.offers(whole, calibration, plain.searched.variant.damage, branched))
    promised = {f"{offer.layer}={offer.rank}": offer.promise for offer in ranked}
    print("branches promise:", ", ".join(f"{name} {value:.3g}" for name, value in promised.items()) or "nothing", flush=True)
    for ranks in promises.chain(ranked):
        other, texts = branched(ranks).problem, branches.written(ranks)
        price = estimate(other.table, other.space.uniform(8, 8))
        print(
            f"with {', '.join(texts)}: {1e3 * float(price.latency_s[0]):.3f} ms and "
            f"{float(price.weight_bytes[0]) / 1024:.1f} KiB of weights at W8A8",
            flush=True,
        )
        arms += [made.arm(Rewriting(branches=texts), other, method)[0] for method in methods]
    return {**_searched(given, bench, arms), "promised": promised, "methods": methods}


def _searched(given: argparse.Namespace, bench: blocks.Bench, arms: Sequence[Arm]) -> dict[str, Any]:
    """The volumes of the fronts of all seeds."""
    ideal, reference = variants.box([arm.searched.variant for arm in arms], blocks.MOST_DB)
    as_it_is = [arm for arm in arms if not arm.searched.variant.rewriting]
    fields = {
        "bits": ([arm for arm in as_it_is if arm.method == given.plain], 0),
        "methods": (as_it_is, 0),
        "rewritten": (list(arms), bench.looks),
    }
    method_of = {id(arm.searched.variant): arm.method for arm in arms}
    rows = []
    for seed in range(given.seeds):
        row: dict[str, Any] = {"seed": seed}
        for name, (own, looks) in fields.items():
            begun = time.perf_counter()
            found = searched([arm.searched for arm in own], given.evaluations - looks, seed)
            front = _front(found)
            row[name] = {
                "volume": volume(found, ideal, reference),
                "plans": len(found),
                "front": [
                    {
                        "dropped": one.variant.rewriting.dropped,
                        "branches": one.variant.rewriting.branches,
                        "method": method_of[id(one.variant)],
                        "objectives": one.objectives,
                    }
                    for one in front
                ],
            }
            print(
                f"seed {seed}, {name}: {row[name]['volume']:.4f} ({len(found)} plans, {looks} looks); of {len(front)} on the "
                f"front {sum(bool(one.variant.rewriting.dropped) for one in front)} lack a block, "
                f"{sum(bool(one.variant.rewriting.branches) for one in front)} have branches, "
                f"{sum(method_of[id(one.variant)] != given.plain for one in front)} are by another method; "
                f"{time.perf_counter() - begun:.0f} s",
                flush=True,
            )
        rows.append(row)
    for name in [*fields][1:]:
        gains = np.array([row[name]["volume"] - row["bits"]["volume"] for row in rows])
        print(f"{name} against bits: better in {int((gains > 0).sum())} of {len(rows)} seeds, {gains.mean():+.4f} on average")
    return {
        "network": f"{given.network} x{given.scale}",
        "target": given.target,
        "evaluations": given.evaluations,
        "looks": bench.looks,
        "rows": rows,
    }


def _front(found: Sequence[Measured]) -> list[Measured]:
    kept = pareto.non_dominated(np.array([one.objectives for one in found]))
    return [one for one, on_front in zip(found, kept, strict=True) if on_front and one.objectives[0] < blocks.MOST_DB]


def main() -> None:
    parser = blocks.parser_of(__doc__)
    parser.set_defaults(target="stm32n6", evaluations=40)
    parser.add_argument("--plain", default="mse", help="the method of bits alone")
    parser.add_argument("--methods", nargs="*", default=["output_noise", "mse+gptq"], help="others that plans may be by")
    parser.add_argument("--calibrated", type=int, default=blocks.CALIBRATED, help="crops that are calibrated on")
    blocks.measure(parser, run)


if __name__ == "__main__":
    main()
