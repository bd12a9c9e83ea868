"""Promotion: what becomes of widths and grids that a format cannot hold, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import MODULES, float_graph, picture, quantize

from hwmodels.errors import UsageError
from hwmodels.numbers import Int
from hwsearch.formats.writing.capability import Holds
from hwsearch.formats.writing.exporters import EXPORTERS
from hwsearch.formats.writing.promote import fit, promote
from hwsearch.quant.engine import integer
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats
from searchspaces.ir.graph import execute

INT8 = Holds(weight_bits=(8,), tensor_bits=(8,), zero_points=False)


@pytest.mark.parametrize("name", MODULES)
def test_wider_containers_change_bytes_and_nothing_else(name: str) -> None:
    q = quantize(float_graph(name), 3, 5)
    promotion = promote(q, Holds(weight_bits=(4, 8)))
    assert promotion.same_numbers
    assert {change.name for change in promotion.changes} == set(q.layers)
    assert all((change.before, change.after) == ("3 bits", "4 bits") for change in promotion.changes)
    weights = [layer.weight.size for layer in q.layers.values()]
    assert promotion.bytes_before == sum(-(-3 * n // 8) for n in weights)
    assert promotion.bytes_after == sum(-(-n // 2) for n in weights)
    x = picture(q.graph, seed=4)
    assert torch.equal(integer.run(promotion.qgraph, x), integer.run(q, x))


def test_what_is_held_stays_and_promoting_twice_is_promoting_once() -> None:
    q = quantize(float_graph("edsr"), 4, 7)
    assert promote(q, Holds()).changes == ()
    once = promote(q, INT8)
    again = promote(once.qgraph, INT8)
    assert again.changes == ()
    assert again.qgraph.formats == once.qgraph.formats


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    bits=st.integers(2, 8),
    scale=st.floats(1e-4, 10),
    zero=st.integers(0, 255),
    symmetric=st.booleans(),
    zero_points=st.booleans(),
    values=st.lists(st.floats(-1, 1), min_size=4, max_size=4),
)
def test_a_promoted_grid_reaches_as_far_and_is_at_most_a_bit_coarser(
    bits: int, scale: float, zero: int, symmetric: bool, zero_points: bool, values: list[float]
) -> None:
    top = (1 << bits) - 1
    fmt = TensorFormat(Int(bits), float(np.float32(scale)), 1 << (bits - 1) if symmetric else zero % (top + 1), 0, top)
    new = fit(fmt, Holds(tensor_bits=(8,), zero_points=zero_points))
    assert (new.bits, new.qmin, new.qmax) == (8, 0, 255)
    assert zero_points or new.zero_point == 128
    assert new.scale <= 2.01 * fmt.scale
    low, high = (-fmt.zero_point * fmt.scale, (top - fmt.zero_point) * fmt.scale)
    inside = torch.tensor([low + (v + 1) / 2 * (high - low) for v in values])
    # A zero point that had to be rounded shifts the range by up to half a step.
    assert (new.fake(inside) - inside).abs().max() <= (1.001 if zero_points else 0.501) * new.scale


@pytest.mark.parametrize("name", MODULES)
def test_a_symmetric_int8_network_stays_close_to_the_float_network(name: str) -> None:
    graph = float_graph(name)
    q = quantize(graph, 8, 8)
    promotion = promote(q, INT8)
    assert all(f.zero_point == 128 and f.bits == 8 for f in promotion.qgraph.formats.values())
    assert not promotion.same_numbers
    x = picture(graph, seed=0)
    with torch.no_grad():
        expected = execute(graph, x)
    before, after = ((integer.run(g, x) - expected).square().mean().sqrt() for g in (q, promotion.qgraph))
    assert after < 4 * before + 1e-6


def test_sixteen_bits_become_half_precision_or_are_refused() -> None:
    graph = float_graph("fsrcnn-relu")
    first = graph.convs[0].name
    q = quantize(graph, 8, {first: 16})
    promotion = promote(q, INT8)
    reader = graph.convs[1].name
    assert promotion.qgraph.formats[first].is_float
    assert isinstance(promotion.qgraph.layers[reader], LayerFloats)
    assert {c.name for c in promotion.changes if c.after == "half precision"} == {first, reader}
    x = picture(graph, seed=0)
    with torch.no_grad():
        expected = execute(graph, x)
    assert (integer.run(promotion.qgraph, x) - expected).abs().mean() < 0.05 * expected.abs().mean()
    with pytest.raises(UsageError, match=first.replace(".", r"\.")):
        promote(q, Holds(tensor_bits=(8,), half=False))


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_exporter_says_what_it_promoted(name: str) -> None:
    q = quantize(float_graph("fsrcnn-relu"), 3, 5)
    promotion = EXPORTERS[name].promote(q)
    held = EXPORTERS[name].holds
    assert bool(promotion.changes) == (3 not in held.weight_bits or 5 not in held.tensor_bits)
    for change in promotion.changes:
        assert change.name in promotion.summary
