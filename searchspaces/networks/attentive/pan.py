"""PAN: Zhao, Kong, He, Qiao and Dong, "Efficient Image Super-Resolution Using Pixel Attention", ECCV Workshops 2020.

Blocks of two branches, in one of which every pixel of every channel has a weight of its own (a sigmoid of a 1x1 convolution);
the same attention behind each nearest-neighbour enlargement. What comes out is added to the bilinear enlargement of the input.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.networks.attentive.attention import conv3
from searchspaces.networks.enlarging import steps
from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs

SLOPE = 0.2


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


class PixelAttention(nn.Module):
    """A weight for every value: the sigmoid of a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x * self.conv(x).sigmoid()
        return found


class AttentiveConvolution(nn.Module):
    """A convolution weighted by what its own input says, then another."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.k2 = nn.Conv2d(channels, channels, 1)
        self.k3 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.k4 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.k4(self.k3(x) * self.k2(x).sigmoid())
        return found


class SelfCalibrated(nn.Module):
    """Half of the channels through a convolution, half through one with attention, the input added."""

    def __init__(self, nf: int) -> None:
        super().__init__()
        half = nf // 2
        self.conv1_a = nn.Conv2d(nf, half, 1, bias=False)
        self.conv1_b = nn.Conv2d(nf, half, 1, bias=False)
        self.k1 = nn.Sequential(nn.Conv2d(half, half, 3, padding=1, bias=False))
        self.PAConv = AttentiveConvolution(half)
        self.conv3 = nn.Conv2d(2 * half, nf, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        plain = _act(self.k1(_act(self.conv1_a(x))))
        weighted = _act(self.PAConv(_act(self.conv1_b(x))))
        found: Tensor = self.conv3(torch.cat([plain, weighted], dim=1)) + x
        return found


class PAN(nn.Module):
    """PAN with ``n_blocks`` blocks of ``nf`` channels and ``unf`` behind the first enlargement, RGB.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``; range 0..1. x4 enlarges twice by 2; weights of x2 and x3 look alike.
    """

    def __init__(self, scale: int = 2, nf: int = 40, unf: int = 24, n_blocks: int = 16) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        self.stages = steps(scale)
        self.conv_first = conv3(3, nf)
        self.SCPA_trunk = nn.Sequential(*[SelfCalibrated(nf) for _ in range(n_blocks)])
        self.trunk_conv = conv3(nf, nf)
        for i in range(len(self.stages)):
            setattr(self, f"upconv{i + 1}", conv3(nf if i == 0 else unf, unf))
            setattr(self, f"att{i + 1}", PixelAttention(unf))
            setattr(self, f"HRconv{i + 1}", conv3(unf, unf))
        self.conv_last = conv3(unf, 3)

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv_first(x)
        y = features + self.trunk_conv(self.SCPA_trunk(features))
        for i, factor in enumerate(self.stages):
            y = getattr(self, f"upconv{i + 1}")(F.interpolate(y, scale_factor=factor, mode="nearest"))
            y = _act(getattr(self, f"att{i + 1}")(y))
            y = _act(getattr(self, f"HRconv{i + 1}")(y))
        enlarged = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        found: Tensor = self.conv_last(y) + enlarged
        return found


def _infer(state: State) -> dict[str, Any]:
    blocks = len(indices(state, "SCPA_trunk", "conv3.weight"))
    return known(nf=outputs(state, "conv_first"), unf=outputs(state, "upconv1"), n_blocks=blocks)


SPEC = NetworkSpec(
    "pan",
    "PAN, 2020: a weight for every pixel, nearest-neighbour enlargement on the bilinear one",
    PAN,
    {"nf": 40, "unf": 24, "n_blocks": 16},
    _infer,
    place=7,
)
