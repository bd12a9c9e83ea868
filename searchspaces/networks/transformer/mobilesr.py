"""MobileSR of the NTIRE 2022 challenge on efficient super-resolution (team 20): five stages of window attention and an inverted
residual block.

Written from its description; keys follow the published weights (ofsoundof/NTIRE2022_ESR, MIT). Windows are 8x8 and never shifted,
without a position bias; a depthwise convolution before them tells places apart. What is padded to whole windows is padded with
zeros behind the normalization: padded tokens take part in the softmax with score 0.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, cat, nn

from searchspaces.networks.spec import NetworkSpec, State, known, outputs
from searchspaces.networks.transformer import windows

SIDE, HEADS, SLOPE = 8, 8, 0.2
EXPANSIONS = (4, 2, 2, 2, 4)
"""Of each stage: how many times wider its inner layers are."""


class WindowAttention(nn.Module):
    """Attention among the tokens ``[windows, L, C]`` of a window."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = (width // HEADS) ** -0.5
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj_out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        length, width = x.shape[1:]
        parts = self.qkv(x).view(-1, length, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        q, k, v = parts[0], parts[1], parts[2]
        shares = (q @ k.transpose(-2, -1) * self.scale).softmax(dim=-1)
        found: Tensor = self.proj_out((shares @ v).transpose(1, 2).reshape(-1, length, width))
        return found


class Mlp(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc(x)
        return found


class Transformer(nn.Module):
    """A map ``[N, C, H, W]``: its places by a depthwise convolution, attention in windows, an MLP, each added to the stream."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.pos_embed = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = WindowAttention(width), Mlp(width, expansion * width)

    def forward(self, x: Tensor) -> Tensor:
        x = (x + self.pos_embed(x)).permute(0, 2, 3, 1)
        h, w = x.shape[1:3]
        y = F.pad(self.norm1(x), (0, 0, 0, -w % SIDE, 0, -h % SIDE))
        y = windows.joined(self.attn(windows.cut(y, SIDE)), SIDE, y.shape[1], y.shape[2])
        x = x + y[:, :h, :w]
        found: Tensor = (x + self.mlp(self.norm2(x))).permute(0, 3, 1, 2)
        return found


class InvertedResidual(nn.Module):
    """A wider depthwise convolution between two pointwise ones, added to the stream."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        inner = expansion * width
        self.net = nn.Sequential(
            nn.Conv2d(width, inner, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(inner, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net(x) + x
        return found


class Body(nn.Module):
    """The stages, one behind the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([Transformer(width, expansion), InvertedResidual(width, expansion)]) for expansion in EXPANSIONS
        )

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.layers:
            for block in stage:  # type: ignore[attr-defined]  # nn.Module's attributes are Tensor or Module to mypy
                x = block(x)
        return x


class MobileSR(nn.Module):
    """MobileSR of ``width`` channels (a multiple of 8), RGB; range 0..1.

    Shapes: ``[N, 3, H, W] -> [N, 3, 4 H, 4 W]``.
    """

    def __init__(self, scale: int = 4, width: int = 40) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = Body(width)
        self.fuse = nn.Conv2d(2 * width, width, 3, padding=1)
        self.upsapling = nn.Sequential(  # spelt so in the published weights
            nn.Conv2d(width, 4 * width, 1), nn.PixelShuffle(2), nn.Conv2d(width, 4 * width, 1), nn.PixelShuffle(2)
        )
        self.tail = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.head(x)
        y = self.fuse(cat([h, self.body(h)], dim=1))
        y = self.tail(F.leaky_relu(self.upsapling(y), SLOPE))
        found: Tensor = y + F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return found


def _infer(state: State) -> dict[str, Any]:
    return known(width=outputs(state, "head"))


SPEC = NetworkSpec(
    "mobilesr",
    "MobileSR, 2022: attention in windows and inverted residual blocks",
    MobileSR,
    {"width": 40},
    _infer,
    scales=(4,),
    place=8,
)
