"""The exact solver against enumeration of every plan, under any mix of limits."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tables import network, with_arena

from hwsearch.search.exact.additive import lower
from hwsearch.search.exact.exact import Solver

OBJECTIVES = ("noise", "latency_s", "weight_bytes", "energy_j", "peak_activation_bytes", "memory_bytes")


def enumerate_costs(table, noise, space):
    """Every plan and its objectives, by loops over layers as a person would add them up."""
    split = len(space.layer_names)
    rows = []
    for plan in itertools.product(*(space.choices(d) for d in range(space.decisions))):
        groups = plan[split:]
        cost = dict.fromkeys(OBJECTIVES, 0.0)
        cost["noise"] = sum(noise[d, c] for d, c in enumerate(plan))
        cost["latency_s"] = table.inference_s
        cost["energy_j"] = table.inference_s * table.static_w
        for layer, column in enumerate(table.weight_column):
            w = plan[column] if column >= 0 else 0
            a, b = groups[table.input_column[layer]], groups[table.output_column[layer]]
            cost["latency_s"] += table.latency_s[layer, w, a, b]
            cost["energy_j"] += table.energy_j[layer, w, a, b]
            cost["weight_bytes"] += table.weight_bytes[layer, w, a] if column >= 0 else 0
            cost["weight_bytes"] += table.constant_bytes[layer, a, b]
        alive = [sum(n * table.element_bytes[g] for n, g in zip(step, groups, strict=True)) for step in table.live]
        cost["peak_activation_bytes"] = max(alive) + table.runtime_bytes
        if table.arenas:
            laid = table.arenas[0].layout(np.array(plan))
            top = max((laid.offsets + laid.sizes)[laid.sizes > 0])
            assert top + laid.tables_bytes >= cost["peak_activation_bytes"]
            cost["peak_activation_bytes"] = float(top + laid.tables_bytes)
        cost["memory_bytes"] = cost["weight_bytes"] + cost["peak_activation_bytes"]
        rows.append((np.array(plan), cost))
    return rows


@st.composite
def problems(draw):
    groups = draw(st.integers(1, 3))
    tensor = st.integers(0, groups - 1)
    edges = draw(
        st.lists(st.tuples(tensor, tensor, st.booleans()), min_size=1, max_size=4).filter(lambda e: any(x[2] for x in e))
    )
    widths = draw(st.sampled_from([((2, 4, 8), (4, 8)), ((4, 8), (4, 8, 16)), ((3, 4, 8), (8, 16))]))
    scale = draw(st.sampled_from([1e-10, 1.0, 1e6]))
    seed = draw(st.integers(0, 10**6))
    table, noise, space = network(edges, groups, seed, *widths, noise_scale=scale)
    if draw(st.booleans()):
        table = with_arena(table, np.random.default_rng(seed))
    return table, noise, space


@settings(max_examples=60, deadline=None)
@given(
    problems(),
    st.sampled_from(OBJECTIVES),
    st.dictionaries(st.sampled_from(OBJECTIVES), st.floats(-0.1, 1.0), max_size=3),
)
def test_equals_enumeration(problem, goal, tightness):
    table, noise, space = problem
    rows = enumerate_costs(table, noise, space)
    values = {name: np.array([cost[name] for _, cost in rows]) for name in OBJECTIVES}
    # The tiny factor keeps limits clear of values that differ only in the order of summation.
    limits = {
        name: float(v.min() + t * (v.max() - v.min())) * (1 + 1e-9) for name, t in tightness.items() for v in [values[name]]
    }
    usable = np.all([values[name] <= limit for name, limit in limits.items()] or [np.ones(len(rows), dtype=bool)], axis=0)
    found = Solver(lower(table, noise, space)).minimum(limits, goal)
    if not usable.any():
        assert found is None
        return
    assert found is not None
    best = values[goal][usable].min()
    assert np.isclose(found.objective, best, rtol=1e-9, atol=0)
    assert found.bound <= found.objective
    assert found.gap < 1e-8
    row = next(i for i, (plan, _) in enumerate(rows) if np.array_equal(plan, found.plan))
    assert usable[row]
    assert np.isclose(values[goal][row], best, rtol=1e-9, atol=0)


def test_another_arena_fits_where_one_is_larger_than_the_limit_by_itself():
    """What rules out an arena that leaves weights no room at all says nothing of other arenas."""
    table, noise, space = network([(0, 0, True), (0, 0, True)], 3, 2015, (2, 4, 8), (4, 8), noise_scale=1e-10)
    table = with_arena(table, np.random.default_rng(2015))
    memory = min(cost["memory_bytes"] for _, cost in enumerate_costs(table, noise, space))
    found = Solver(lower(table, noise, space)).minimum({"noise": 9.1e-10, "memory_bytes": memory * (1 + 1e-9)}, "weight_bytes")
    assert found is not None
    assert found.plan.tolist() == [2, 2, 0, 0, 0]


@settings(max_examples=20, deadline=None)
@given(problems())
def test_costs_equal_enumeration(problem):
    table, noise, space = problem
    rows = enumerate_costs(table, noise, space)
    costs = lower(table, noise, space).costs(np.stack([plan for plan, _ in rows]))
    for name in OBJECTIVES:
        np.testing.assert_allclose(costs[name], [cost[name] for _, cost in rows], rtol=1e-12)
