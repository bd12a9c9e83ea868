"""HiT-SRF: Zhang, Zhang and Yu, "HiT-SR: Hierarchical Transformer for Efficient Image Super-Resolution", ECCV 2024.

Written from the paper's description; keys follow the published weights (Amazingren/NTIRE2025_ESR, team 54, MIT). Windows grow
from block to block. Correlation takes the place of attention: no softmax; tokens are compared with cells of tokens, so that its
cost is linear in the size of the window, and channels with channels.

What depends on the window alone, the bias by relative place, is a table of all offsets, of which each cell takes the mean over
its tokens: a box filter.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.networks.enlarging import DIV2K_MEAN
from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs
from searchspaces.networks.transformer import windows

HEADS = 6
BASE = 8
"""Cells a side of a window that is no smaller."""
SIDES = (4, 8, 16, 32, 48, 64)
"""Window of each block of a group."""


class PositionBias(nn.Module):
    """A number for each head and offset, by a small network of the offset."""

    def __init__(self, inner: int = 3) -> None:
        super().__init__()
        self.pos_proj = nn.Linear(2, inner)
        self.pos1, self.pos2, self.pos3 = (
            nn.Sequential(nn.LayerNorm(inner), nn.ReLU(), nn.Linear(inner, after)) for after in (inner, inner, HEADS)
        )

    def forward(self, side: int, cell: int) -> Tensor:
        """``[HEADS, side^2, cells]``: the mean of each cell's tokens, for every token."""
        offsets = torch.arange(1 - side, side, dtype=torch.float32)
        grid = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), dim=-1).view(-1, 2)
        table = self.pos3(self.pos2(self.pos1(self.pos_proj(grid)))).T.view(1, HEADS, 2 * side - 1, 2 * side - 1)
        means = F.avg_pool2d(table, cell, stride=1)[0]
        places, cells = torch.arange(side), torch.arange(side // cell)
        at = places.view(-1, 1) - cell * cells.view(1, -1) + side - cell  # [side, cells a side]
        found = means[:, at.view(side, 1, -1, 1), at.view(1, side, 1, -1)]  # [HEADS, y, x, cy, cx]
        return found.reshape(HEADS, side * side, -1)


class QueryValue(nn.Module):
    """Queries and values ``[N, C, H, W]``: a local convolution times a pointwise one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // 5
        self.conv = nn.Sequential(
            nn.Conv2d(width, inner, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(inner, inner, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(inner, width, 1),
        )
        self.linear = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(x) * self.linear(x)
        return found


class Correlation(nn.Module):
    """A map ``[N, C, H, W]`` whose sides are multiples of ``side``, to its like."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.side, self.cell = side, side // min(side, BASE)
        self.qv = QueryValue(width)
        self.spatial_linear = nn.Linear(self.cell**2, 1)
        self.pos = PositionBias()
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        tokens = windows.cut(self.qv(x).permute(0, 2, 3, 1), self.side)
        half = tokens.shape[-1] // 2
        q, v = tokens[..., :half], tokens[..., half:]
        y = self.proj(torch.cat([self._spatial(q, v), self._channels(q, v)], dim=-1))
        return windows.joined(y, self.side, h, w).permute(0, 3, 1, 2)

    def _spatial(self, q: Tensor, v: Tensor) -> Tensor:
        """Tokens ``[windows, L, C / 2]`` with the cells of their window, head by head."""
        length, half = q.shape[1:]
        each, side = half // HEADS, self.side // self.cell
        q = q.view(-1, length, HEADS, each).permute(0, 2, 1, 3)
        cells = v.view(-1, side, self.cell, side, self.cell, half).permute(0, 1, 3, 5, 2, 4)
        means = self.spatial_linear(cells.reshape(-1, side * side, half, self.cell**2)).view(-1, side * side, HEADS, each)
        means = means.permute(0, 2, 1, 3)
        scores = q @ means.transpose(-2, -1) / each + self.pos(self.side, self.cell)
        found: Tensor = (scores @ means).permute(0, 2, 1, 3).reshape(-1, length, half)
        return found

    def _channels(self, q: Tensor, v: Tensor) -> Tensor:
        """Channels with channels, over all tokens of a window."""
        shares = q.transpose(-2, -1) @ v / q.shape[1]
        found: Tensor = v @ shares.transpose(-2, -1)
        return found


class Depthwise(nn.Module):
    """A 5x5 depthwise convolution and GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise_conv = nn.Sequential(nn.Conv2d(width, width, 5, padding=2, groups=width), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.depthwise_conv(x)
        return found


class Mlp(nn.Module):
    """Two linear layers with GELU between, and a depthwise convolution beside it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dwconv = Depthwise(2 * width)

    def forward(self, x: Tensor) -> Tensor:
        u = F.gelu(self.fc1(x))
        found: Tensor = self.fc2(u + self.dwconv(u.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return found


def mirrored(x: Tensor, side: int) -> Tensor:
    """``[N, C, H, W]`` padded at the right and the bottom to multiples of ``side`` by reflection; where an axis lacks the room,
    both are reflected by all they have before."""
    h, w = x.shape[2:]
    down, across = -h % side, -w % side
    if down >= h or across >= w:
        x = F.pad(x, (0, w - 1, 0, h - 1), mode="reflect")
        down, across = down - h + 1, across - w + 1
        x = x[:, :, : x.shape[2] + min(down, 0), : x.shape[3] + min(across, 0)]
        down, across = max(down, 0), max(across, 0)
    return F.pad(x, (0, across, 0, down), mode="reflect")


class Block(nn.Module):
    """A map ``[N, H, W, C]``: correlation in windows and an MLP, each normalized and then added to the stream."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.correlation, self.mlp = Correlation(width, side), Mlp(width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[1:3]
        y = self.correlation(mirrored(x.permute(0, 3, 1, 2), self.side))[:, :, :h, :w].permute(0, 2, 3, 1)
        x = x + self.norm1(y)
        found: Tensor = x + self.norm2(self.mlp(x))
        return found


class Blocks(nn.Module):
    """The blocks of a group."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, side) for side in SIDES)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class Group(nn.Module):
    """Blocks of growing windows and a convolution, added to the stream ``[N, H, W, C]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.residual_group, self.conv = Blocks(width), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self.residual_group(x).permute(0, 3, 1, 2))
        found: Tensor = y.permute(0, 2, 3, 1) + x
        return found


class Embedding(nn.Module):
    """The normalization of the first features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)


class HiTSRF(nn.Module):
    """HiT-SRF of ``width`` channels (a multiple of 12) and ``groups`` groups of six blocks, RGB; range 0..1.

    Shapes: ``[N, 3, H, W] -> [N, 3, 4 H, 4 W]``, sides of at least 17 pixels.
    """

    mean: Tensor

    def __init__(self, scale: int = 4, width: int = 60, groups: int = 4) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        self.register_buffer("mean", torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1), persistent=False)
        self.conv_first = nn.Conv2d(3, width, 3, padding=1)
        self.patch_embed = Embedding(width)
        self.layers = nn.ModuleList(Group(width) for _ in range(groups))
        self.norm = nn.LayerNorm(width)
        self.conv_after_body = nn.Conv2d(width, width, 3, padding=1)
        self.upsample = nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x: Tensor) -> Tensor:
        f = self.conv_first(x - self.mean)
        y = self.patch_embed.norm(f.permute(0, 2, 3, 1))
        for group in self.layers:
            y = group(y)
        y = self.conv_after_body(self.norm(y).permute(0, 3, 1, 2)) + f
        found: Tensor = self.upsample(y) + self.mean
        return found


def _infer(state: State) -> dict[str, Any]:
    return known(width=outputs(state, "conv_first"), groups=len(indices(state, "layers", "conv.weight")))


SPEC = NetworkSpec(
    "hit_srf",
    "HiT-SRF, 2024: correlation in windows that grow from block to block",
    HiTSRF,
    {"width": 60, "groups": 4},
    _infer,
    scales=(4,),
    place=9,
)
