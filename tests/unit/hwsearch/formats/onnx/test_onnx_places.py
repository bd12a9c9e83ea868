"""ONNX operators that put values at places, and constants where an operator needs a tensor: as the module computes them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwsearch.formats.onnx import read
from searchspaces.ir.graph import execute

OPSET = 18


class Placing(nn.Module):
    """A layer of eight channels, ``change`` of them, a last layer."""

    def __init__(self, change: Callable[[Placing, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1)
        self.register_buffer("noise", torch.rand(8, 12, 4))
        self.register_buffer("grid", torch.rand(1, 12, 16, 2) * 2.2 - 1.1)
        self.register_buffer("order", torch.randperm(8))
        self.register_buffer("nowhere", torch.zeros(1, 0, 12, 16, dtype=torch.long))
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.change(self, self.first(x)))
        return found


def every_other_channel(net: Placing, y: Tensor) -> Tensor:
    y = y.clone()
    y[:, ::2] = y[:, 1::2] * 2
    return y


def middle(net: Placing, y: Tensor) -> Tensor:
    z = y.clone()
    z[:, 2:6, 1:-1, 3:9] = y[:, :4, :-2, :6]
    return z


def numbers(net: Placing, y: Tensor) -> Tensor:
    y = y.clone()
    y[:, :, :, 4:8] = net.noise
    return y


def into_zeros(net: Placing, y: Tensor) -> Tensor:
    z = torch.ones_like(y)
    z[:, :, 1:, :] = y[:, :, :-1, :]
    return z


def scattered(net: Placing, y: Tensor) -> Tensor:
    return torch.zeros_like(y).scatter(1, net.order.view(1, -1, 1, 1).expand_as(y), y)


def folded(net: Placing, y: Tensor) -> Tensor:
    return F.fold(F.unfold(y, 3, padding=1, stride=2), (12, 16), 3, padding=1, stride=2)


def folded_apart(net: Placing, y: Tensor) -> Tensor:
    return F.fold(torch.relu(F.unfold(y, 2, stride=2)), (12, 16), 2, stride=2)


def folded_apart_from_the_border(net: Placing, y: Tensor) -> Tensor:
    return F.fold(torch.relu(F.unfold(y, 2, stride=2, padding=1)), (12, 16), 2, stride=2, padding=1)


def folded_apart_with_rest(net: Placing, y: Tensor) -> Tensor:
    return F.fold(torch.relu(F.unfold(y, 3, stride=3)), (12, 16), 3, stride=3)


def folded_dilated(net: Placing, y: Tensor) -> Tensor:
    return F.fold(F.unfold(y, (3, 2), dilation=2, padding=2), (12, 16), (3, 2), dilation=2, padding=2)


def known_grid(net: Placing, y: Tensor) -> Tensor:
    return F.grid_sample(y, net.grid, align_corners=False)


def matrix_each(net: Placing, y: Tensor) -> Tensor:
    return y @ net.noise.reshape(8, 16, 3) @ net.noise.reshape(8, 3, 16)


def nothing(net: Placing, y: Tensor) -> Tensor:
    return y.scatter(1, net.nowhere, torch.zeros(1, 0, 12, 16))


CHANGES = [
    every_other_channel, middle, numbers, into_zeros, scattered, folded, folded_apart, folded_apart_from_the_border,
    folded_apart_with_rest, folded_dilated, known_grid, matrix_each, nothing,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_same_numbers(change: Callable[[Placing, Tensor], Tensor], tmp_path: Path) -> None:
    module, x, file = Placing(change).eval(), torch.rand(1, 3, 12, 16), tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), str(file), opset_version=OPSET, dynamo=False)
    graph = read.read(file).graph
    assert not graph.uncounted
    with torch.no_grad():
        torch.testing.assert_close(execute(graph, x), module(x), rtol=1e-5, atol=1e-5)


def test_a_product_with_a_vector_is_told(tmp_path: Path) -> None:
    """It has one axis less than a product with a matrix."""
    module, file = Placing(lambda net, y: y + (net.grid[0, :, 0, 0] @ y)[:, :, None]).eval(), tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.rand(1, 3, 12, 16),), str(file), opset_version=OPSET, dynamo=False)
    assert "a product with a vector" in str(read.read(file).graph.uncounted)
