"""Rules of bit allocation against what their formulas and their texts say, on made-up costs and damage."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from random_tables import chain
from scipy.optimize import minimize

from hwmodels.errors import UsageError
from hwsearch.contracts import check_allocator, tiny_calibration, tiny_pairs
from hwsearch.quality.damage import Damage
from hwsearch.search.allocate import ALLOCATORS, deviation_rank
from hwsearch.search.allocate.allocator import AllocatorInfo, Grounds, by_levels, rung, stepped
from hwsearch.search.allocate.water_filling import cost_slopes
from hwsearch.search.exact.additive import lower
from searchspaces.ir.graph import execute

BY_RANK = ("gradient_rank", "deviation_rank")


def grounds_of(seed: int, cost: str = "latency_s", layers: int = 4) -> Grounds:
    table, noise, space = chain(layers, seed)
    damage = Damage("made up", np.where(space.allowed, noise, 0.0), np.ones(1), 0, ("p",), 0.0)
    problem = lower(table, damage.noise, space, {cost})
    return Grounds(SimpleNamespace(space=space), (), None, 0, lambda proxy: damage, problem, cost)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["snr_threshold", "snr_greedy"])
@pytest.mark.parametrize("seed", range(4))
def test_a_threshold_gives_each_the_narrowest_width_that_keeps_it(name: str, seed: int) -> None:
    grounds = grounds_of(seed)
    space, noise = grounds.space, grounds.damage("any").noise
    rungs = [tuple(plan) for plan in ALLOCATORS[name].ladder(grounds)]
    inner = [float(noise[d, c]) for d in range(space.decisions) for c in space.choices(d)[:-1]]
    expected = []
    for threshold in [-1.0, *sorted(inner)]:
        plan = []
        for d in range(space.decisions):
            keeps = [c for c in space.choices(d) if c == space.choices(d)[-1] or noise[d, c] <= threshold]
            plan.append(min(keeps))
        expected.append(tuple(plan))
    assert rungs == list(dict.fromkeys(expected))


def test_going_through_the_sorted_list_is_the_ladder_of_the_greedy_rule() -> None:
    grounds = grounds_of(1)
    space, noise = grounds.space, grounds.damage("output_sqnr").noise
    entries = sorted((noise[d, c], d, c) for d in range(space.decisions) for c in space.choices(d)[:-1])
    plan = np.array([space.choices(d)[-1] for d in range(space.decisions)])
    walked = [tuple(plan)]
    for _, d, c in entries:
        plan[d] = min(plan[d], c)
        walked.append(tuple(plan))
    assert [tuple(p) for p in ALLOCATORS["snr_greedy"].ladder(grounds)] == list(dict.fromkeys(walked))


def test_the_closed_form_of_water_filling_is_the_minimum() -> None:
    """The formula in the module's text against a general optimizer, and its rounding against the ladder."""
    grounds = grounds_of(3, layers=3)
    space, slopes = grounds.space, cost_slopes(grounds)
    kept = [d for d in range(space.decisions) if slopes[d] > 0]
    assert len(kept) > 3
    noise, widths = grounds.damage("output_sqnr").noise, [np.array(space.widths(d)) for d in range(space.decisions)]
    middles = [space.choices(d)[len(space.choices(d)) // 2] for d in kept]
    a = np.array([noise[d, m] * 4.0 ** widths[d][m] for d, m in zip(kept, middles, strict=True)])
    c = slopes[kept] / slopes[kept].sum()
    budget = 6.0
    logs = np.log2(a / c)
    bits = budget + 0.5 * (logs - c @ logs)
    assert c @ bits == pytest.approx(budget)
    found = minimize(
        lambda b: np.log(a @ 4.0**-b),
        np.full(len(kept), budget),
        constraints={"type": "eq", "fun": lambda b: c @ b - budget},
        tol=1e-12,
    )
    np.testing.assert_allclose(found.x, bits, atol=1e-3)
    nearest = [min(space.choices(d), key=lambda i, d=d, b=b: abs(widths[d][i] - b)) for d, b in zip(kept, bits, strict=True)]
    assert tuple(nearest) in {tuple(np.asarray(plan)[kept]) for plan in ALLOCATORS["water_filling"].ladder(grounds)}


@pytest.mark.parametrize("name", list(ALLOCATORS))
def test_ladders_go_from_the_widest_plan_to_the_narrowest_and_never_widen(name: str) -> None:
    if name in BY_RANK:
        pytest.skip("around a base width, looks at a network")
    grounds = grounds_of(5)
    space, plans = grounds.space, np.stack(ALLOCATORS[name].ladder(grounds))
    assert all(plans[0][d] == space.choices(d)[-1] for d in range(space.decisions))
    assert all(plans[-1][d] == space.choices(d)[0] for d in range(space.decisions))
    assert np.all(np.diff(plans, axis=0) <= 0)
    assert np.all(space.allowed[np.arange(space.decisions), plans])


def test_a_budget_picks_the_widest_rung_within_it_or_the_narrowest_that_is_good_enough() -> None:
    grounds = grounds_of(2)
    plans = by_levels(grounds.space, grounds.damage("any").noise)
    problem = grounds.problem
    prices = problem.costs(np.stack(plans))["latency_s"]
    limit = float(np.median(prices))
    taken = rung(plans, problem, {"latency_s": limit}, lambda plan: 0.0, np.inf)
    assert taken is plans[next(i for i, price in enumerate(prices) if price <= limit)]
    assert rung(plans, problem, {"latency_s": 0.0}, lambda plan: 0.0, np.inf) is None
    losses = {plan: 0.1 * i for i, plan in enumerate(plans)}
    for most in (-0.05, 0.0, 0.25, 99.0):
        good = [i for i in range(len(plans)) if 0.1 * i <= most]
        taken = rung(plans, problem, {}, lambda plan: losses[plan], most)
        assert taken is (plans[good[-1]] if good else None)


def test_what_saves_nothing_is_narrowed_last_by_water_filling() -> None:
    grounds = grounds_of(0, cost="weight_bytes")  # tensors weigh nothing there
    space = grounds.space
    weights = len(space.layer_names)
    for plan in ALLOCATORS["water_filling"].ladder(grounds)[:-1]:
        assert all(plan[d] == space.choices(d)[-1] for d in range(weights, space.decisions))


def test_deviations_rank_tensors_and_leave_weights_at_the_base() -> None:
    calibration, pairs = tiny_calibration((2, 4, 8), (4, 6, 8), "mse"), tiny_pairs()
    space = calibration.space
    grounds = Grounds(calibration, pairs, None, 0, lambda proxy: None, None, "latency_s")  # type: ignore[arg-type]
    seen: dict[str, list[float]] = {}
    for pair in pairs:
        execute(calibration.graph, pair.low, lambda node, x: seen.setdefault(node.name, []).append(float(x.std())))
    groups = calibration.graph.width_groups()
    expected = np.zeros(space.decisions)
    for node in calibration.graph.convs:
        at = len(space.layer_names) + space.group_names.index(groups[node.inputs[0]])
        expected[at] = max(expected[at], float(np.mean(seen[node.inputs[0]])))
    np.testing.assert_allclose(deviation_rank.deviations(grounds), expected, rtol=1e-4)
    plans = ALLOCATORS["deviation_rank"].ladder(grounds)
    layers = len(space.layer_names)
    tensors = expected[layers:]
    for plan, bits in zip(plans, (8, 6, 4, 2), strict=False):
        assert list(plan[:layers]) == list(space.uniform(bits, bits)[:layers])
    middle = next(plan for plan in plans if set(plan[:layers]) == {1})
    assert middle[layers + int(tensors.argmax())] > middle[layers + int(tensors.argmin())]


def test_the_offsets_of_deviations_by_hand() -> None:
    values = np.array([5.0, 1.0, 3.0, 9.0, 2.0, 8.0, 4.0, 7.0, 6.0, 0.5])
    assert deviation_rank.offsets(values).tolist() == [0, -1, 0, 1, -1, 1, 0, 1, 0, -1]
    assert deviation_rank.offsets(values[:3]).tolist() == [0, 0, 0]


def test_steps_end_where_widths_end() -> None:
    space = tiny_calibration((2, 4, 8), (4, 8)).space
    base = space.uniform(8, 4)
    moved = stepped(base, {0: 1, 1: -1, 2: -5})
    assert (moved[0], moved[1], moved[2]) == (2, 1, 0)
    assert moved[3:] == base[3:]


@pytest.mark.parametrize("name", list(ALLOCATORS))
def test_every_rule_keeps_the_contract(name: str) -> None:
    check_allocator(ALLOCATORS[name])


def test_the_contract_finds_a_rule_that_goes_the_wrong_way() -> None:
    narrow_first = AllocatorInfo("wrong", "", "", "", function=lambda g: [g.space.uniform(b, b) for b in (4, 8)])
    with pytest.raises(AssertionError, match="wide to narrow"):
        check_allocator(narrow_first)


def test_a_rule_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="allocator"):
        ALLOCATORS.named("snr_thresh")
