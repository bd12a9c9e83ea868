"""Random residual and dense networks for tests of working memory: skips of any length, concatenations, strides, slopes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from searchspaces.ir.graph import Graph
from searchspaces.tracing.trace import trace


class Residual(nn.Module):
    """A head, blocks of one or two convolutions of any width with a skip around each, long skips, and a shuffle."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        width, blocks, scale = int(rng.integers(3, 21)), int(rng.integers(1, 6)), int(rng.integers(2, 4))
        self.head = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.ModuleList(self._block(rng, width) for _ in range(blocks))
        self.long = [int(rng.integers(0, i + 1)) if rng.random() < 0.5 else None for i in range(blocks)]
        self.tail = nn.Conv2d(width, scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    @staticmethod
    def _block(rng: np.random.Generator, width: int) -> nn.Module:
        inner, kernel = int(rng.integers(2, 3 * width)), int(rng.choice([1, 3, 5]))
        slope = nn.PReLU(inner, init=0.2) if rng.random() < 0.3 else nn.ReLU()
        first = nn.Conv2d(width, inner, kernel, padding=kernel // 2)
        return nn.Sequential(first, slope, nn.Conv2d(inner, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        seen = [self.head(x)]
        for block, skip in zip(self.blocks, self.long, strict=True):
            y = seen[-1] + block(seen[-1])
            seen.append(y if skip is None else y + seen[skip])
        return self.shuffle(self.tail(seen[-1] + seen[0]))


class Dense(nn.Module):
    """Blocks in which every convolution reads all that came before it, joined by convolutions of one pixel."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        width, growth = int(rng.integers(3, 13)), int(rng.integers(2, 9))
        self.head = nn.Conv2d(1, width, 3, padding=1)
        self.blocks, self.joins = nn.ModuleList(), nn.ModuleList()
        for _ in range(int(rng.integers(1, 4))):
            depth = int(rng.integers(1, 5))
            self.blocks.append(nn.ModuleList(nn.Conv2d(width + i * growth, growth, 3, padding=1) for i in range(depth)))
            self.joins.append(nn.Conv2d(width + depth * growth, width, 1))
        self.strided = rng.random() < 0.4
        self.down = nn.Conv2d(width, width, 3, stride=2, padding=1) if self.strided else nn.Identity()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        scale = 4 if self.strided else 2
        self.tail, self.shuffle = nn.Conv2d(width, scale**2, 3, padding=1), nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(self.head(x))
        for block, join in zip(self.blocks, self.joins, strict=True):
            seen = y
            for conv in block:
                seen = torch.cat([seen, torch.relu(conv(seen))], dim=1)
            y = y + join(seen)
        return self.shuffle(self.tail(self.depthwise(y)))


def draw(kind: str, seed: int) -> Graph:
    """One random network as a canonical graph with random weights."""
    torch.manual_seed(seed)
    network = {"residual": Residual, "dense": Dense}[kind](np.random.default_rng(seed))
    return trace(network.eval(), 1, f"{kind}-{seed}")
