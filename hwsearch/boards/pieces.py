"""Pieces of transformers that are timed to calibrate a processor: none of them is a network that ships."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from searchspaces.ir.graph import Graph
from searchspaces.tracing.trace import trace

WINDOW = 8
"""Side of the windows that attention is computed in, unless it is told another."""


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
    """Of windows of ``side`` x ``side`` pixels, with ``heads`` heads, and a bias for every pair of places; ``bare``: the matrix
    products alone, without the bias and the softmax between them."""

    def __init__(self, channels: int, heads: int, height: int, width: int, bare: bool = False, side: int = WINDOW) -> None:
        super().__init__()
        self.bare, self.side = bare, side
        self.heads, self.height, self.width = heads, height, width
        self.mixed, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.register_buffer("bias", torch.linspace(-1, 1, heads * side**4).reshape(heads, side**2, side**2))

    def forward(self, x: Tensor) -> Tensor:
        side, channels = self.side, x.shape[2]
        rows, columns = self.height // side, self.width // side
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


class Shifts(nn.Module):
    """A picture moved around its edges, as windows are shifted, and back."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        y = x.reshape(1, self.height, self.width, x.shape[2])
        for by in (-WINDOW // 2, 3, 1):
            y = y.roll((by, by), (1, 2))
        return y.reshape(x.shape)


class Windows(nn.Module):
    """Windows that are cut from a picture whose channels lie in planes, one dense layer, and the picture put together again."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 3, 3, padding=1)
        self.inner = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(x)
        _, channels, height, width = y.shape
        rows, columns = height // WINDOW, width // WINDOW
        y = y.permute(0, 2, 3, 1).reshape(1, rows, WINDOW, columns, WINDOW, channels).permute(0, 1, 3, 2, 4, 5)
        y = self.inner(y.reshape(rows * columns, WINDOW**2, channels))
        y = y.reshape(1, rows, columns, WINDOW, WINDOW, channels).permute(0, 5, 1, 3, 2, 4)
        found: Tensor = self.tail(y.reshape(1, channels, height, width))
        return found


class Residual(nn.Sequential):
    """What its parts make of tokens, added to them."""

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for part in self:
            y = part(y)
        return x + y


SMALL, MIDDLE, LARGE = (32, 32, 48), (60, 32, 40), (60, 64, 64)
"""Channels, height and width: tensors of 0.2, 0.3 and 1 MB of single precision, the last of which leave a core's own cache."""
EVERY_SIZE = ("products", "attention", "block")
NEVER_LARGE = ("thin products", "narrow windows")
"""They would leave all caches, and tell of memory instead of products."""


def pieces() -> Iterator[tuple[Graph, int, int]]:
    """Graphs with the size of picture that they are for."""
    for size in (SMALL, MIDDLE, LARGE):
        channels, height, width = size
        networks: dict[str, nn.Module] = {
            name: Tokens(channels, nn.Sequential(*inner)) for name, inner in _inner(channels, height, width).items()
        }
        for name, network in (networks | {"windows": Windows(channels)}).items():
            sizes = (SMALL, MIDDLE, LARGE) if name in EVERY_SIZE else (SMALL, MIDDLE) if name in NEVER_LARGE else (SMALL, LARGE)
            if size in sizes:
                yield trace(network, 3, f"{name} {channels}", scale=1, size=(height, width)), height, width


def _inner(channels: int, height: int, width: int) -> dict[str, list[nn.Module]]:
    """What is timed between two convolutions, by name."""

    def attention(heads: int, bare: bool = False, side: int = WINDOW) -> nn.Module:
        return Attention(channels, heads, height, width, bare, side)

    def perceptron(times: int) -> list[nn.Module]:
        return [nn.Linear(channels, times * channels), nn.GELU(), nn.Linear(times * channels, channels)]

    return {
        "sums": [Sums()],
        "functions": [nn.GELU() for _ in range(4)],
        "shifts": [Shifts(height, width)],
        "norms": [nn.LayerNorm(channels) for _ in range(4)],
        "products": [attention(4, bare=True)],
        "thin products": [attention(channels // 4, bare=True)],
        "perceptron": perceptron(2),
        "attention": [attention(4)],
        "narrow windows": [attention(4, side=4)],
        "block": [Residual(nn.LayerNorm(channels), attention(2)), Residual(nn.LayerNorm(channels), *perceptron(3))],
    }
