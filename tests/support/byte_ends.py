"""Plans of few bits between pictures of eight, which methods finish."""

from __future__ import annotations

from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.method import Draft


def draft_of(calibration: Calibration, weights: int, tensors: int) -> Draft:
    """A plan of those widths, but for 8 bits of the pictures at both ends."""
    space, groups = calibration.space, calibration.graph.width_groups()
    layers, widths = space.named(space.uniform(weights, tensors))
    ends = {groups[calibration.graph.input.name], groups[calibration.graph.output.name]}
    return calibration.draft(space.plan(layers, widths | dict.fromkeys(ends, 8)))
