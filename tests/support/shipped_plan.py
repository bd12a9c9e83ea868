"""The shipped network at one width of all its inner layers, and its noise on photos that calibration did not see."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hwsearch.problem.pictures import choose_pictures
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.engine.simulate import simulated
from hwsearch.quant.method import Draft
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import execute
from searchspaces.space import build_space


def shipped_plan(bits: int, method: str) -> tuple[Draft, Callable[[QuantizedGraph], float]]:
    """The plan as a method calibrates it, and what gives the mean squared error of the pictures of a plan."""
    request = Request(scope="not-first-last")
    problem = pose(request)
    photos = choose_pictures(request, problem.network)
    space = build_space(problem.workload, (bits,), (bits,), scope=request.scope, outside=(8, 8))
    calibration = calibrate(problem.graph, [crop.low for crop in photos.crops], space, method=method)

    def noise(found: QuantizedGraph) -> float:
        shown = [simulated(found, pair.low) - execute(problem.graph, pair.low).clamp(0, 1) for pair in photos.evaluation]
        return float(np.mean([error.square().mean() for error in shown]))

    return calibration.draft(space.uniform(bits, bits)), noise
