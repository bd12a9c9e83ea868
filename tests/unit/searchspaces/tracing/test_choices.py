"""Comparisons, choices by the values of a picture, and functions of one value: traced to what the module computes.

``trace`` itself compares the graph with the module at several sizes and refuses a difference of 1e-4.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.ops.maps.activation import Activation, LeakyRelu, Relu
from searchspaces.ops.maps.jumps import Comparison
from searchspaces.tracing.trace import trace


class Between(nn.Module):
    """A function of feature maps between two convolutions."""

    def __init__(self, body: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.body, self.tail = nn.Conv2d(3, 8, 3, padding=1), body, nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.body(self.head(x)))


def _written(x: Tensor) -> Tensor:
    y = x.clone()
    y[y < 0] = 0.25
    return y


def _cosine(x: Tensor) -> Tensor:
    return x * F.cosine_similarity(x, x.flip(1), dim=1).unsqueeze(1)


CHOICES: dict[str, Callable[[Tensor], Tensor]] = {
    "above a number": lambda x: torch.where(x > 0.1, x, 0.2 * x),
    "above another": lambda x: torch.where(x >= x.flip(1), x, 0.5),
    "number on the left": lambda x: torch.where(torch.tensor(0.1) < x, 1.0, x),
    "constant for each channel": lambda x: x * (x > torch.linspace(-1, 1, 8).view(1, 8, 1, 1)),
    "mask as numbers": lambda x: x * (x <= 0).float(),
    "filled": lambda x: x.masked_fill(x < 0.1, 0.3),
    "written": _written,
    "logic": lambda x: torch.where((x > -0.2) & ~(x > 0.2) | (x > 0.5), x, x * x),
    "any": lambda x: x * (x > 0.3).any(1, keepdim=True),
    "equal": lambda x: x + (F.relu(x) == 0).float(),
    "finite": lambda x: torch.nan_to_num(torch.where(torch.isnan(x), torch.zeros_like(x), x)),
    "threshold": lambda x: F.threshold(x, 0.1, 0.5),
    "hard shrink": lambda x: F.hardshrink(x, 0.2),
    "hardly shrunk": lambda x: F.hardshrink(x, 0.01),
    "bent beside zero": lambda x: torch.where(x > 0.01, x, 0.1 * x),
    "bent far away": lambda x: torch.where(40 * x > 9.5, 9.5, F.relu(40 * x)),
    "either holds": lambda x: x * ((x > 0.2) + (x > 0.1)),
    "soft shrink": lambda x: F.softshrink(x, 0.2),
    "limits": lambda x: torch.clamp(x, max=x.mean((2, 3), keepdim=True)),
    "cosine": _cosine,
}


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name: str) -> None:
    assert trace(Between(CHOICES[name]), 3, name).uncounted == ()


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "selu": F.selu,
    "celu": lambda x: F.celu(x, 0.7),
    "softplus": lambda x: F.softplus(x, beta=2.0),
    "softplus, straight early": lambda x: F.softplus(x, beta=2.0, threshold=0.5),
    "rrelu": lambda x: F.rrelu(x, training=False),
    "log softmax": lambda x: F.log_softmax(100 * x, 1),
    "log sum exp": lambda x: x - torch.logsumexp(x, 1, keepdim=True) + torch.logsumexp(x, 1).unsqueeze(1).exp(),
    "powers": lambda x: torch.exp2(x) + 3**x,
    "logarithms": lambda x: torch.log2(x.abs() + 1) + torch.log10(x.abs() + 1),
    "rounding": lambda x: torch.round(4 * x) + torch.floor(x) + torch.ceil(2 * x) + torch.frac(x) + torch.remainder(x, 0.5),
    "sign": lambda x: torch.sign(x) * torch.atan(x),
    "error function": lambda x: torch.erfc(x) + torch.sinh(x) - torch.cosh(x),
    "tangent": lambda x: torch.tan(x.clamp(-1, 1)),
    "rest with the sign of what is divided": lambda x: torch.fmod(x, 0.4),
    "hypotenuse": lambda x: torch.hypot(x, x.flip(1)),
    "largest of two": lambda x: torch.fmax(x, x.flip(1)) - torch.fmin(x, x.flip(2)),
    "length": lambda x: x / (torch.linalg.vector_norm(x, ord=float("inf"), dim=1, keepdim=True) + 1),
    "double precision": lambda x: x.double().mul(2).float(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    assert trace(Between(FUNCTIONS[name]), 3, name).uncounted == ()


def _folded(kernel: int, stride: int, padding: int) -> Callable[[Tensor], Tensor]:
    def body(x: Tensor) -> Tensor:
        windows = F.unfold(x, kernel, stride=stride, padding=padding)
        return F.fold(windows, x.shape[-2:], kernel, stride=stride, padding=padding)

    return body


@pytest.mark.parametrize("how", [(2, 2, 0), (3, 1, 1), (4, 2, 1)])
def test_windows_folded_back(how: tuple[int, int, int]) -> None:
    graph = trace(Between(_folded(*how)), 3, "fold")
    assert graph.uncounted == ()
    assert any(node.op.word == "pixel_shuffle" for node in graph.nodes) == (how[1] > 1)


@pytest.mark.parametrize("window", [(1, 3), (2, 4), (3, 2), (2, 3)])
def test_windows_beyond_the_border(window: tuple[int, int]) -> None:
    """Sizes rounded up; a last window that would begin beyond the border is none."""
    graph = trace(Between(lambda x: F.interpolate(F.max_pool2d(x, *window, ceil_mode=True), x.shape[-2:])), 3, "pooled")
    assert graph.uncounted == ()


REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "infinite for some": (
        lambda x: x * (x > torch.tensor([1.0, -1.0] * 4).view(1, 8, 1, 1) * torch.inf),
        "compares with infinity",
    ),
    "by zero": (lambda x: torch.remainder(x, 0.0), "by zero"),
    "bytes": (lambda x: (255 * x).to(torch.uint8).float(), "return the picture in floating point"),
    "no batch": (lambda x: x[0, 0, :1, :1] + F.fold(F.unfold(x, 1)[0], x.shape[-2:], 1)[:8], "of what is no batch"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_the_true_reason(name: str) -> None:
    body, reason = REFUSED[name]
    assert any(reason in line for line in trace(Between(body), 3, name).uncounted)


def test_coordinates_behind_channels() -> None:
    """Constants that are no whole channels of one number."""

    def body(x: Tensor) -> Tensor:
        rows = torch.linspace(-1, 1, x.shape[2]).view(1, 1, -1, 1).expand(len(x), 1, *x.shape[2:])
        return torch.cat([x, rows], 1)[:, 1:]

    assert trace(Between(body), 3, "coordinates").uncounted == ()


def test_opposite_of_a_comparison_is_a_comparison() -> None:
    graph = trace(Between(CHOICES["above a number"]), 3, "chosen")
    found = {(n.op.relation, n.op.limit) for n in graph.nodes if isinstance(n.op, Comparison)}
    assert found == {(">", 0.1), ("<=", 0.1)}


@pytest.mark.parametrize(
    ("body", "activation"),
    [
        (lambda x: torch.where(x > 0, x, 0.1 * x), LeakyRelu(0.1)),
        (lambda x: torch.where(x < 0, x / 3, x), LeakyRelu(0.333333)),
        (lambda x: x * (x > 0), Relu()),
    ],
)
def test_a_rectifier_by_comparison_is_one(body: Callable[[Tensor], Tensor], activation: Activation) -> None:
    """It is fused to the layer in front of it, as the rectifier is."""
    graph = trace(Between(body), 3, "rectified")
    assert [node.activation for node in graph.nodes if node.op.quantized] == [activation, None]
