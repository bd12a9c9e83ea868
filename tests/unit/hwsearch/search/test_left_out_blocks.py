"""Blocks as decisions: which are left out together, and how plans of several networks compete."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hwmodels import cost
from hwmodels.device import catalogue
from hwsearch.quality.damage import Damage
from hwsearch.search.blocks import Block, Variant, box, chain, search, shares
from searchspaces.networks.cnn.edsr import EDSR
from searchspaces.space import PlanRow, build_space, matrix
from searchspaces.tracing.trace import to_workload, trace

FLOAT_MSE = np.array([10.0])
LOSSES = {"a": 0.1, "b": 0.2, "b.x": 0.05, "c": 0.3, "d": 2.0}


def additive(names: tuple[str, ...]) -> float:
    return sum(LOSSES[name] for name in names)


def blocks(**weights: int) -> list[Block]:
    return [Block(name.replace("_", "."), LOSSES[name.replace("_", ".")], count) for name, count in weights.items()]


def test_blocks_go_in_the_order_of_what_their_weights_cost() -> None:
    assert chain(blocks(a=10, b=100, c=100), additive, 1.0, 3) == [("b",), ("b", "c"), ("b", "c", "a")]
    assert chain(blocks(a=10, b=100, c=100), additive, 1.0, 2) == [("b",), ("b", "c")]


def test_a_block_that_costs_too_much_is_kept_alone_or_with_others() -> None:
    assert chain(blocks(d=10**6, a=10), additive, 1.0, 3) == [("a",)]
    assert chain(blocks(a=100, b=100, c=100), additive, 0.45, 3) == [("a",), ("a", "b")]


@pytest.mark.parametrize("weights", [{"b": 100, "b_x": 10}, {"b": 10, "b_x": 100}])
def test_a_block_inside_of_another_goes_once(weights: dict[str, int]) -> None:
    (alone,) = chain(blocks(**weights), additive, 1.0, 3)
    assert alone == (max(weights, key=lambda name: weights[name]).replace("_", "."),)


def variant(dropped: tuple[str, ...], blocks: int, lost_db: float, seen: list[tuple[tuple[str, ...], PlanRow]]) -> Variant:
    """EDSR of so many blocks, whose noise is a power of two of the bits that are missing, and whose plans lose just that."""
    graph = trace(EDSR(2, n_feats=8, n_blocks=blocks).eval(), 3, "edsr")
    device = catalogue.load("snapdragon-8gen3-hexagon")
    space = build_space(to_workload(graph, 32, 32), device.offered.weight_widths, device.offered.tensor_widths)
    noise = np.where(space.allowed, 4.0 ** -np.arange(space.allowed.shape[1]), 0.0)
    damage = Damage("made", noise, FLOAT_MSE, 0, ("x",), 0.0, forward_passes=0)

    def evaluate(plans: Sequence[PlanRow]) -> list[float]:
        seen.extend((dropped, plan) for plan in plans)
        return (lost_db + damage.loss_db(matrix(plans))).tolist()

    table = cost.lower(device, to_workload(graph, 32, 32), space)
    return Variant(dropped, space, [table], damage, lost_db, evaluate)


def test_plans_are_measured_once_and_priced_as_their_own_network() -> None:
    seen: list[tuple[tuple[str, ...], PlanRow]] = []
    variants = [variant((), 3, 0.0, seen), variant(("one",), 2, 0.1, seen)]
    found = search(variants, 24, 6.0)
    assert [(one.variant.dropped, one.plan) for one in found] == seen
    assert len(set(seen)) == len(seen) <= 24
    assert {one.variant.dropped for one in found} == {(), ("one",)}
    ideal, reference = box(variants, 6.0)
    for one in found:
        price = cost.estimate(one.variant.tables[0], one.plan)
        assert one.objectives[1] == pytest.approx(price.latency_s[0])
        assert one.objectives[2] == pytest.approx(price.weight_bytes[0] + price.peak_activation_bytes[0])
        assert (ideal[1:] <= np.array(one.objectives[1:]) * (1 + 1e-9)).all()
        assert (np.array(one.objectives[1:]) <= reference[1:] * (1 + 1e-9)).all()
        if np.isfinite(one.predicted_db):
            assert one.predicted_db == pytest.approx(one.objectives[0], abs=0.2)  # what is measured is what was told


def test_a_network_that_loses_too_much_is_not_proposed() -> None:
    seen: list[tuple[tuple[str, ...], PlanRow]] = []
    found = search([variant((), 3, 0.0, seen), variant(("two",), 1, 7.0, seen)], 24, 6.0)
    assert all(np.isnan(one.predicted_db) for one in found if one.variant.dropped)
    assert any(np.isfinite(one.predicted_db) for one in found)


def test_plans_are_shared_out_by_what_the_fronts_promise() -> None:
    whole, one, two = (variant((f"{n}",) if n else (), 3 - n, 1.0 * n, []) for n in (0, 1, 2))
    found = shares([whole, one, two], 60, 6.0, 8, {})
    assert sum(found) == 60
    assert all(share >= 8 for share in found if share)
    assert sum(share > 0 for share in found) > 1
    assert shares([whole, variant(("two",), 1, 7.0, [])], 60, 6.0, 8, {}) == [60, 0]  # it loses more than is of use


def test_few_plans_go_to_few_networks() -> None:
    variants = [variant((f"{n}",) if n else (), 3 - n, 0.05 * n, []) for n in (0, 1, 2)]
    found = shares(variants, 9, 6.0, 8, {})
    assert sorted(found) == [0, 0, 9]


def test_a_budget_that_only_the_smallest_network_meets_gives_it_all_plans() -> None:
    variants = [variant((f"{n}",) if n else (), 3 - n, 0.05 * n, []) for n in (0, 2)]
    smallest = variants[1]
    price = cost.estimate(smallest.tables[0], matrix([smallest.space.uniform(8, 8)]))
    assert shares(variants, 40, 6.0, 8, {"latency": float(price.latency_s[0]) * 1.01})[0] == 0
