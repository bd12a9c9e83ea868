"""Whatever mix of widths a plan draws, LiteRT, its reference kernels and TFLite Micro compute the engine's codes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from random_networks import float_graph, picture, quantize

from hwsearch.formats.running.runtime import compare, judge
from hwsearch.formats.tflite import litert, tflm
from hwsearch.quant.engine import integer

GRAPHS = {name: float_graph(name) for name in ("fsrcnn-relu", "fsrcnn-prelu", "abpn", "ecbsr", "edsr")}
OPEN = {
    "XNNPACK": litert.open_plan,
    "reference": lambda q: litert.open_plan(q, reference=True),
    "Micro": tflm.open_plan,
}


@pytest.mark.parametrize("runtime", OPEN)
@seed(3)
@settings(max_examples=10, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_random_plans_are_equal(runtime: str, data: st.DataObject) -> None:
    graph = GRAPHS[data.draw(st.sampled_from(sorted(GRAPHS)))]
    widths = st.sampled_from([2, 3, 4, 5, 6, 7, 8, 16])
    weights = {node.name: data.draw(st.integers(2, 8)) for node in graph.convs}
    tensors = {leader: data.draw(widths) for leader in dict.fromkeys(graph.quantizer_groups().values())}
    q = quantize(graph, weights, tensors, symmetric=data.draw(st.booleans()), seed=data.draw(st.integers(0, 9)))
    opened = OPEN[runtime](q)
    x = picture(graph, 7, 9, seed=data.draw(st.integers(10, 99)))
    fmt = opened.executed.formats[graph.output.name]
    judge(opened.tolerance, *compare(opened.run(x), integer.run(opened.executed, x), fmt))
