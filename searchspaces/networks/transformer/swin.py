"""Layers of attention in shifted windows: Liu et al. 2021, "Swin Transformer", as SwinIR (Liang et al. 2021) has them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.networks.transformer import windows


class WindowAttention(nn.Module):
    """Attention among the tokens ``[windows, L, C]`` of a window, with a bias for each relative position; ``mask [windows, L,
    L]`` is added to the scores."""

    relative: Tensor

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * side - 1) ** 2, heads))
        self.register_buffer("relative", windows.offsets(side), persistent=False)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        length, width = x.shape[1:]
        parts = self.qkv(x).view(-1, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = parts[0] * self.scale, parts[1], parts[2]
        bias = self.relative_position_bias_table[self.relative].permute(2, 0, 1)
        bias = bias if mask is None else bias + mask.unsqueeze(1)
        shares = (q @ k.transpose(-2, -1) + bias).softmax(dim=-1)
        found: Tensor = self.proj((shares @ v).transpose(1, 2).reshape(-1, length, width))
        return found


class Mlp(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return found


class Layer(nn.Module):
    """A map of tokens ``[N, H, W, C]``, sides multiples of ``side``: attention in windows and an MLP, each behind a
    normalization and added to the stream. ``shift``: of the windows against the map, which is rolled round for it."""

    def __init__(self, width: int, heads: int, side: int, shift: int, inner: int) -> None:
        super().__init__()
        self.side, self.shift = side, shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = WindowAttention(width, heads, side), Mlp(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attended(self.norm1(x))
        found: Tensor = x + self.mlp(self.norm2(x))
        return found

    def _attended(self, x: Tensor) -> Tensor:
        n, h, w = x.shape[:3]
        if self.shift == 0:
            return windows.joined(self.attn(windows.cut(x, self.side), None), self.side, h, w)
        rolled = windows.cut(x.roll((-self.shift, -self.shift), (1, 2)), self.side)
        mask = windows.mask(h, w, self.side, self.shift).repeat(n, 1, 1)
        return windows.joined(self.attn(rolled, mask), self.side, h, w).roll((self.shift, self.shift), (1, 2))
