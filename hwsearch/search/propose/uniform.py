"""Plans of one width everywhere: what anybody would try first, and what a search has to beat.

They are measured before any front is solved. A proxy knows what one choice costs while all others are wide; where layers dampen
each other's noise, or one detail is lost but once, twenty layers at 4 bits cost less than the sum says, and only plans that lower
all of them can tell: on VDSR a search without them paid 0.27 dB for memory that 4 bits everywhere buy for 0.08 dB.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwmodels.numbers import Precision
from hwsearch.search.exact.additive import AdditiveProblem
from hwsearch.search.exact.heuristics import feasible
from searchspaces.space import PlanRow, SearchSpace, distinct, matrix


def plans(space: SearchSpace) -> dict[str, PlanRow]:
    """Every plan of one format of weights and one of tensors, by name: W8A8. Floating point goes with its like: FP16."""
    named = {}
    for weights in space.weight_formats:
        for tensors in space.tensor_formats:
            precision = Precision(weights, tensors)
            if precision.is_float and weights != tensors:
                continue
            widths = space.width(weights), space.width(tensors)
            plan = space.uniform(*widths)
            if space.has_widths(plan, *widths):
                named[str(precision)] = plan
    return named


def anchors(space: SearchSpace, problem: AdditiveProblem, limits: Mapping[str, float], count: int) -> list[PlanRow]:
    """Up to ``count`` different uniform plans within the hard limits, evenly from the narrowest to the widest."""
    within = [plan for plan in distinct(plans(space).values()) if feasible(problem.costs(matrix([plan])), limits)[0]]
    if len(within) <= count:
        return within
    return [within[place] for place in np.unique(np.linspace(0, len(within) - 1, count).round().astype(int))] if count > 0 else []
