"""What a branch promises is what it saves below the convex hull of the layer's own widths."""

from __future__ import annotations

import numpy as np
import pytest

from hwsearch.search.branches import Offer, best, chain

NOISE = np.array([16.0, 1.0])
PRICE = np.array([[0.0, 0.4], [0.0, 0.8]])
"""Of four and of eight bits: no time, and bytes."""


def offer(left: float, seconds: float = 0.0, bytes_: float = 0.1, layer: str = "a", rank: int = 2) -> Offer:
    return Offer(layer, rank, NOISE, NOISE * np.array([left, 1.0]), PRICE, np.array([seconds, bytes_]))


def test_a_branch_below_the_hull_saves_the_distance_to_it() -> None:
    """Between four and eight bits noise falls by 15 for 0.4: by 3.75 for what the branch costs. It takes 8, and at the slope of
    the hull 4.25 more than that."""
    assert offer(0.5).promise == pytest.approx(8 - 3.75)


@pytest.mark.parametrize("left", [1.0, 0.9, 1 - 3.75 / 16 + 0.01])
def test_a_branch_that_takes_less_than_wider_weights_do_promises_nothing(left: float) -> None:
    assert offer(left).promise == 0.0


def test_time_that_no_width_saves_counts_where_time_counts() -> None:
    """Bytes alone may be what counts, so a slow branch is still of use; time and bytes together ask for more."""
    assert offer(0.5, seconds=0.2).promise == offer(0.5).promise
    slow = Offer("a", 2, NOISE, NOISE * np.array([0.5, 1.0]), PRICE[:, ::-1].copy(), np.array([0.5, 0.0]))
    assert slow.promise == 0.0


def test_of_every_layer_the_rank_that_promises_most_stays() -> None:
    offers = [offer(0.5, rank=2), offer(0.2, rank=4), offer(0.99, layer="b"), offer(0.6, layer="c")]
    assert [(one.layer, one.rank) for one in best(offers)] == [("a", 4), ("c", 2)]


def test_sets_grow_by_what_their_layers_promise() -> None:
    ranked = best([offer(0.1, layer="a"), offer(0.4, layer="b"), offer(0.6, layer="c"), offer(0.75, layer="d")])
    assert [one.layer for one in ranked] == ["a", "b", "c", "d"]
    assert chain(ranked) == [{"a": 2}, {"a": 2, "b": 2, "c": 2}]
    assert chain([]) == []
    assert chain(ranked[:1]) == [{"a": 2}]
