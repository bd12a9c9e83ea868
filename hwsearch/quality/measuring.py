"""What measures a plan: a calibrated network and the pictures of the search. Every process that measures makes its own, from the
same network, pictures and seed, so that all of them measure the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hwsearch.problem.pose import Pictures, Problem
from hwsearch.quality.evaluate import Evaluator, Score
from hwsearch.quality.shared import Shared
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.methods import USUAL
from searchspaces.ir.graph import execute
from searchspaces.space import PlanRow


@dataclass(frozen=True, eq=False)
class Measuring:
    """Plan -> its score in fake quantization, by the best of ``methods``, the first of equals."""

    calibration: Calibration
    evaluator: Evaluator
    methods: tuple[str, ...] = (USUAL,)

    def __call__(self, plan: PlanRow) -> Score:
        return max((self._score(plan, method) for method in self.methods), key=lambda score: score.psnr_db)

    def _score(self, plan: PlanRow, method: str) -> Score:
        calibration = self.calibration.by(method)
        return replace(self.evaluator.score(lambda x: calibration.simulate(plan, x)), method=method)


def in_floating_point(problem: Problem, photos: Pictures) -> Evaluator:
    """The judge of plans, which has seen what the floating-point network does on the search pictures."""
    return Evaluator(lambda x: execute(problem.graph, x), photos.search, photos.task)


def prepare(
    problem: Problem,
    photos: Pictures,
    seed: int,
    shared: Shared | None = None,
    progress: Callable[[str, float], None] | None = None,
    methods: Sequence[str] = (USUAL,),
    evaluator: Evaluator | None = None,
) -> Measuring:
    """Calibrate the network, unless that was done for another device alike, and measure what it does in floating point."""
    shared = shared or Shared(problem.network, [problem.space])
    lows = [crop.low for crop in photos.crops]
    calibration = shared.calibration(problem.graph, lows, problem.space, seed, progress, methods[0])
    evaluator = evaluator or in_floating_point(problem, photos)
    return Measuring(calibration, evaluator, tuple(methods))
