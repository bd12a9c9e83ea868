"""IMDTN of the NTIRE 2022 challenge on efficient super-resolution: IMDN's blocks with two Swin layers each.

Written from its description; keys follow the published weights (ofsoundof/NTIRE2022_ESR, MIT). Blocks distil as those of IMDN do
(``networks.attentive.imdn``), by grouped convolutions and a shuffle of channels; what was kept then attends to itself in windows
of 6x6, shifted by half a window in every second layer (Liu et al. 2021, "Swin Transformer"; Liang et al. 2021, "SwinIR").
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, cat, nn

from searchspaces.networks.spec import NetworkSpec, State, known, outputs
from searchspaces.networks.transformer.swin import Layer

SIDE, HEADS, GROUPS, SLOPE = 6, 2, 4, 0.05


class Attention(nn.Module):
    """The Swin layers of a block, in names as published: a map ``[N, C, H, W]`` to its like."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.residual_group = nn.Module()
        self.residual_group.blocks = nn.ModuleList(Layer(width, HEADS, SIDE, shift, 2 * width) for shift in (0, SIDE // 2))

    def forward(self, x: Tensor) -> Tensor:
        y = x.permute(0, 2, 3, 1)
        for layer in self.residual_group.blocks:  # type: ignore[union-attr]  # nn.Module's attributes are Tensor or Module to mypy
            y = layer(y)
        return y.permute(0, 3, 1, 2)


class Block(nn.Module):
    """``[N, C, H, W]`` to its like: three steps that keep a quarter of the channels, a fourth, attention, skips."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kept, self.passed = width // 4, width - width // 4
        self.c1 = nn.Conv2d(width, width, 3, padding=1, groups=GROUPS)
        self.c2 = nn.Conv2d(self.passed, width, 3, padding=1, groups=GROUPS)
        self.c3 = nn.Conv2d(self.passed, width, 3, padding=1, groups=GROUPS)
        self.c4 = nn.Conv2d(self.passed, self.kept, 3, padding=1)
        self.transformer = Attention(width)
        self.shuffle = nn.ChannelShuffle(GROUPS)

    def forward(self, x: Tensor) -> Tensor:
        kept, whole, rest = [], x, x
        for conv in (self.c1, self.c2, self.c3):
            whole = F.leaky_relu(self.shuffle(conv(rest) + whole), SLOPE)
            part, rest = torch.split(whole, [self.kept, self.passed], dim=1)
            kept.append(part)
        y = cat([*kept, self.c4(rest)], dim=1)
        found: Tensor = self.transformer(y) + y + x
        return found


def mirrored(x: Tensor) -> Tensor:
    """``[N, C, H, W]`` with 1 to ``SIDE`` more rows and columns at the bottom and the right, mirrored with their edge: whole
    windows, and a window more where they are whole already."""
    down, across = (SIDE - side % SIDE for side in x.shape[2:])
    x = cat([x, x.flip(2)[:, :, :down]], dim=2)
    return cat([x, x.flip(3)[..., :across]], dim=3)


class IMDTN(nn.Module):
    """IMDTN of ``width`` channels (a multiple of 16), RGB; range 0..1.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``, sides of at least 6 pixels.
    """

    def __init__(self, scale: int = 4, width: int = 64) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        self.fea_conv = nn.Conv2d(3, width, 3, padding=1)
        self.IMDTB1, self.IMDTB2, self.IMDTB3 = Block(width), Block(width), Block(width)
        self.c = nn.Sequential(nn.Conv2d(3 * width, width, 1), nn.LeakyReLU(SLOPE))
        self.LR_conv = nn.Conv2d(width, width, 3, padding=1)
        self.upsampler = nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        features = self.fea_conv(mirrored(x))
        outputs, y = [], features
        for block in (self.IMDTB1, self.IMDTB2, self.IMDTB3):
            y = block(y)
            outputs.append(y)
        found: Tensor = self.upsampler(self.LR_conv(self.c(cat(outputs, dim=1))) + features)
        return found[:, :, : self.scale * h, : self.scale * w]


def _infer(state: State) -> dict[str, Any]:
    return known(width=outputs(state, "fea_conv"))


SPEC = NetworkSpec(
    "imdtn",
    "IMDTN, 2022: channel splits, and attention in shifted windows",
    IMDTN,
    {"width": 64},
    _infer,
    scales=(4,),
    derived=("relative_position_index", "attn_mask"),
    place=10,
)
