"""Blocks as decisions: which are left out together, and how plans of several networks compete."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from hwmodels import cost
from hwmodels.device import catalogue
from hwsearch.quality.damage import Damage
from hwsearch.search.blocks import Block, Looks, chain
from hwsearch.search.variants import Rewriting, Variant, box, offered, shares
from searchspaces.ir.lower import to_workload
from searchspaces.networks.cnn.edsr import EDSR
from searchspaces.space import build_space, matrix
from searchspaces.tracing.trace import trace

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


def test_what_loses_far_too_much_on_a_few_samples_is_not_looked_at_on_the_others() -> None:
    """Each set is looked at once; what a few samples say is not what decides."""
    few, rest = {"a": 0.1, "b": 0.4, "c": 0.5, "d": 0.9, "e": 4.0}, {"a": 0.9, "b": 0.2, "c": 0.3, "d": 0.1, "e": 0.0}
    seen: list[tuple[str, tuple[str, ...]]] = []

    def told(which: str, known: dict[str, float], names: tuple[str, ...]) -> float:
        seen.append((which, names))
        return sum(known[name] for name in names)

    looks = Looks(partial(told, "few", few), partial(told, "rest", rest), 0.25, 1.0)
    found = {block.name: block.loss_db for block in looks.blocks(dict.fromkeys(few, 10))}
    assert found == pytest.approx({"a": 0.7, "b": 0.25, "c": 0.35, "d": 0.9, "e": 4.0})
    assert [names for which, names in seen if which == "rest"] == [("a",), ("b",), ("c",)]
    assert looks(("e",)) == looks(("e",)) == 4.0
    assert chain([Block(name, loss, 10) for name, loss in found.items()], looks, 1.0, 2) == [("b",), ("b", "c")]
    assert len(set(seen)) == len(seen)


def test_blocks_that_lose_too_much_one_by_one_are_not_looked_at_together() -> None:
    seen: list[tuple[str, ...]] = []

    def loss_db(names: tuple[str, ...]) -> float:
        seen.append(names)
        return 0.8

    assert chain([Block("a", 0.8, 100), Block("b", 0.9, 10)], loss_db, 1.0, 2) == [("a",)]
    assert seen == [("a",)]


def variant(dropped: tuple[str, ...], blocks: int, lost_db: float) -> Variant:
    """EDSR of so many blocks, whose noise is a power of two of the bits that are missing."""
    graph = trace(EDSR(2, n_feats=8, n_blocks=blocks).eval(), 3, "edsr")
    device = catalogue.load("snapdragon-8gen3-hexagon")
    space = build_space(to_workload(graph, 32, 32), device.offered.weight_widths, device.offered.tensor_widths)
    noise = np.where(space.allowed, 4.0 ** -np.arange(space.allowed.shape[1]), 0.0)
    damage = Damage("made", noise, FLOAT_MSE, 0, ("x",), 0.0, forward_passes=0)
    table = cost.lower(device, to_workload(graph, 32, 32), space)
    return Variant(Rewriting(dropped), space, [table], damage, lost_db)


def test_plans_are_offered_with_the_prices_of_their_own_network() -> None:
    variants = [variant((), 3, 0.0), variant(("one",), 2, 0.1)]
    ideal, reference = box(variants, 6.0)
    for own in variants:
        found = offered(own, {}, np.random.default_rng(0))
        plans, values = matrix([plan for plan, _ in found]), np.array([values for _, values in found])
        price = cost.estimate(own.tables[0], plans)
        assert len(found) > 10
        assert values[:, 0] == pytest.approx(own.lost_db + own.damage.loss_db(plans))
        assert values[:, 1] == pytest.approx(price.latency_s)
        assert values[:, 2] == pytest.approx(price.weight_bytes + price.peak_activation_bytes)
        assert (ideal[1:] <= values[:, 1:] * (1 + 1e-9)).all()
        assert (values[:, 1:] <= reference[1:] * (1 + 1e-9)).all()


def test_what_is_known_is_not_offered_and_corrects_the_prediction() -> None:
    own = variant(("one",), 2, 0.1)
    first = offered(own, {}, np.random.default_rng(0))
    known = {plan: 0.1 + 2 * (values[0] - 0.1) for plan, values in first[::2]}
    again = dict(offered(own, known, np.random.default_rng(0)))
    assert not again.keys() & known.keys()
    both = [(values[0] - 0.1, again[plan][0] - 0.1) for plan, values in first if plan in again]
    assert both
    for told, corrected in both:
        assert corrected == pytest.approx(2 * told, rel=0.2, abs=0.02)


def test_plans_are_shared_out_by_what_the_fronts_promise() -> None:
    whole, one, two = (variant((f"{n}",) if n else (), 3 - n, 1.0 * n) for n in (0, 1, 2))
    found = shares([whole, one, two], 60, 6.0, 8, {})
    assert sum(found) == 60
    assert all(share >= 8 for share in found if share)
    assert sum(share > 0 for share in found) > 1
    assert shares([whole, variant(("two",), 1, 7.0)], 60, 6.0, 8, {}) == [60, 0]  # it loses more than is of use


def test_few_plans_go_to_few_networks() -> None:
    variants = [variant((f"{n}",) if n else (), 3 - n, 0.05 * n) for n in (0, 1, 2)]
    found = shares(variants, 9, 6.0, 8, {})
    assert sorted(found) == [0, 0, 9]


def test_a_budget_that_only_the_smallest_network_meets_gives_it_all_plans() -> None:
    variants = [variant((f"{n}",) if n else (), 3 - n, 0.05 * n) for n in (0, 2)]
    smallest = variants[1]
    price = cost.estimate(smallest.tables[0], matrix([smallest.space.uniform(8, 8)]))
    assert shares(variants, 40, 6.0, 8, {"latency": float(price.latency_s[0]) * 1.01})[0] == 0
