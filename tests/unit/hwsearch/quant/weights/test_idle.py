"""Idle channels: which they are, and that the network with them at work is the same function."""

from __future__ import annotations

import pytest
import torch

from hwsearch.quant.weights.idle import occupied, splits
from searchspaces.ir.graph import Graph, execute
from searchspaces.networks import registry
from searchspaces.tracing.trace import trace

FIRST, SECOND = "first_part.0", "mid_part.0"
IDLE = (2, 5)


def network(activation: str = "relu") -> Graph:
    """A small network, two channels of whose first tensor are zero for whatever it reads, and would matter were they not."""
    torch.manual_seed(3)
    graph = trace(registry.build("fsrcnn", 2, d=8, s=4, m=1, activation=activation), 1, "small", 2)
    first = graph[FIRST]
    bias = first.weights["bias"].clone()
    bias[list(IDLE)] = -100.0
    return graph.replaced({FIRST: first.with_weights(bias=bias)})


def pictures() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(1, 1, 20, 24, generator=generator) for _ in range(3)]


def test_idle_channels_become_copies_and_the_function_stays() -> None:
    graph = network()
    layers = [node.name for node in graph.convs]
    copies = splits(graph, pictures(), layers)
    pairs = copies[FIRST]
    assert tuple(pairs) == IDLE
    assert len(set(pairs.values())) == 2
    assert not set(pairs.values()) & set(IDLE)
    at_work = occupied(graph, {FIRST: pairs})  # others may be idle, too
    x = pictures()[0]
    torch.testing.assert_close(execute(at_work, x), execute(graph, x), atol=1e-5, rtol=1e-4)
    reader, was = at_work[SECOND].weights["weight"], graph[SECOND].weights["weight"]
    for taken, origin in pairs.items():
        assert torch.equal(at_work[FIRST].weights["weight"][taken], graph[FIRST].weights["weight"][origin])
        assert torch.equal(reader[:, taken], reader[:, origin])
        assert torch.equal(2 * reader[:, origin], was[:, origin])
    others = [channel for channel in range(8) if channel not in {*pairs, *pairs.values()}]
    assert len(others) == 4
    assert torch.equal(reader[:, others], was[:, others])


def test_the_channel_that_dominates_is_split_first() -> None:
    graph = network()
    reader = graph[SECOND]
    weight = reader.weights["weight"].clone()
    weight[:, 6] = 3.0
    weight[:, IDLE[0]] = 9.0  # what an idle channel is multiplied by says nothing
    graph = graph.replaced({SECOND: reader.with_weights(weight=weight)})
    assert splits(graph, pictures(), [node.name for node in graph.convs])[FIRST][IDLE[0]] == 6


@pytest.mark.parametrize("missing", [FIRST, SECOND])
def test_nothing_is_split_that_a_layer_outside_writes_or_reads(missing: str) -> None:
    graph = network()
    assert FIRST not in splits(graph, pictures(), [node.name for node in graph.convs if node.name != missing])


def test_behind_other_activations_nothing_is_idle() -> None:
    graph = network("prelu")
    assert splits(graph, pictures(), [node.name for node in graph.convs]) == {}


def test_channels_that_are_zero_on_ordinary_pictures_but_not_on_strong_contrast_are_in_use() -> None:
    graph = network()
    first = graph[FIRST]
    weight, bias = first.weights["weight"].clone(), first.weights["bias"].clone()
    weight[IDLE[0]] = 0
    weight[IDLE[0], 0, 2, 2], bias[IDLE[0]] = 1.0, -0.61
    graph = graph.replaced({FIRST: first.with_weights(weight=weight, bias=bias)})
    dull = [0.4 + 0.2 * picture for picture in pictures()]
    assert set(IDLE[1:]) <= set(splits(graph, dull, [node.name for node in graph.convs])[FIRST])
    assert IDLE[0] not in splits(graph, dull, [node.name for node in graph.convs])[FIRST]
