"""Pieces of transformers that are timed to calibrate a processor: none of them is a network that ships."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from searchspaces.ir.graph import Graph
from searchspaces.tracing.trace import trace

WINDOW = 8
"""Side of the windows that attention is computed in."""


class Tokens(nn.Module):
    """A picture as tokens ``[1, H * W, C]`` between two convolutions, with ``inner`` for what is timed."""

    def __init__(self, channels: int, inner: nn.Module) -> None:
        super().__init__()
        self.head, self.inner, self.tail = nn.Conv2d(3, channels, 3, padding=1), inner, nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        _, _, height, width = x.shape
        y: Tensor = self.head(x)
        y = self.inner(y.flatten(2).transpose(1, 2))
        y = y.transpose(1, 2).reshape(1, -1, height, width)
        found: Tensor = self.tail(y)
        return found


class Attention(nn.Module):
    """Of windows of 8x8 pixels, with ``heads`` heads, and a bias for every pair of places; ``bare``: the matrix products alone,
    without the bias and the softmax between them."""

    def __init__(self, channels: int, heads: int, height: int, width: int, bare: bool = False) -> None:
        super().__init__()
        self.bare = bare
        self.heads, self.height, self.width = heads, height, width
        self.mixed, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.register_buffer("bias", torch.linspace(-1, 1, heads * WINDOW**4).reshape(heads, WINDOW**2, WINDOW**2))

    def forward(self, x: Tensor) -> Tensor:
        side, rows, columns, channels = WINDOW, self.height // WINDOW, self.width // WINDOW, x.shape[2]
        y = x.reshape(rows, side, columns, side, channels).permute(0, 2, 1, 3, 4).reshape(rows * columns, side * side, channels)
        y = self.mixed(y).reshape(rows * columns, side * side, 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)
        weights = y[0] @ y[1].transpose(-2, -1) * (channels // self.heads) ** -0.5
        mixed = (weights if self.bare else (weights + self.bias).softmax(-1)) @ y[2]
        y = mixed.transpose(1, 2).reshape(rows * columns, side * side, channels)
        y = self.out(y).reshape(rows, columns, side, side, channels).permute(0, 2, 1, 3, 4)
        found: Tensor = y.reshape(1, self.height * self.width, channels)
        return found


class Sums(nn.Module):
    """Products and sums of two tensors, one after the other."""

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for _ in range(4):
            y = y * x + y
        return y


class Residual(nn.Sequential):
    """What its parts make of tokens, added to them."""

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for part in self:
            y = part(y)
        return x + y


def pieces() -> Iterator[tuple[Graph, int, int]]:
    """Graphs with the size of picture that they are for."""
    for channels, height, width in ((32, 32, 48), (60, 32, 40)):
        for name, inner in _inner(channels, height, width).items():
            tokens = Tokens(channels, nn.Sequential(*inner))
            yield trace(tokens, 3, f"{name} {channels}", scale=1, size=(height, width)), height, width


def _inner(channels: int, height: int, width: int) -> dict[str, list[nn.Module]]:
    """What is timed between two convolutions, by name."""

    def attention(heads: int, bare: bool = False) -> nn.Module:
        return Attention(channels, heads, height, width, bare)

    def perceptron(times: int) -> list[nn.Module]:
        return [nn.Linear(channels, times * channels), nn.GELU(), nn.Linear(times * channels, channels)]

    return {
        "sums": [Sums()],
        "norms": [nn.LayerNorm(channels) for _ in range(4)],
        "products": [attention(4, bare=True)],
        "thin products": [attention(channels // 4, bare=True)],
        "perceptron": perceptron(2),
        "attention": [attention(4)],
        "block": [Residual(nn.LayerNorm(channels), attention(2)), Residual(nn.LayerNorm(channels), *perceptron(3))],
    }
