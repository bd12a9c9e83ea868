"""Networks that write into parts of tensors become graphs that compute the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwmodels.errors import FileError
from searchspaces.ir.graph import execute
from searchspaces.ops.contractions.conv import Conv
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


def of_every_other_channel(net: nn.Module, y: Tensor) -> None:
    y[:, ::2] = y[:, 1::2] * 2


CHANGES = [of_channels, of_the_middle, of_one_channel, of_a_part_of_a_part, of_a_region, of_every_other_channel]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_written_is_read_afterwards(change: Callable[[nn.Module, Tensor], object]) -> None:
    """``trace`` compares the graph with the module at several sizes, and refuses where they differ."""
    graph = trace(Writing(change), 3, "writing")
    assert not graph.uncounted
    assert len({node.name for node in graph.nodes}) == len(graph.nodes) > 4


def ones_in_channels(net: nn.Module, y: Tensor) -> None:
    y[:, :3] = torch.ones(1, 3, 1, 1)


def zeros_in_the_middle(net: nn.Module, y: Tensor) -> None:
    y[:, 3:5] = 0.0


def the_last_row(net: nn.Module, y: Tensor) -> None:
    y[:, :, -1] = torch.arange(8.0).view(1, 8, 1)


def rows_in_the_middle(net: nn.Module, y: Tensor) -> None:
    y[:, :, 1:3] = torch.arange(8.0).view(1, 8, 1, 1)


def a_frame(net: nn.Module, y: Tensor) -> None:
    """Each side by numbers of its own: corners have those of the last."""
    for number, side in enumerate((y[:, :, :1], y[:, :, -1:], y[:, :, :, :2], y[:, :, :, -1:])):
        side[:] = torch.arange(8.0).view(1, 8, 1, 1) + number


@pytest.mark.parametrize("change", [ones_in_channels, zeros_in_the_middle, the_last_row, rows_in_the_middle, a_frame])
def test_constants_are_written_into_what_is_computed(change: Callable[[nn.Module, Tensor], object]) -> None:
    assert not trace(Writing(change), 3, "writing").uncounted


class Framed(nn.Module):
    """A 1x1 convolution, its bias written into the zeros around its output, and a 3x3 convolution of that: as FMEN has it."""

    def __init__(self, sides: int = 4, residual: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.sides, self.residual = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3), sides, residual
        self.end = nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.first(x)
        y = F.pad(inner, (1, 1, 1, 1))
        for side in [y[:, :, :1], y[:, :, -1:], y[:, :, :, :1], y[:, :, :, -1:]][: self.sides]:
            side[:] = self.first.bias.view(1, -1, 1, 1)  # type: ignore[union-attr]
        found: Tensor = self.end(self.last(y) + inner if self.residual else self.last(y))
        return found


@pytest.mark.parametrize("residual", [True, False])
def test_a_frame_of_a_convolutions_own_bias_is_its_padding(residual: bool) -> None:
    graph = trace(Framed(residual=residual), 3, "framed")
    assert not graph.uncounted
    assert [node.name for node in graph.nodes if node.op.quantized] == ["first", "last", "end"]
    (first,) = (node for node in graph.nodes if node.name == "first")
    assert first.op == Conv(padding=(1, 1, 1, 1))
    assert len(graph.nodes) == (6 if residual else 4)


def test_a_frame_on_some_sides_stays_one_of_zeros_on_the_others() -> None:
    """``trace`` compares it with the module; the corners belong to the side that is written."""
    assert not trace(Framed(sides=3), 3, "framed").uncounted


def constants_that_differ(net: nn.Module, y: Tensor) -> None:
    y[:, :3] = torch.arange(3.0).view(1, 3, 1, 1)


def every_other_row(net: nn.Module, y: Tensor) -> None:
    y[:, :, ::2] = torch.ones(1, 8, 1, 1)


def another_view(net: nn.Module, y: Tensor) -> None:
    y.view(1, 2, 4, *y.shape[2:])[:, 0] = y[:, 4:]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (constants_that_differ, "writes constants that differ from place to place"),
        (every_other_row, "writes constants into every other place"),
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


class Filling(Writing):
    """What ``change`` gives is read by the last layer."""

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.change(self, self.first(x)))
        return found


def halves(net: nn.Module, y: Tensor) -> Tensor:
    out = torch.zeros_like(y)
    out[:, 4:], out[:, :4] = y[:, :4], torch.relu(y[:, 4:])
    return out


def turns(net: nn.Module, y: Tensor) -> Tensor:
    out = torch.empty(len(y), 8, *y.shape[2:])
    out[:, ::2], out[:, 1::2] = y[:, :4], y[:, 4:]
    return out


def one_after_another(net: nn.Module, y: Tensor) -> Tensor:
    out = y.new_zeros(y.shape)
    for channel in range(8):
        out[:, channel] = y[:, 7 - channel]
    return out


def twice(net: nn.Module, y: Tensor) -> Tensor:
    out = torch.full_like(y, 3.0)
    out[:, :6], out[:, 2:] = y[:, :6], y[:, :6]
    return out


def rows_in_turns(net: nn.Module, y: Tensor) -> Tensor:
    out = torch.zeros(len(y), 8, 2 * y.shape[2], y.shape[3])
    out[:, :, 1::2], out[:, :, ::2] = y, -y
    return F.avg_pool2d(out, (2, 1))


def inverse_wavelet(net: nn.Module, y: Tensor) -> Tensor:
    """Every place of four pictures in one of twice the size, as wavelet networks write it."""
    out = torch.zeros(len(y), 2, 2 * y.shape[2], 2 * y.shape[3])
    low, across, down, both = y.chunk(4, 1)
    out[:, :, 0::2, 0::2] = low - across - down + both
    out[:, :, 1::2, 0::2] = low - across + down - both
    out[:, :, 0::2, 1::2] = low + across - down - both
    out[:, :, 1::2, 1::2] = low + across + down + both
    return F.pixel_unshuffle(out, 2)


@pytest.mark.parametrize("change", [halves, turns, one_after_another, twice, rows_in_turns, inverse_wavelet])
def test_a_constant_that_is_filled_part_by_part(change: Callable[[nn.Module, Tensor], Tensor]) -> None:
    module = Filling(change)
    graph = trace(module, 3, "filling")
    assert not graph.uncounted
    assert graph.size is None
    x = torch.rand(1, 3, 10, 22)
    with torch.no_grad():
        torch.testing.assert_close(execute(graph, x), module(x), rtol=1e-4, atol=1e-4)


def half_filled(net: nn.Module, y: Tensor) -> Tensor:
    out = torch.zeros_like(y)
    out[:, :4] = y[:, 4:]
    return out


def along_two_axes(net: nn.Module, y: Tensor) -> Tensor:
    out = torch.zeros_like(y)
    out[:, :4], out[:, :, 1:] = y[:, 4:], y[:, :, 1:]
    return out


@pytest.mark.parametrize(
    ("change", "reason"),
    [(half_filled, "reads a tensor before all of it is written"), (along_two_axes, "fills a tensor along several axes")],
)
def test_fillings_that_are_told(change: Callable[[nn.Module, Tensor], Tensor], reason: str) -> None:
    (line,) = trace(Filling(change), 3, "filling").uncounted
    assert reason in line
    assert "test_writes.py:" in line


def woven_in_part(net: nn.Module, y: Tensor) -> Tensor:
    out = torch.zeros_like(y)
    out[:, :, ::2, ::2] = y[:, :, ::2, ::2] * 2
    out[:, :, 1::2, ::2] = y[:, :, 1::2, ::2]
    return out


def test_places_that_are_not_all_written_are_told() -> None:
    graph = trace(Filling(woven_in_part), 3, "filling")
    assert any("reads a tensor before all of it is written" in line for line in graph.uncounted)


def rolled_by_places(net: nn.Module, y: Tensor) -> Tensor:
    out = torch.zeros_like(y)
    out[:, 2:4, ::2] = y[:, 2:4, ::2].cumprod(1)
    out[:, 2:4, 1::2] = y[:, 2:4, 1::2]
    return out


def test_what_is_written_beside_the_unknown_is_told() -> None:
    graph = trace(Filling(rolled_by_places), 3, "filling")
    assert any("running total" in line for line in graph.uncounted)
