"""Exported files as the network that a search begins with: the same integers, code for code, and the widths that they had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import block_networks
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from random_networks import MODULES, float_graph, on_shares, picture, quantize

from hwmodels.errors import FileError
from hwsearch.formats.onnx import write as onnx_file
from hwsearch.formats.reading import file_network
from hwsearch.formats.reading.readers import inspect, reader_of
from hwsearch.formats.tflite import write as tflite_file
from hwsearch.quant.engine import integer
from hwsearch.quant.network import storage
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Graph, execute
from searchspaces.tracing.trace import trace

SIZE = (16, 24)
relaxed = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
Export = Callable[[QuantizedGraph, Path], Path]
FACTS = {"plan": "plan-01", "network": "net"}
WRITERS: dict[str, tuple[str, Export]] = {
    "onnx": ("f32", lambda q, folder: onnx_file.export(q, folder / "net.onnx", metadata=FACTS)),
    "litert": ("xnnpack", lambda q, folder: tflite_file.export(q, folder / "a.tflite", metadata=FACTS, size=SIZE)),
    "reference": (
        "reference",
        lambda q, folder: tflite_file.export(q, folder / "b.tflite", metadata=FACTS, flavour="reference", size=SIZE),
    ),
}
"""Name -> the rule of its runtime, and what writes the file."""


@lru_cache
def graph_of(name: str) -> Graph:
    return float_graph(name)


def is_same(q: QuantizedGraph, rule: str, path: Path, size: tuple[int, int] = SIZE) -> None:
    """The network in a file: its hash, its codes in our engine, and those of the file's own runtime."""
    found = inspect(path)
    assert found.integers is not None
    assert found.executable
    assert storage.digest(found.integers) == storage.digest(replace(q, rule=rule))
    x = picture(q.graph, *size, seed=5)
    assert torch.equal(integer.run(found.integers, x), integer.run(replace(q, rule=rule), x))
    reader_of(path).check(found, size)


@pytest.mark.parametrize("name", MODULES)
@relaxed
@given(data=st.data())
def test_what_was_exported_is_what_is_read(name: str, tmp_path: Path, data: st.DataObject) -> None:
    graph = graph_of(name)
    writer = "onnx" if name == "attention" else data.draw(st.sampled_from(sorted(WRITERS)))
    weights = {node.name: data.draw(st.integers(2, 8)) for node in graph.convs}
    widths = {group: data.draw(st.sampled_from((3, 8, 16))) for group in sorted(set(graph.quantizer_groups().values()))}
    q = quantize(graph, weights, widths)
    rule, export = WRITERS[writer]
    is_same(q, rule, export(q, tmp_path))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("writer", ["onnx", "reference"])
def test_attention_is_read_back(writer: str, bits: int, tmp_path: Path) -> None:
    graph = trace(block_networks.build("swin"), 3, "swin", size=SIZE)
    q = on_shares(quantize(graph, 8, bits, size=SIZE))
    rule, export = WRITERS[writer]
    is_same(q, rule, export(q, tmp_path))


@pytest.mark.parametrize("writer", WRITERS)
def test_a_search_begins_with_the_widths_of_the_file(writer: str, tmp_path: Path) -> None:
    graph = graph_of("fsrcnn-prelu")
    groups = graph.quantizer_groups()
    layers = {node.name: 3 + index % 6 for index, node in enumerate(graph.convs)}
    tensors = {group: 16 if index % 2 else 8 for index, group in enumerate(sorted(set(groups.values())))}
    q = quantize(graph, layers, tensors)
    path = WRITERS[writer][1](q, tmp_path)
    network = file_network.load(path)
    assert {name: network.widths[name] for name in layers} == layers
    assert {node.name: network.widths[f"-> {node.name}"] for node in graph.nodes} == {
        node.name: tensors[groups[node.name]] for node in graph.nodes
    }
    x = picture(graph, *SIZE)
    real = {
        node.name: {
            **node.weights,
            "weight": torch.from_numpy(q.layers[node.name].weight * q.layers[node.name].scale[:, None, None, None]),  # type: ignore[union-attr]
        }
        for node in graph.convs
    }
    expected = execute(graph.replaced({name: replace(graph[name], weights=weights) for name, weights in real.items()}), x)
    with torch.no_grad():
        assert torch.allclose(network.module(x), expected, atol=5e-3)  # biases are whole multiples of the products of scales


def test_a_file_that_was_changed_is_no_longer_ours(tmp_path: Path) -> None:
    q = quantize(graph_of("fsrcnn-prelu"), 8, 16)
    path = WRITERS["onnx"][1](q, tmp_path)
    model = onnx.load(path)
    weight = next(tensor for tensor in model.graph.initializer if tensor.name.endswith(".weight"))
    changed = numpy_helper.to_array(weight).copy()
    changed.flat[0] ^= 1
    weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    onnx.save(model, path)
    found = inspect(path)
    assert found.integers is None
    assert {layer.name for layer in found.layers} == set(q.layers)
    with pytest.raises(FileError, match="inspected and priced, not searched"):
        file_network.load(path)


def test_what_the_file_computes_is_compared(tmp_path: Path) -> None:
    """The network is carried as it was, and a number of the file that it does not know is another."""
    path = WRITERS["onnx"][1](quantize(graph_of("fsrcnn-relu"), 8, 16), tmp_path)
    model = onnx.load(path)
    multipliers = next(t for t in model.graph.initializer if t.name.startswith("constant_") and len(t.dims) == 4)
    multipliers.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(multipliers) * 2, multipliers.name))
    onnx.save(model, path)
    assert inspect(path).integers is not None
    with pytest.raises(FileError, match="codes differ"):
        file_network.load(path)


def test_a_file_with_another_operator_is_no_longer_ours(tmp_path: Path) -> None:
    path = WRITERS["onnx"][1](quantize(graph_of("fsrcnn-relu"), 8, 8), tmp_path)
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Neg", ["before"], ["output"]))
    onnx.save(model, path)
    assert inspect(path).integers is None
