"""A small network of attention: windows that are shifted, with biases of places and masks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from searchspaces.ir.graph import Graph
from searchspaces.tracing.trace import trace


class Shifted(nn.Module):
    """Attention of windows that are shifted, with a bias for each place, a mask for each window, and a normalized skip."""

    def __init__(self, windows: int, width: int = 8, heads: int = 2, side: int = 4) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.head, self.tail = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 12, 3, padding=1)
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Parameter(torch.randn(heads, side**2, side**2))
        self.mask = nn.Parameter(torch.randn(windows, 1, side**2, side**2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        tokens, (n, c, h, w), s = y.permute(0, 2, 3, 1), y.shape, self.side
        moved = torch.roll(self.norm(tokens), (-2, -2), (1, 2)).reshape(n, h // s, s, w // s, s, c)
        parts = moved.permute(0, 1, 3, 2, 4, 5).reshape(-1, s * s, c)
        q, k, v = self.qkv(parts).reshape(-1, s * s, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q * c**-0.5) @ k.transpose(-2, -1) + self.bias + self.mask
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, s * s, c)
        back = self.out(mixed).reshape(n, h // s, w // s, s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        y = y + torch.roll(back, (2, 2), (1, 2)).permute(0, 3, 1, 2)
        return nn.functional.pixel_shuffle(self.tail(nn.functional.gelu(y)), 2)


def shifted(side: int = 8) -> Graph:
    """For pictures of ``side`` x ``side`` pixels."""
    torch.manual_seed(0)
    return trace(Shifted((side // 4) ** 2).eval(), 3, "shifted", size=(side, side))
