"""The network of a problem, calibrated on its pictures: the one way in which commands that look at plans do it."""

from __future__ import annotations

from collections.abc import Callable

from hwsearch.problem.pictures import Pictures
from hwsearch.problem.pose import Problem
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.methods import USUAL
from searchspaces.space import SearchSpace


def calibrated(
    problem: Problem,
    photos: Pictures,
    seed: int,
    *,
    method: str = USUAL,
    space: SearchSpace | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Calibration:
    """See ``quant.calibrate.calibrate``; the teacher of a network without blocks is the one that has them.

    Args:
        space: of the widths that are asked for; None: that of the problem.
    """
    lows = [crop.low for crop in photos.crops]
    space = problem.space if space is None else space
    return calibrate(problem.graph, lows, space, method=method, seed=seed, progress=progress, teacher=problem.whole)
