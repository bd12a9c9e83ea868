"""What measures a plan: a calibrated network and the pictures of the search. Every process that measures makes its own, from the
same network, pictures and seed, so that all of them measure the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hwsearch.documents.progress import split
from hwsearch.problem.pictures import Pictures
from hwsearch.problem.pose import Problem
from hwsearch.quality.evaluate import Evaluator, Score, on_patches
from hwsearch.quality.measurement_cache import MeasurementCache
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.methods import USUAL, is_mixture
from searchspaces.ir.graph import execute
from searchspaces.space import PlanRow


@dataclass(frozen=True, eq=False)
class Measure:
    """Plan -> its score in fake quantization, by the best of ``methods``, the first of equals."""

    calibration: Calibration
    evaluator: Evaluator
    methods: tuple[str, ...] = (USUAL,)

    def glance(self, problem: Problem, photos: Pictures, seed: int) -> Glance | None:
        """A cheaper look at plans; None where there are too few patches, or several methods: what one method makes hopeless,
        another may not."""
        patches = on_patches(lambda x: execute(problem.graph, x), photos.search, photos.task, seed)
        if patches is None or len(self.methods) > 1:
            return None
        return Glance(self.calibration.by(self.methods[0]), patches, patches.pixels / self.evaluator.pixels)

    def __call__(self, plan: PlanRow) -> Score:
        return max((self._score(plan, method) for method in self.methods), key=lambda score: score.quality_db)

    def _score(self, plan: PlanRow, method: str) -> Score:
        calibration = self.calibration.by(method)
        return replace(self.evaluator.score(lambda x: calibration.simulate(plan, x)), method=method)


@dataclass(frozen=True, eq=False)
class Glance:
    """Plan -> what it loses on each of a few patches, ``float64[patches]`` in dB; ``share`` of the work on all pictures.

    ``seen``: what is known, also from earlier runs.
    """

    calibration: Calibration
    patches: Evaluator
    share: float
    seen: dict[PlanRow, np.ndarray] = field(default_factory=dict)

    def __call__(self, plan: PlanRow) -> np.ndarray:
        if plan not in self.seen:
            self.seen[plan] = self.patches.losses_db(lambda x: self.calibration.simulate(plan, x))
        return self.seen[plan]


@dataclass(frozen=True, eq=False)
class Remembering:
    """Plans -> their scores, each measured once for all devices that share measurements."""

    shared: MeasurementCache
    measure: Measure

    def __call__(self, plans: Iterable[PlanRow]) -> Iterator[Score]:
        return (self.shared.score(plan, self.measure) for plan in plans)


def in_floating_point(problem: Problem, photos: Pictures) -> Evaluator:
    """The judge of plans, which has seen what the floating-point network does on the search pictures."""
    return Evaluator(lambda x: execute(problem.graph, x), photos.search, photos.task)


def prepare(
    problem: Problem,
    photos: Pictures,
    seed: int,
    shared: MeasurementCache | None = None,
    progress: Callable[[str, float], None] | None = None,
    methods: Sequence[str] = (USUAL,),
    evaluator: Evaluator | None = None,
) -> Measure:
    """Calibrate the network, unless that was done for another device alike, and measure what it does in floating point. Mixtures
    of methods choose among them."""
    shared = shared or MeasurementCache(problem.network, [problem.space])
    mixtures = [method for method in methods if is_mixture(method)]
    report, *reports = split(progress or (lambda doing, share: None), 1 + len(mixtures))
    lows = [crop.low for crop in photos.crops]
    calibration = shared.calibration(problem.graph, lows, problem.space, seed, report, methods[0], problem.whole)
    for method, tell in zip(mixtures, reports, strict=True):
        calibration.by(method).decide(tell)
    evaluator = evaluator or in_floating_point(problem, photos)
    return Measure(calibration, evaluator, tuple(methods))
