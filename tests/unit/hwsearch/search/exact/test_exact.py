"""The exact solver against a dynamic program on chains, at any scale of the damage, and what it says where nothing fits."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from random_tables import chain, edsr

from hwmodels.errors import BudgetError
from hwsearch.quality.damage import Damage, loss_of_noise
from hwsearch.search.exact import additive, exact
from hwsearch.search.exact.additive import AdditiveProblem, lower
from hwsearch.search.exact.integer_program import Solution
from hwsearch.search.exact.solver import infeasible
from searchspaces.space import matrix


def chain_front(table, noise, space):
    """All non-dominated (latency, noise) pairs of a chain: labels by the width of the last tensor, extended layer by layer."""
    layers = len(space.layer_names)
    labels = {a: [(table.inference_s, noise[layers, a])] for a in space.choices(layers)}
    for i in range(layers):
        grown = {}
        for b in space.choices(layers + i + 1):
            reached = [
                (t + table.latency_s[i, w, a, b], n + noise[i, w] + noise[layers + i + 1, b])
                for a, pairs in labels.items()
                for w in space.choices(i)
                for t, n in pairs
            ]
            best, kept = np.inf, []
            for t, n in sorted(reached):
                if n < best:
                    kept.append((t, n))
                    best = n
            grown[b] = kept
        labels = grown
    return sorted(pair for pairs in labels.values() for pair in pairs)


@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e8])
def test_equals_a_dynamic_program_on_a_chain(scale):
    table, noise, space = chain(7, 1, noise_scale=scale)
    pairs = chain_front(table, noise, space)
    solver = exact.Solver(lower(table, noise, space))
    for budget in np.geomspace(pairs[0][0] * (1 + 1e-9), max(t for t, _ in pairs), 12):
        expected = min(n for t, n in pairs if t <= budget)
        found = solver.minimum({"latency_s": budget})
        assert found.objective == pytest.approx(expected, rel=1e-9)
        assert found.gap < 1e-8
        assert solver.problem.costs(found.plan[None])["latency_s"][0] <= budget * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_gap_is_kept_and_its_bound_is_a_bound(seed):
    table, noise, space = edsr(3, seed)
    problem = lower(table, noise, space)
    proven, near = exact.Solver(problem), exact.Solver(problem, gap=0.05)
    fastest, best = (proven.minimum({}, goal) for goal in ("latency_s", "noise"))
    slowest = problem.costs(best.plan[None])["latency_s"][0]
    gaps = []
    for budget in np.geomspace(fastest.objective, slowest, 8)[1:-1]:
        exactly, found = (solver.minimum({"latency_s": budget}) for solver in (proven, near))
        assert found.objective <= exactly.objective / 0.95 + 1e-12
        assert found.bound <= exactly.objective * (1 + 1e-9)
        assert problem.costs(found.plan[None])["latency_s"][0] <= budget * (1 + 1e-9)
        gaps.append(found.gap)
    assert max(gaps) <= 0.05 + 1e-9
    assert near.minimum({}, "latency_s").objective == pytest.approx(fastest.objective)


def test_costs_of_changes_are_costs_of_the_changed_plans():
    table, noise, space = edsr(3, 1)
    problem = lower(table, noise, space)
    decisions, choices = problem.changes
    for plan in space.random(np.random.default_rng(0), 5).astype(np.int64):
        after = problem.changed(plan, np.arange(len(decisions)))
        assert np.all(after[np.arange(len(after)), decisions] == choices)
        assert np.all((after != plan).sum(axis=1) <= 1)
        found, wanted = problem.costs_of_changes(plan), problem.costs(after)
        assert found.keys() == wanted.keys()
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-9, err_msg=name)


def test_front_holds_the_ends_and_nothing_dominated():
    table, noise, space = edsr(4, 2)
    problem = lower(table, noise, space)
    plans = exact.front(table, noise, space)
    costs = problem.costs(np.stack(plans))
    assert costs["noise"].min() == pytest.approx(exact.solve(table, noise, {}, space).objective)
    fastest = exact.solve(table, noise, {}, space, minimise="latency_s")
    assert costs["latency_s"].min() == pytest.approx(fastest.objective)
    assert np.all(np.diff(costs["latency_s"]) >= 0)
    blind = problem.costs(space.random(np.random.default_rng(0), 20_000))
    for name_a, name_b in (("latency_s", "noise"), ("weight_bytes", "noise")):
        # No random plan beats a plan of the sweep in both: the sweep is exact in each plane.
        plane = exact.sweep(exact.Solver(problem), name_a, 8, {}, np.asarray(plans[-1]))
        for point in np.stack([problem.costs(np.stack(plane))[n] for n in (name_a, name_b)], axis=1)[1:]:
            beaten = (blind[name_a] < point[0]) & (blind[name_b] < point[1] * (1 - 1e-9))
            assert not beaten.any()


def test_pins_are_kept():
    table, noise, space = chain(4, 3)
    space.allowed[1] = [True, False, False, False]
    space.allowed[6] = [False, True, False, False]
    for plan in exact.front(table, noise, space, points=6):
        assert (plan[1], plan[6]) == (0, 1)


def test_device_limits_hold_on_the_whole_front():
    table, noise, space = edsr(3, 5)
    problem = lower(table, noise, space)
    least = exact.solve(table, noise, {}, space, minimise="weight_bytes").objective
    table.limits = {"weight_bytes": least * 1.2}
    plans = exact.front(table, noise, space, points=8)
    assert problem.costs(np.stack(plans))["weight_bytes"].max() <= least * 1.2 * (1 + 1e-9)


def test_an_impossible_limit_names_the_exact_minimum():
    table, noise, space = chain(3, 4)
    least = exact.solve(table, noise, {}, space, minimise="latency_s").objective
    with pytest.raises(BudgetError, match=rf"latency: the best reachable value is {least * 1e3:.4g} ms"):
        exact.solve(table, noise, {"latency_s": least * 0.9}, space)
    with pytest.raises(BudgetError):
        exact.check_feasible([table], space, {"latency": least * 0.9})
    exact.check_feasible([table], space, {"latency": least * 1.001, "loss": 1e-9})


CLASHES = {"latency_s": "energy_j", "energy_j": "latency_s", "weight_bytes": "noise", "noise": "weight_bytes"}


class TwoClashes:
    """A problem in which latency clashes with energy, and weights with noise: 2 is asked for, 1 alone and 3 with the other."""

    def minimum(self, within: dict[str, float], name: str) -> Solution | None:
        if any(CLASHES[other] in within for other in within):
            return None
        value = 3.0 if CLASHES[name] in within else 1.0
        return Solution(np.zeros(1, dtype=np.int8), value, value)


def test_limits_that_clash_in_two_pairs_are_explained_pair_by_pair():
    error = infeasible([TwoClashes()], dict.fromkeys(CLASHES, 2.0))
    assert len(error.message.splitlines()) == 5
    assert "latency: within 2000 mJ of energy the best is 3000 ms, asked for 2000 ms" in error.message


class TwoTriples:
    """A problem in which any two limits are met together, and neither of two groups of three."""

    GROUPS = ({"latency_s", "energy_j", "weight_bytes"}, {"noise", "memory_bytes", "bitops"})

    def minimum(self, within: dict[str, float], name: str) -> Solution | None:
        asked = {*within, name}
        return None if any(group <= asked for group in self.GROUPS) else Solution(np.zeros(1, dtype=np.int8), 1.0, 1.0)


def test_limits_that_clash_by_three_are_said_to():
    error = infeasible([TwoTriples()], dict.fromkeys(set.union(*TwoTriples.GROUPS), 2.0))
    assert "three or more cannot" in error.message


def test_limits_that_only_clash_together_are_explained():
    table, noise, space = chain(5, 6)
    fast = exact.solve(table, noise, {}, space, minimise="latency_s").objective
    quiet = exact.solve(table, noise, {}, space).objective
    with pytest.raises(BudgetError, match="within the other budgets the best is"):
        exact.solve(table, noise, {"latency_s": fast * 1.001, "noise": quiet * 1.001}, space)


def test_budgets_give_the_least_damage_and_the_cheapest_good_enough():
    table, noise, space = chain(5, 7)
    mse = np.array([20.0, 60.0])
    damage = Damage("made up", noise, mse, 0, ("a", "b"), 0.0)
    limit = 1.3 * exact.solve(table, noise, {}, space, minimise="latency_s").objective
    (within,) = exact.within_budgets(table, damage, space, {"latency": limit})
    expected = exact.solve(table, noise, {"latency_s": limit}, space)
    assert damage.predicted_noise(matrix([within]))[0] == pytest.approx(expected.objective)
    plans = exact.within_budgets(table, damage, space, {"loss": 0.5})
    assert np.all(damage.loss_db(np.stack(plans)) <= 0.5 + 1e-6)
    assert exact.within_budgets(table, damage, space, {}) == []


def test_noise_of_loss_is_the_inverse_of_loss():
    mse = np.array([5.0, 20.0, 80.0])
    for loss in (0.01, 0.3, 6.0):
        assert loss_of_noise(np.array(exact.noise_of_loss(loss, mse)), mse) == pytest.approx(loss, rel=1e-9)


def test_nothing_is_printed(capfd):
    table, noise, space = edsr(8, 2)
    exact.front(table, noise, space, points=10)
    assert capfd.readouterr().out == ""


def test_peaks_of_many_plans_are_exact_and_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, decisions, steps, groups = np.random.default_rng(0), 90, 150, 60
    alive = rng.integers(0, 10**6, (steps, groups, 3)) * np.array([0.5, 1.0, 2.0])
    problem = AdditiveProblem(
        options=(np.arange(3),) * decisions,
        noise=np.zeros((decisions, 3)),
        columns=np.full((1, 3), decisions),
        terms={"weight_bytes": np.zeros((1, 3, 3, 3))},
        constant={"weight_bytes": 0.0},
        step_bytes=alive,
    )
    plans = rng.integers(0, 3, (3000, decisions)).astype(np.int8)
    tracemalloc.start()
    found = problem.costs(plans, {"peak_activation_bytes"})["peak_activation_bytes"]
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    chosen = plans[:, decisions - groups :].astype(int)
    assert np.array_equal(found, [alive[:, np.arange(groups), plan].sum(axis=1).max() for plan in chosen])
    assert taken < 20e6  # every entry of every plan: 216 MB
    monkeypatch.setattr(additive, "AT_ONCE", 7)
    assert np.array_equal(found[:100], problem.costs(plans[:100], {"peak_activation_bytes"})["peak_activation_bytes"])
