"""What an exported file is read back as, against the plan that was written; hypothesis draws the widths."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import MODULES, float_graph, quantize

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.numbers import FP16, INT16, Precision
from hwsearch.formats import carried
from hwsearch.formats.onnx import write as exported
from hwsearch.formats.reading import pricing
from hwsearch.formats.reading.readers import inspect
from hwsearch.formats.writing import exporters
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload


@lru_cache
def graph_of(name: str) -> Graph:
    return float_graph(name)


@pytest.mark.parametrize("name", MODULES)
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_widths_and_structure_come_back(name: str, tmp_path: Path, data: st.DataObject) -> None:
    graph = graph_of(name)
    weights = {node.name: data.draw(st.integers(2, 8)) for node in graph.convs}
    widths = {group: data.draw(st.sampled_from((2, 3, 5, 8, 16))) for group in sorted(set(graph.quantizer_groups().values()))}
    q = quantize(graph, weights, widths, wide=data.draw(st.sampled_from((INT16, FP16))), symmetric=data.draw(st.booleans()))
    path = exported.export(q, tmp_path / "net.onnx", metadata={"plan": "plan-07"})
    if data.draw(st.booleans()):  # files of older exports carry no network, and are read operator by operator
        model = onnx.load(path)
        kept = [(p.key, p.value) for p in model.metadata_props if p.key != carried.FACT]
        onnx.helper.set_model_props(model, dict(kept))
        onnx.save(model, path)
    found = inspect(path)
    assert {layer.name: layer.weight_bits for layer in found.layers} == {key: layer.bits for key, layer in q.layers.items()}
    assert {layer.name: layer.activation_bits for layer in found.layers} == {n.name: q.formats[n.name].bits for n in graph.convs}
    assert [layer.shape for layer in found.layers] == [q.layers[n.name].weight.shape for n in graph.convs]
    assert sorted(n.op.word for n in found.graph.nodes) == sorted(n.op.word for n in graph.nodes)
    assert found.provenance is not None
    assert found.provenance["plan"] == "plan-07"
    ours, theirs = (to_workload(g, 24, 32) for g in (graph, found.graph))
    assert (theirs.macs, theirs.weight_count) == (ours.macs, ours.weight_count)


@pytest.mark.parametrize("name", ["fsrcnn-relu", "abpn", "edsr"])
def test_a_file_costs_what_its_plan_costs(name: str, tmp_path: Path) -> None:
    graph = graph_of(name)
    found = inspect(exported.export(quantize(graph, 8, 8), tmp_path / "net.onnx"))
    board = catalogue.load("ethos-u55-128")
    expected = cost.uniform(board, exporters.shipped(to_workload(graph, 48, 64), board), Precision.parse("W8A8"))
    price = pricing.price(found, "ethos-u55-128", (48, 64))
    assert price.latency_s == pytest.approx(expected.latency_s)
    assert (price.weight_bytes, price.peak_activation_bytes) == (expected.weight_bytes, expected.peak_activation_bytes)
    assert price.remarks == ()
