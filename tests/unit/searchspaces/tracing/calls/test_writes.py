"""Networks that write into parts of tensors become graphs that compute the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hwmodels.errors import FileError
from searchspaces.tracing.trace import trace


class Writing(nn.Module):
    """A layer of eight channels, what ``change`` does to them in place, a last layer."""

    def __init__(self, change: Callable[[nn.Module, Tensor], object]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.part, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(8, 3, 1)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        self.change(self, y)
        found: Tensor = self.last(y)
        return found


def of_channels(net: nn.Module, y: Tensor) -> None:
    y[:, :4] = net.part(y[:, :4])


def of_the_middle(net: nn.Module, y: Tensor) -> None:
    y[:, 2:6] = net.part(y[:, :4]) + y[:, 2:6]


def of_one_channel(net: nn.Module, y: Tensor) -> None:
    y[:, 5] = y[:, 0]


def of_a_part_of_a_part(net: nn.Module, y: Tensor) -> None:
    inner = y[:, 1:7]
    inner[:, -2:] *= 0.5


def of_a_region(net: nn.Module, y: Tensor) -> None:
    y[:, :, 1:-1, 2:] = y[:, :, 1:-1, 2:] * 0.5


@pytest.mark.parametrize("change", [of_channels, of_the_middle, of_one_channel, of_a_part_of_a_part, of_a_region])
def test_what_is_written_is_read_afterwards(change: Callable[[nn.Module, Tensor], object]) -> None:
    """``trace`` compares the graph with the module at several sizes, and refuses where they differ."""
    graph = trace(Writing(change), 3, "writing")
    assert not graph.uncounted
    assert len({node.name for node in graph.nodes}) == len(graph.nodes) > 4


def constants(net: nn.Module, y: Tensor) -> None:
    y[:, :3] = torch.ones(1, 3, 1, 1)


def every_other(net: nn.Module, y: Tensor) -> None:
    y[:, ::2] = y[:, 1::2]


def another_view(net: nn.Module, y: Tensor) -> None:
    y.view(1, 2, 4, *y.shape[2:])[:, 0] = y[:, 4:]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (constants, "writes constants"),
        (every_other, "every other place"),
        (another_view, "a part of a tensor that is read elsewhere"),
    ],
)
def test_other_writes_are_told(change: Callable[[nn.Module, Tensor], object], reason: str) -> None:
    (line, *_) = [line for line in trace(Writing(change), 3, "writing").uncounted if reason in line]
    assert "copy.default" in line


def test_a_part_that_was_taken_before_a_write_is_not_taken_for_it() -> None:
    def change(net: nn.Module, y: Tensor) -> None:
        before = y[:, :4]
        y[:, :4] = net.part(before)  # type: ignore[operator]
        y[:, 4:] = before  # what was written, as both are one memory

    with pytest.raises(FileError, match="changes a tensor that is read elsewhere"):
        trace(Writing(change), 3, "writing")
