"""The float file computes what the traced graph computes, for every operation there is."""

from __future__ import annotations

import onnxruntime
import pytest
import torch
from random_networks import MODULES, float_graph, picture

from hwsearch.formats.onnx.float_network import to_float_model
from searchspaces.ir.graph import execute


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
