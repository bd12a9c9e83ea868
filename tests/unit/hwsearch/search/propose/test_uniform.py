"""Plans of one width: named as people name them, and few of them where a search may measure little."""

from __future__ import annotations

import numpy as np
from random_tables import chain

from hwsearch.search.exact.additive import lower
from hwsearch.search.propose import uniform


def test_every_pair_of_widths_has_its_plan_and_its_name():
    _, _, space = chain(4, 0, weight_bits=(2, 4, 8), activation_bits=(8, 16))
    named = uniform.plans(space)
    assert list(named) == ["W2A8", "W2A16", "W4A8", "W4A16", "W8A8", "W8A16"]
    weights, tensors = space.named(named["W4A16"])
    assert set(weights.values()) == {4}
    assert set(tensors.values()) == {16}


def test_anchors_are_spread_from_the_narrowest_to_the_widest():
    table, noise, space = chain(4, 0, weight_bits=(2, 3, 4, 5, 6, 8), activation_bits=(8, 16))
    problem = lower(table, noise, space)
    every = uniform.anchors(space, problem, {}, 40)
    assert len(every) == 12
    few = uniform.anchors(space, problem, {}, 4)
    assert len(set(few)) == 4
    assert few[0] == space.uniform(2, 8)
    assert few[-1] == space.uniform(8, 16)
    assert uniform.anchors(space, problem, {}, 0) == []


def test_anchors_keep_the_limits():
    table, noise, space = chain(4, 0, weight_bits=(2, 4, 8), activation_bits=(8, 16))
    problem = lower(table, noise, space)
    sizes = problem.costs(np.stack(list(uniform.plans(space).values())))["memory_bytes"]
    limit = float(np.median(sizes))
    found = uniform.anchors(space, problem, {"memory_bytes": limit}, 40)
    assert len(found) == int((sizes <= limit).sum()) < len(sizes)
