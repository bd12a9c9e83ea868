"""Budgets of the literature in the exact solver, against brute force over every plan of small networks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tables import chain

from hwmodels.counting import COUNTED, Counting, stored_bits
from hwmodels.errors import BudgetError
from hwsearch.search import pareto
from hwsearch.search.exact import exact
from searchspaces.space import SearchSpace


def counted(space: SearchSpace, seed: int) -> SearchSpace:
    """A chain with random weights and MACs, whose last layer is outside the scope."""
    rng = np.random.default_rng(seed)
    layers = len(space.layer_names)
    counting = Counting(
        column=np.arange(layers),
        weights=rng.integers(1, 500, layers),
        macs=rng.integers(1, 10**6, layers),
        reads=np.arange(layers),
        inside=np.arange(layers) < layers - 1,
        weight_bits=stored_bits(space.weight_bits, len(space.activation_bits)),
        activation_bits=np.array(space.activation_bits),
    )
    return replace(space, counting=counting)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), share=st.floats(0.02, 1.0), name=st.sampled_from(COUNTED))
def test_least_damage_within_a_counted_budget(seed: int, share: float, name: str) -> None:
    table, noise, space = chain(3, seed, weight_bits=(2, 4, 8), activation_bits=(4, 8))
    space = counted(space, seed)
    assert space.counting is not None
    plans = np.array(list(itertools.product(*(space.choices(d) for d in range(space.decisions)))))
    values = space.counting.of_plans(plans)[name]
    limit = float(values.min() + share * (values.max() - values.min()))
    damage = noise[np.arange(space.decisions), plans].sum(axis=1)
    found = exact.solve(table, noise, {name: limit}, space)
    assert space.counting.of_plans(found.plan)[name][0] <= limit * (1 + 1e-12)
    assert found.objective == pytest.approx(damage[values <= limit * (1 + 1e-12)].min(), rel=1e-9)
    assert found.gap < 1e-8


@pytest.mark.parametrize("name", COUNTED)
def test_an_impossible_counted_budget_says_the_best_value(name: str) -> None:
    table, _, space = chain(3, 7)
    space = counted(space, 7)
    assert space.counting is not None
    least = space.counting.of_plans(space.uniform(2, 4))[name][0]
    with pytest.raises(BudgetError, match=pareto.label(name)) as refused:
        exact.check_feasible([table], space, {name: 0.9 * least})
    assert pareto.quantity(name, least) in str(refused.value)
    exact.check_feasible([table], space, {name: least})
