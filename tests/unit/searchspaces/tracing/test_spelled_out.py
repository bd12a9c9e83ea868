"""Operators that are put together from others: distances, running totals, filled places, views by distances in memory, complex
numbers; and lines of functions that ``forward`` calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.ir.graph import execute
from searchspaces.ops.input import Unknown
from searchspaces.tracing.trace import trace

WIDTH = 8


class Between(nn.Module):
    """A convolution, what a function makes of its channels, and another convolution."""

    def __init__(self, body: Callable[[Between, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.tail, self.body = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 3, 3, padding=1), body
        self.keys = nn.Parameter(torch.rand(5, WIDTH))
        self.turns: Tensor
        self.register_buffer("turns", torch.polar(torch.ones(WIDTH // 2), torch.linspace(0, 3, WIDTH // 2)))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.tail(self.body(self, self.head(x)))
        return found


def tokens(y: Tensor) -> Tensor:
    return y.flatten(2).mT


def near(p: float) -> Callable[[Between, Tensor], Tensor]:
    """Attention by distances to five keys of every place, in one row of places each: few enough for the plain kernel."""

    def body(net: Between, y: Tensor) -> Tensor:
        rows = y.permute(0, 2, 3, 1).unsqueeze(3)
        weights = torch.softmax(-torch.cdist(rows, net.keys.expand(*rows.shape[:3], -1, -1), p=p), -1)
        return (weights @ net.keys).squeeze(3).permute(0, 3, 1, 2)

    return body


def among_themselves(net: Between, y: Tensor) -> Tensor:
    pooled = tokens(F.adaptive_avg_pool2d(y, 2))
    return y + torch.cdist(pooled, pooled).mean((1, 2)).view(-1, 1, 1, 1)


def rotated(net: Between, y: Tensor) -> Tensor:
    pairs = torch.view_as_complex(y.permute(0, 2, 3, 1).unflatten(3, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * net.turns).flatten(3).permute(0, 3, 1, 2)


def by_parts(net: Between, y: Tensor) -> Tensor:
    z = torch.complex(y[:, :4], y[:, 4:]) * (0.5 + 2j) + torch.polar(y[:, :4].abs(), y[:, 4:])
    z = torch.cat([z.conj().transpose(2, 3)[:, 1:].transpose(3, 2), -z[:, :1]], 1)
    return torch.cat([z.real, z.imag], 1) + z.abs().repeat(1, 2, 1, 1)


def in_windows(net: Between, y: Tensor) -> Tensor:
    """Windows of 3x3 by distances in memory, as people write an unfold by themselves."""
    y = F.pad(y, (1, 1, 1, 1)).contiguous()
    count, channels, height, width = y.shape
    steps = y.stride()
    cut = torch.as_strided(y, (count, channels, height - 2, width - 2, 3, 3), (*steps, *steps[2:]))
    return cut.amax((-1, -2))


def every_second(net: Between, y: Tensor) -> Tensor:
    y = y.contiguous()
    count, channels, height, width = y.shape
    half = torch.as_strided(y, (count, channels, width, height // 2), (*y.stride()[:2], 1, 2 * width))
    return half.transpose(2, 3).repeat_interleave(2, 2)[:, :, :height]


def filled_in_place(net: Between, y: Tensor) -> Tensor:
    y = y.clone()
    y.index_fill_(1, torch.tensor([0, 3]), 0.25)
    return y


SPELLED: dict[str, Callable[[Between, Tensor], Tensor]] = {
    "distances to keys": near(2.0),
    "sums of differences": near(1.0),
    "largest differences": near(float("inf")),
    "distances among themselves": among_themselves,
    "running total of channels": lambda net, y: y.cumsum(1),
    "running total of rows": lambda net, y: y.cumsum(-2) / 8,
    "filled channels": lambda net, y: y.index_fill(1, torch.tensor([0, -3]), 0.25),
    "filled rows": lambda net, y: y.index_fill(2, torch.tensor([0, 3]), 0.25),
    "filled in place": filled_in_place,
    "whole steps": lambda net, y: y // 0.3 + y.div(0.7, rounding_mode="trunc"),
    "whole parts of another": lambda net, y: torch.div(y, y.abs() + 0.5, rounding_mode="floor") + (y // (1 + y.square())),
    "parts": lambda net, y: torch.div(y, 0.3, rounding_mode=None),
    "straight early": lambda net, y: F.softplus(y, beta=2.0, threshold=0.7),
    "rotary embedding": rotated,
    "real and imaginary parts": by_parts,
    "one behind the other": lambda net, y: torch.as_strided(
        y.contiguous(), (len(y), y.shape[1], y[0, 0].numel()), (y[0].numel(), y[0, 0].numel(), 1)
    ).view(y.shape),
    "windows by distances": in_windows,
    "every second row by distances": every_second,
}


@pytest.mark.parametrize("name", SPELLED)
def test_the_graph_is_the_module(name: str) -> None:
    module = Between(SPELLED[name]).eval()
    graph, x = trace(module, 3, name), torch.rand(1, 3, 12, 16)
    assert graph.uncounted == ()
    if graph.size not in (None, (12, 16)):
        graph = trace(module, 3, name, size=(12, 16))
    with torch.no_grad():
        wanted = module(x)
    assert float((execute(graph, x) - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())


LEFT: dict[str, tuple[Callable[[Between, Tensor], Tensor], str]] = {
    "another distance": (near(3.0), "_cdist_forward"),
    "a total of every place": (
        lambda net, y: F.interpolate(y, size=(40, 40)).flatten(2).cumsum(2).view(*y.shape[:2], 40, 40),
        "a running total over more than 1024 places",
    ),
    "the diagonal by distances": (
        lambda net, y: y + torch.as_strided(y.contiguous(), (1, 8, 5, 1), (0, 9, y.shape[3] + 1, 1)).mean(2, keepdim=True),
        "a view by distances in memory",
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_others_are_refused_by_their_reason(name: str) -> None:
    body, reason = LEFT[name]
    assert any(reason in line for line in trace(Between(body).eval(), 3, name).uncounted)


class Helped(nn.Module):
    """What cannot be traced stands in a method that ``forward`` calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.ordered(self.conv(x))

    def ordered(self, y: Tensor) -> Tensor:
        return y.sort(1)[0]


def test_the_line_is_that_of_the_method_that_calls() -> None:
    graph = trace(Helped().eval(), 3, "helped")
    line = Helped.ordered.__code__.co_firstlineno + 1
    (said,) = graph.uncounted
    assert f"(test_spelled_out.py:{line})" in said
    assert any(isinstance(node.op, Unknown) for node in graph.nodes)


def multiplied_out(axis: int, gain: bool, shared: bool) -> Callable[[Between, Tensor], Tensor]:
    """A normalization as Keras computes it: a factor for each place, and what is left of the bias less the mean."""

    def body(net: Between, y: Tensor) -> Tensor:
        y = y if axis == 1 else y.permute(0, 2, 3, 1)
        mean, sides = y.mean(axis, keepdim=True), (1, -1, 1, 1) if axis == 1 or shared else (-1,)
        factor = torch.rsqrt((y - mean).square().mean(axis, keepdim=True) + 1e-3)
        factor = factor * net.keys[0].view(sides) if gain else factor
        found = y * factor + (net.keys[1].view(sides) - mean * factor)
        return found if axis == 1 else found.permute(0, 3, 1, 2)

    return body


@pytest.mark.parametrize(("axis", "gain"), [(1, True), (1, False), (-1, True)])
def test_a_normalization_that_is_multiplied_out_is_one(axis: int, gain: bool) -> None:
    module = Between(multiplied_out(axis, gain, shared=False)).eval()
    graph, x = trace(module, 3, "normalized"), torch.rand(1, 3, 9, 11)
    assert [node.op.kind for node in graph.nodes].count("layer_norm") == 1
    assert not {"rsqrt", "mean", "squared_difference"} & {node.op.kind for node in graph.nodes}
    with torch.no_grad():
        assert torch.allclose(execute(graph, x), module(x), atol=1e-4)


def test_numbers_of_another_axis_are_no_bias_of_a_normalization() -> None:
    module = Between(multiplied_out(-1, gain=True, shared=True)).eval()
    graph, x = trace(module, 3, "normalized", size=(WIDTH, 12)), torch.rand(1, 3, WIDTH, 12)
    assert "layer_norm" not in {node.op.kind for node in graph.nodes}
    with torch.no_grad():
        assert torch.allclose(execute(graph, x), module(x), atol=1e-4)


class Set(nn.Module):
    """A layer under a setting of torch, and another behind it."""

    def __init__(self, setting: Callable[[], Any]) -> None:
        super().__init__()
        self.setting, self.first, self.second = setting, nn.Conv2d(3, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        with self.setting():
            y = self.first(x.float())
            twice = y * 2
        found: Tensor = self.second(y.relu() + twice)
        return found


SETTINGS: dict[str, Callable[[], Any]] = {
    "without gradients": torch.no_grad,
    "with gradients": torch.enable_grad,
    "no autocast": lambda: torch.autocast("cpu", enabled=False),
    "autocast elsewhere": lambda: torch.autocast("cuda"),
}


@pytest.mark.filterwarnings("ignore:.*CUDA.*:UserWarning")
@pytest.mark.parametrize("name", SETTINGS)
def test_settings_around_layers_are_passed_over(name: str) -> None:
    module, x = Set(SETTINGS[name]).eval(), torch.rand(1, 3, 9, 11)
    graph = trace(module, 3, "set")
    assert {"first", "second"} <= {node.name for node in graph.convs}
    with torch.no_grad():
        assert torch.allclose(execute(graph, x), module(x), atol=1e-5)


def _in_half(layer: nn.Module, y: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(y[:, :3])
    return found.float()


def test_half_precision_under_autocast_is_told() -> None:
    module = Between(lambda net, y: y).eval()
    module.body = lambda net, y: _in_half(net.head, y)
    graph = trace(module, 3, "set")
    assert any("computes in half precision on the CPU" in line for line in graph.uncounted)
