"""Random networks of every shape that a file of ours may take: for tests of what a compiler makes of the file as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from searchspaces.ir.graph import Graph
from searchspaces.tracing.trace import trace


class Residual(nn.Module):
    """A head, blocks of two convolutions with a skip around each, a long skip, a pixel shuffle. ``step``: widths are its
    multiples; ``slopes``: PReLU instead of ReLU."""

    def __init__(self, rng: np.random.Generator, step: int = 8, slopes: bool = False) -> None:
        super().__init__()
        width, blocks, scale = step * int(rng.integers(1, 5)), int(rng.integers(1, 5)), int(rng.integers(2, 5))
        kernel = int(rng.choice([1, 3, 5]))
        self.head = nn.Conv2d(3, width, 3, padding=1)

        def block() -> nn.Module:
            inner = step * int(rng.integers(1, 6))
            bend = nn.PReLU(inner, init=0.2) if slopes else nn.ReLU()
            return nn.Sequential(
                nn.Conv2d(width, inner, kernel, padding=kernel // 2), bend, nn.Conv2d(inner, width, 3, padding=1)
            )

        self.blocks = nn.ModuleList(block() for _ in range(blocks))
        self.tail, self.shuffle = nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        head = self.head(x)
        y = head
        for block in self.blocks:
            y = y + block(y)
        return self.shuffle(self.tail(y + head))


class Dense(nn.Module):
    """Every convolution of a block reads all before it; a convolution of one pixel joins them."""

    def __init__(self, rng: np.random.Generator, step: int = 4) -> None:
        super().__init__()
        width, growth, depth = step * int(rng.integers(2, 7)), step * int(rng.integers(1, 4)), int(rng.integers(2, 5))
        self.head = nn.Conv2d(1, width, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(width + i * growth, growth, 3, padding=1) for i in range(depth))
        self.join = nn.Conv2d(width + depth * growth, width, 1)
        self.tail, self.shuffle = nn.Conv2d(width, 4, 3, padding=1), nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        head = self.head(x)
        seen = head
        for conv in self.convs:
            seen = torch.cat([seen, torch.relu(conv(seen))], dim=1)
        return self.shuffle(self.tail(head + self.join(seen)))


class Depthwise(nn.Module):
    """Depthwise and one-pixel convolutions by turns, with skips."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        width, blocks, kernel = int(rng.integers(8, 49)), int(rng.integers(2, 6)), int(rng.choice([3, 5]))
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width), nn.ReLU(), nn.Conv2d(width, width, 1)
            )
            for _ in range(blocks)
        )
        self.tail, self.shuffle = nn.Conv2d(width, 12, 3, padding=1), nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        for block in self.blocks:
            y = y + block(y)
        return self.shuffle(self.tail(y))


class Strided(nn.Module):
    """Halved by a strided convolution, worked on, enlarged by a pixel shuffle or by repeating pixels."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        width, depth = int(rng.integers(8, 41)), int(rng.integers(1, 5))
        self.head = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.body = nn.Sequential(*(m for _ in range(depth) for m in (nn.Conv2d(width, width, 3, padding=1), nn.ReLU())))
        self.repeated = bool(rng.random() < 0.4)
        self.tail = nn.Conv2d(width, 12, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(self.head(x))
        return self.shuffle(self.tail(nn.functional.interpolate(y, scale_factor=2, mode="nearest") if self.repeated else y))


class Transposed(nn.Module):
    """FSRCNN-like: feature maps thinned, mapped, widened, enlarged by a transposed convolution."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        width, inner, depth = int(rng.integers(16, 57)), int(rng.integers(4, 17)), int(rng.integers(1, 5))
        scale, kernel = int(rng.integers(2, 4)), int(rng.choice([3, 5, 9]))
        layers: list[nn.Module] = [nn.Conv2d(1, width, 5, padding=2), nn.ReLU(), nn.Conv2d(width, inner, 1), nn.ReLU()]
        layers += [m for _ in range(depth) for m in (nn.Conv2d(inner, inner, 3, padding=1), nn.ReLU())]
        layers += [nn.Conv2d(inner, width, 1), nn.ReLU()]
        pad = kernel // 2
        layers.append(
            nn.ConvTranspose2d(width, 1, kernel, stride=scale, padding=pad, output_padding=scale - 1 - (kernel - 1 - 2 * pad))
        )
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Joined(nn.Module):
    """Branches of different kernels side by side, concatenated; a part split off (IMDN-like); the input joined to the end."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.width, self.kept = int(rng.integers(4, 13)) * 4, int(rng.integers(1, 4)) * 4
        rest = self.width
        self.head = nn.Conv2d(3, self.width, 3, padding=1)
        self.left, self.right = nn.Conv2d(rest, self.width, 3, padding=1), nn.Conv2d(self.width, self.kept, 1)
        self.joined = nn.Conv2d(self.width + self.kept, self.width, 1)
        self.last = nn.Conv2d(self.width + 3, 12, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.head(x))
        y = self.joined(torch.cat([torch.relu(self.left(y)), self.right(y)], dim=1))
        return self.shuffle(self.last(torch.cat([y, x], dim=1)))


class Hourglass(nn.Module):
    """U-Net-like: halved by a strided convolution, enlarged by a pixel shuffle, joined with what was before."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        width = 8 * int(rng.integers(2, 7))
        self.head, self.down = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.middle, self.up = nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.Conv2d(2 * width, 4 * width, 1)
        self.join, self.tail = nn.Conv2d(2 * width, width, 3, padding=1), nn.Conv2d(width, 12, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        head = torch.relu(self.head(x))
        deep = torch.relu(self.middle(torch.relu(self.down(head))))
        joined = torch.cat([head, self.shuffle(self.up(deep))], dim=1)
        return self.shuffle(self.tail(torch.relu(self.join(joined))))


class Plain(nn.Module):
    """Wide convolutions one behind the other, as cascades run them."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        width, depth = 8 * int(rng.integers(4, 17)), int(rng.integers(2, 7))
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
        layers += [m for _ in range(depth) for m in (nn.Conv2d(width, width, 3, padding=1), nn.ReLU())]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Bottleneck(nn.Module):
    """Wide maps thinned by convolutions of one pixel, worked on, and widened again, without skips."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        width, blocks = 8 * int(rng.integers(4, 17)), int(rng.integers(1, 4))
        inner = 8 * int(rng.integers(1, width // 16 + 1))
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
        for _ in range(blocks):
            layers += [nn.Conv2d(width, inner, 1), nn.ReLU(), nn.Conv2d(inner, inner, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(inner, width, 1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Summed(nn.Module):
    """Sums, one of them sometimes bounded, that are written into a concatenation."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        width = int(rng.integers(8, 49))
        self.bounded = bool(rng.random() < 0.5)
        self.head, self.first = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.left, self.right = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 1)
        self.join, self.shuffle = nn.Conv2d(2 * width, 12, 1), nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        head = self.head(x)
        y = head + self.first(head)
        left = y + self.left(y)
        right = head + self.right(y)
        return self.shuffle(self.join(torch.cat([left, torch.relu(right) if self.bounded else right], dim=1)))


KINDS: dict[str, Callable[[np.random.Generator], nn.Module]] = {
    "residual": Residual,
    "odd": lambda rng: Residual(rng, step=int(rng.choice([3, 5, 7]))),
    "slopes": lambda rng: Residual(rng, slopes=True),
    "dense": Dense,
    "odd dense": lambda rng: Dense(rng, step=int(rng.choice([3, 5]))),
    "depthwise": Depthwise,
    "strided": Strided,
    "transposed": Transposed,
    "joined": Joined,
}

FURTHER: dict[str, Callable[[np.random.Generator], nn.Module]] = {
    "hourglass": Hourglass,
    "plain": Plain,
    "bottleneck": Bottleneck,
    "summed": Summed,
}
"""Kinds that the figures of whole files in the README leave out."""


def draw(kind: str, seed: int) -> Graph:
    """One random network of a kind as a canonical graph with random weights."""
    torch.manual_seed(seed)
    network = (KINDS | FURTHER)[kind](np.random.default_rng((seed, *map(ord, kind))))
    channels = next(m for m in network.modules() if isinstance(m, nn.Conv2d)).in_channels
    return trace(network.eval(), channels, f"{kind} {seed}")


def normal(graph: Graph) -> Graph:
    """The graph with normally distributed weights, as trained ones about are; evenly drawn ones take up to 8 % more bytes."""
    nodes = [
        node.with_weights(weight=0.05 * torch.randn_like(node.weights["weight"]))
        if node.weights.get("weight") is not None
        else node
        for node in graph.nodes
    ]
    return replace(graph, nodes=type(graph.nodes)(nodes))
