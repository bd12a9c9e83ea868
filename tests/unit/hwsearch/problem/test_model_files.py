"""What --model takes, and what is said to everything else."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from fractional_network import strided
from torch import Tensor, nn
from torch.export import Dim

from hwmodels.errors import FileError, UsageError
from hwsearch.problem.network import found_network, load_network
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request


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


class Resized(nn.Module):
    """A bicubic enlargement by 1.5, and what a convolution adds to it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        large = F.interpolate(x, scale_factor=1.5, mode="bicubic")
        return large + self.conv(large)


@pytest.mark.parametrize("size", [(24, 36), (20, 28)])
def test_a_file_for_one_size_runs_at_that_size(size: tuple[int, int], tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2)).eval()
    torch.onnx.export(module, (torch.rand(1, 1, *size),), str(tmp_path / "net.onnx"), opset_version=11, dynamo=False)
    assert pose(Request(model=str(tmp_path / "net.onnx"), target="jetson")).input_size == size


@pytest.mark.parametrize("kind", ["dynamic.onnx", "fixed.onnx", "dynamic.pt2", "fixed.pt2", "traced.ts"])
@pytest.mark.parametrize(("up", "down"), [(3, 2), (4, 3), (0, 0)])
def test_a_fractional_scale_is_found_in_model_files(up: int, down: int, kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = strided(up, down) if up else Resized().eval()
    scale = Fraction(up, down) if up else Fraction(3, 2)
    step, x, path = scale.denominator, torch.rand(1, 1, 24, 36), str(tmp_path / kind)
    free = kind.startswith("dynamic")
    if kind.endswith(".onnx"):
        axes = {"x": {2: "h", 3: "w"}, "y": {2: "tall", 3: "wide"}} if free else None
        names = {"input_names": ["x"], "output_names": ["y"]}
        torch.onnx.export(module, (x,), path, opset_version=17, dynamo=False, dynamic_axes=axes, **names)
    elif kind.endswith(".pt2"):
        sides = {axis: step * Dim(name, min=4, max=300) for axis, name in ((2, "h"), (3, "w"))}
        torch.export.save(torch.export.export(module, (x,), dynamic_shapes=(sides,) if free else None), path)
    else:
        torch.jit.trace(module, x).save(path)  # type: ignore[no-untyped-call]
    problem = pose(Request(model=path, target="jetson", input_size=(24, 36)))
    assert problem.network.scale == scale
    assert problem.graph.multiple == step
    assert problem.network.only is None  # a file for one size, too: nothing in it knows that size
    output = problem.workload.tensors[-1]
    assert (output.height, output.width) == (24 * scale, 36 * scale)
    with pytest.raises(UsageError, match=f"not {step} times"):
        pose(Request(model=path, scale=step, target="jetson"))
    if free:
        with pytest.raises(UsageError, match=r"no whole number of pixels") as refused:
            pose(Request(model=path, target="jetson", input_size=(25, 36)))
        assert f"--input {24 + step}x36" in refused.value.hint


def test_arguments_for_a_model_file_are_not_passed_over() -> None:
    with pytest.raises(UsageError, match="--arg is for networks that are built"):
        found_network(Request(model="net.onnx", arguments={"width": 32}))


def test_arguments_for_code_become_part_of_its_name() -> None:
    request = Request(model="net.py:build", arguments={"width": 32, "act": "gelu"})
    assert request.model == 'net.py:build(width=32, act="gelu")'
    assert request.arguments == {}
