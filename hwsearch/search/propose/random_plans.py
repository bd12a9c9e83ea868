"""Random plans that test a proxy: does it rank them as measurement does?

Plans whose widths are drawn freely, each by itself, are nearly all ruined by a few very narrow choices, and in deep networks all
alike: their losses lie close together, far from those of any plan that a search would keep. So three kinds are mixed, in equal
shares: free; around one width, drawn for each plan, with neighbours of that width mixed in; and near the widest widths, with a
few decisions lowered, where a search ends up.
"""

from __future__ import annotations

import numpy as np

from searchspaces.space import PlanRow, SearchSpace


def sample(space: SearchSpace, count: int, *, seed: int, draw: str = "mixed") -> list[PlanRow]:
    """``count`` different random plans, drawn as one of ``DRAWS``; fewer only where the space has fewer."""
    rng = np.random.default_rng(seed)
    found: dict[PlanRow, None] = {}
    kinds = DRAWS[draw]
    attempts = 0
    while len(found) < min(count, space.size) and attempts < 100 * count:
        found.setdefault(space.row(kinds[attempts % len(kinds)](space, rng)))
        attempts += 1
    return list(found)


def _free(space: SearchSpace, rng: np.random.Generator) -> np.ndarray:
    found: np.ndarray = space.random(rng, 1)[0]
    return found


def _around(space: SearchSpace, rng: np.random.Generator) -> np.ndarray:
    """Widths at one quantile of what is allowed, a different one for weights and tensors, spread by a step or two."""
    layers = len(space.layer_names)
    middle = rng.random(2)
    plan = np.empty(space.decisions, dtype=np.int8)
    for d in range(space.decisions):
        options = space.choices(d)
        position = middle[int(d >= layers)] * (len(options) - 1) + rng.normal(0, 0.8)
        plan[d] = options[int(np.clip(round(position), 0, len(options) - 1))]
    return plan


def _near_widest(space: SearchSpace, rng: np.random.Generator) -> np.ndarray:
    """The widest plan with a random share of its decisions lowered by one or two steps."""
    share = rng.random()
    plan = np.empty(space.decisions, dtype=np.int8)
    for d in range(space.decisions):
        options = space.choices(d)
        steps = rng.integers(1, 3) if rng.random() < share else 0
        plan[d] = options[max(len(options) - 1 - steps, 0)]
    return plan


DRAWS = {"mixed": (_free, _around, _near_widest), "free": (_free,)}
"""How plans are drawn."""
