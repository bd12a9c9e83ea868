"""Any plan runs the same in our engine and in ONNX Runtime: hypothesis draws a width for every layer and every tensor."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from called import Called
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import MODULES, float_graph, picture, quantize

from hwsearch.formats.onnx import write as exported
from hwsearch.quant.engine import integer
from searchspaces.ir.graph import Graph
from searchspaces.tracing.trace import trace

ACTIVATION_BITS = (2, 3, 4, 5, 6, 7, 8, 16)


@lru_cache
def graph_of(name: str) -> Graph:
    return float_graph(name, seed=len(name))


@pytest.mark.parametrize("name", MODULES)
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_random_mixed_plans_are_equal_code_for_code(name: str, data: st.DataObject) -> None:
    graph = graph_of(name)
    weights = {node.name: data.draw(st.integers(2, 8), label=node.name) for node in graph.convs}
    groups = sorted(set(graph.quantizer_groups().values()))
    widths = {group: data.draw(st.sampled_from(ACTIVATION_BITS), label=group) for group in groups}
    q = quantize(graph, weights, widths, symmetric=data.draw(st.booleans(), label="symmetric"))
    model = exported.to_model(q).SerializeToString()
    exported.assert_integer(q, model)
    height, width = (2 * data.draw(st.integers(3, 12)) for _ in range(2))
    x = picture(graph, height, width, seed=data.draw(st.integers(0, 99)))
    theirs = exported.session(model, threads=1).run(None, {"input": x.numpy()})[0]
    assert np.array_equal(theirs, integer.run(q, x).numpy())


@pytest.mark.parametrize("bits", [8, 16])
def test_nothing_over_nothing_is_nothing(bits: int) -> None:
    """A divisor that is zero in its codes: the engine has zero for 0 / 0, and the farthest code for what else it divides."""
    module = Called(lambda x: torch.relu(x - 0.5) / (torch.relu(x.flip(2) - 0.5) + 1e-6))
    q = quantize(trace(module.eval(), 4, "one"), 8, bits)
    x = picture(q.graph, 12, 16, seed=3)
    theirs = exported.session(exported.to_model(q).SerializeToString(), threads=1).run(None, {"input": x.numpy()})[0]
    ours = integer.run(q, x).numpy()
    assert np.array_equal(theirs, ours)
    assert 0 < (ours == 0).mean() < 1
