"""Sizes that depend on the picture: found as formulas, so that the graph is one for pictures of any size.

``trace`` compares the graph with the module at sizes other than the two that the formulas were found from.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.ir.graph import execute
from searchspaces.ops.moves.pad import Pad
from searchspaces.tracing.formulas import TraceSize, formula
from searchspaces.tracing.sizes import PLAIN
from searchspaces.tracing.trace import trace

SAMPLES = (TraceSize(*PLAIN[0]), TraceSize(*PLAIN[1]))


class Moved(nn.Module):
    """A convolution in front of a function that moves values by the size of the picture."""

    def __init__(self, body: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.body = nn.Conv2d(3, 4, 3, padding=1), body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.head(x))


def _wavelet(x: Tensor) -> Tensor:
    """Sums and differences of rows and columns two by two; the last odd ones are left out."""
    x = x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
    rows = torch.cat([x[:, :, ::2] + x[:, :, 1::2], x[:, :, ::2] - x[:, :, 1::2]], 1)
    return torch.cat([rows[..., ::2] + rows[..., 1::2], rows[..., ::2] - rows[..., 1::2]], 1)


def _windows(x: Tensor) -> Tensor:
    """The mean of windows of 4x4, rows and columns reflected up to whole ones."""
    h, w = x.shape[-2:]
    padded = F.pad(x, (0, -w % 4, 0, -h % 4), mode="reflect")
    return F.interpolate(F.avg_pool2d(padded, 4), scale_factor=4.0, mode="nearest")[:, :, :h, :w]


def _coordinates(x: Tensor) -> Tensor:
    """Coordinate attention (Hou et al. 2021): means of rows and of columns behind one another, and apart again."""
    h, w = x.shape[-2:]
    both = torch.sigmoid(torch.cat((x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)), 2))
    rows, columns = both.split([h, w], 2)
    return x * rows * columns.transpose(2, 3)


BODIES: dict[str, Callable[[Tensor], Tensor]] = {
    "whole pairs": lambda x: x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2],
    "whole threes": lambda x: x[:, :, : x.shape[2] // 3 * 3],
    "wavelet": _wavelet,
    "windows": _windows,
    "half as much again": lambda x: F.interpolate(x, size=(x.shape[2] * 3 // 2, x.shape[3] * 3 // 2), mode="nearest"),
    "two thirds": lambda x: F.interpolate(x, size=(x.shape[2] * 2 // 3, -(-x.shape[3] * 2 // 3)), mode="bilinear"),
    "odd ones in front": lambda x: F.avg_pool2d(F.pad(x, (x.shape[3] % 2, 0, x.shape[2] % 2, 0)), 2),
    "eight times": lambda x: F.interpolate(F.pad(x, (0, -x.shape[3] % 16, 0, 0)), scale_factor=8.0)[..., : 8 * x.shape[3]],
    "rows and columns": _coordinates,
    "every second row and column": lambda x: _coordinates(x[:, :, ::2, ::2]),
    "shared out": lambda x: F.pad(x, ((-x.shape[3] % 8) // 2, (-x.shape[3] % 8 + 1) // 2, 0, 0)),
}


@pytest.mark.parametrize("name", BODIES)
def test_one_graph_for_every_size(name: str) -> None:
    network = Moved(BODIES[name])
    graph = trace(network, 3, name)
    assert (graph.uncounted, graph.size, graph.multiple) == ((), None, 1)
    for size in ((16, 24), (33, 30)):  # none that it was traced or compared at
        x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert torch.equal(execute(graph, x), network(x))


def test_a_rest_that_two_pictures_share_is_no_constant() -> None:
    """Both pictures of the traces are odd; at an even one nothing is cut off."""
    graph = trace(Moved(BODIES["whole pairs"]), 3, "pairs")
    pads = [node.op.padding for node in graph.nodes if isinstance(node.op, Pad)]
    assert any(isinstance(amount, str) for padding in pads for amount in padding), pads


def test_constants_stay_constants() -> None:
    """One row cut off whatever the picture's size, though both pictures of the traces are odd."""
    graph = trace(Moved(lambda x: x[:, :, 1:, :-1]), 3, "cut")
    assert (graph.size, graph.multiple) == (None, 1)
    assert all(isinstance(amount, int) for node in graph.nodes if isinstance(node.op, Pad) for amount in node.op.padding)


@pytest.mark.parametrize("window", [3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24])
def test_samples_differ_in_every_window(window: int) -> None:
    for first, second in zip(*PLAIN[:2], strict=True):
        assert 0 not in (first % window, second % window)
        assert first % window != second % window


@pytest.mark.parametrize(
    ("of", "text"),
    [(lambda h, w: h * 3 // 2, "h * 3 // 2"), (lambda h, w: -(-w // 3), "(w + 2) // 3"), (lambda h, w: -(h // 4), "-(h // 4)")],
)
def test_parts_of_a_side(of: Callable[[int, int], int], text: str) -> None:
    one, two = (of(*sample.shape) for sample in SAMPLES)
    assert formula(one, two, SAMPLES, 1) == text
