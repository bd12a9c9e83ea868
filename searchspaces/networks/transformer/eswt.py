"""ESWT: Shi et al., "Image Super-Resolution using Efficient Striped Window Transformer", 2023.

Written from the paper's description; keys follow the published weights (Fried-Rice-Lab/FriedRiceLab, MIT). Half of the channels
attend to each other in tall windows, half in wide ones; queries are keys, there is no scale, no mask and no position bias. In odd
layers the map is rolled by half a window. Values are 0..255.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, cat, nn

from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs
from searchspaces.networks.transformer import windows

LONG, SHORT = 24, 6
"""Sides of a striped window."""
STRIPES = ((LONG, SHORT), (SHORT, LONG))


class ShiftConv(nn.Conv2d):
    """A pointwise convolution of neighbours: a fifth of the channels each comes from the right, the left, below, above, and from
    where it is. ``mask [I, 1, 3, 3]`` is that depthwise convolution, stored in the published weights."""

    mask: Tensor

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 1)
        mask, fifth = torch.zeros(before, 1, 3, 3), before // 5
        for i, (y, x) in enumerate(((1, 2), (1, 0), (2, 1), (0, 1), (1, 1))):
            mask[i * fifth : before if i == 4 else (i + 1) * fifth, 0, y, x] = 1.0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, self.mask, padding=1, groups=self.in_channels), self.weight, self.bias)


class Attention(nn.Module):
    """A map ``[N, C, H, W]`` to its like. ``shifted``: rolled by half a window before, and back."""

    def __init__(self, width: int, shifted: bool) -> None:
        super().__init__()
        self.shifted = shifted
        self.attn = nn.Sequential(nn.Conv2d(width, 2 * width, 1), nn.BatchNorm2d(2 * width))
        self.proj = nn.Sequential(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        halves = self.attn(x).chunk(2, dim=1)
        found: Tensor = self.proj(cat([self._striped(half, *sides) for half, sides in zip(halves, STRIPES, strict=True)], dim=1))
        return found

    def _striped(self, x: Tensor, tall: int, wide: int) -> Tensor:
        """Attention in windows of that size: the first half of the channels is query and key, the rest value."""
        h, w = x.shape[2:]
        x = F.pad(x, (0, -w % wide, 0, -h % tall), mode="reflect")
        if self.shifted:
            x = x.roll((tall // 2, wide // 2), (2, 3))
        tokens = windows.cut(x.permute(0, 2, 3, 1), (tall, wide))
        q, v = tokens.chunk(2, dim=-1)
        y = (q @ q.transpose(-2, -1)).softmax(dim=-1) @ v
        y = windows.joined(y, (tall, wide), x.shape[2], x.shape[3]).permute(0, 3, 1, 2)
        if self.shifted:
            y = y.roll((-(tall // 2), -(wide // 2)), (2, 3))
        return y[:, :, :h, :w]


class Mlp(nn.Module):
    """Two shifted convolutions with SiLU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = ShiftConv(width, 2 * width), ShiftConv(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc2(F.silu(self.fc1(x)))
        return found


class Group(nn.Module):
    """``depth`` layers of attention and MLP, each added to the stream ``[N, C, H, W]``, and a convolution."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.sa_list = nn.ModuleList(Attention(width, i % 2 == 1) for i in range(depth))
        self.mlp_list = nn.ModuleList(Mlp(width) for _ in range(depth))
        self.conv = nn.Sequential(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        for attention, mlp in zip(self.sa_list, self.mlp_list, strict=True):
            x = x + attention(x)
            x = x + mlp(x)
        found: Tensor = self.conv(x)
        return found


class ESWT(nn.Module):
    """ESWT of ``width`` channels (a multiple of 4) and ``groups`` groups of ``depth`` layers, RGB; range 0..255.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``, sides of at least 13 pixels.
    """

    def __init__(self, scale: int = 4, width: int = 60, groups: int = 3, depth: int = 6) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        self.sub_mean, self.add_mean = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.head = nn.Sequential(nn.Conv2d(3, width, 3, padding=1))
        self.body = nn.Sequential(*(Group(width, depth) for _ in range(groups)))
        self.tail = nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(self.sub_mean(x))
        found: Tensor = self.add_mean(self.tail(self.body(y) + y))
        return found


def _infer(state: State) -> dict[str, Any]:
    depth = len(indices(state, "body.0.sa_list", "proj.0.weight"))
    return known(width=outputs(state, "head.0"), groups=len(indices(state, "body", "conv.0.weight")), depth=depth)


SPEC = NetworkSpec(
    "eswt",
    "ESWT, 2023: attention in striped windows, shifted convolutions",
    ESWT,
    {"width": 60, "groups": 3, "depth": 6},
    _infer,
    scales=(2, 3, 4),
    value_range="0..255",
    place=11,
)
