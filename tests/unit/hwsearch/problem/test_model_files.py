"""What --model takes, and what is said to everything else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from hwmodels.errors import FileError, UsageError
from hwsearch.problem.pose import Request, load_network, pose


@pytest.mark.parametrize(("name", "said"), [("net.safetensors", "--weights"), ("net", ".onnx"), ("net.h5", ".tflite")])
def test_what_is_no_network_is_told_apart(name: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        load_network(Request(model=name))
    assert said in f"{refused.value.message} {refused.value.hint}"


def test_weights_are_told_apart_from_a_program(tmp_path: Path) -> None:
    torch.save(nn.Conv2d(3, 3, 1).state_dict(), tmp_path / "net.pt")
    with pytest.raises(UsageError, match="weights, no network"):
        load_network(Request(model=str(tmp_path / "net.pt")))
    with pytest.raises(FileError, match="no such file"):
        load_network(Request(model=str(tmp_path / "other.pt")))


def test_a_model_file_is_posed_at_the_size_that_it_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2))
    torch.onnx.export(module.eval(), (torch.rand(1, 3, 24, 32),), str(tmp_path / "net.onnx"), opset_version=11, dynamo=False)
    problem = pose(Request(model=str(tmp_path / "net.onnx"), target="jetson"))
    assert problem.input_size == (24, 32)
    assert [layer.macs for layer in problem.workload.layers if layer.macs] == [24 * 32 * 3 * 8 * 9, 24 * 32 * 8 * 12 * 9]
    larger = pose(Request(model=str(tmp_path / "net.onnx"), target="jetson", input_size=(48, 64)))
    assert larger.workload.macs == 4 * problem.workload.macs


def test_range_and_order_are_wrapped_around_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2)).eval()
    torch.onnx.export(module, (torch.rand(1, 3, 24, 32),), str(tmp_path / "net.onnx"), opset_version=11, dynamo=False)
    network = load_network(Request(model=str(tmp_path / "net.onnx"), value_range="0..255", order="bgr"))
    x = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        assert torch.allclose(network.module(x), module(x.flip(1) * 255).flip(1) / 255, atol=1e-5)
