"""The float file computes what the traced graph computes, for every operation there is."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from random_networks import MODULES, float_graph, picture

from hwsearch.formats.onnx.float_network import to_float_model
from hwsearch.formats.reading.readers import inspect
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ops.input import Input
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.resize import Mode, Resize
from searchspaces.ops.reductions.reduce import MaxPool, Std, Var


@pytest.mark.parametrize("name", MODULES)
def test_float_file_equals_graph(name: str) -> None:
    graph = float_graph(name)
    x = picture(graph)
    session = onnxruntime.InferenceSession(to_float_model(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = execute(graph, x)
    found = session.run(None, {"input": x.numpy()})[0]
    assert found.shape == tuple(expected.shape)
    assert torch.from_numpy(found) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.5, 3])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialiased_resizes_at_the_borders(mode: Mode, factor: float, tmp_path: Path) -> None:
    """What PyTorch computes, by the runtime and by the reader of the file."""
    graph = Graph("resize", (Node("input", Input(3)), Node("y", Resize(mode, factor, antialias=True), ("input",))))
    x = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    model, path = to_float_model(graph), tmp_path / "resize.onnx"
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = torch.nn.functional.interpolate(x, scale_factor=factor, mode=mode, antialias=True)
    assert torch.from_numpy(session.run(None, {"input": x.numpy()})[0]) == pytest.approx(expected, abs=1e-5)
    found = inspect(path).graph
    assert found is not None
    assert not found.uncounted
    assert execute(found, x) == pytest.approx(expected, abs=1e-6)


def test_zeros_in_front_of_max_pooling_are_values() -> None:
    """ONNX Runtime fuses the two and takes them for none."""
    pool = MaxPool((3, 3), (1, 1), (0, 0))
    nodes = (Node("input", Input(3)), Node("zeros", Pad((1, 1, 1, 1)), ("input",)), Node("y", pool, ("zeros",)))
    graph, x = Graph("pooled", nodes), -torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(to_float_model(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    assert torch.from_numpy(session.run(None, {"input": x.numpy()})[0]) == pytest.approx(execute(graph, x), abs=1e-6)


@pytest.mark.parametrize("op", [Var((2, 3), correction=1), Var((1, 2), keepdims=False, correction=1), Std((2, 3), correction=1)])
def test_a_variance_of_the_sample_counts_the_pictures_own_pixels(op: Var | Std) -> None:
    """Also where they are no number that the file could hold (SMFANet)."""
    graph = Graph("spread", (Node("input", Input(3)), Node("y", op, ("input",))))
    session = onnxruntime.InferenceSession(to_float_model(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    for sides in ((6, 9), (31, 4)):
        x = torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(0))
        assert torch.from_numpy(session.run(None, {"input": x.numpy()})[0]) == pytest.approx(execute(graph, x), abs=1e-6)
