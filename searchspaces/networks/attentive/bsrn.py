"""BSRN: Li, Liu, Chen, Cai, Gu, Qiao and Dong, "Blueprint Separable Residual Network for Efficient Image Super-Resolution", CVPR
Workshops 2022.

RFDN's blocks with blueprint separable convolutions (a 1x1 convolution, then a depthwise 3x3), GELU, and attention of places and
of channels, plus a skip around each block. The picture enters four times over.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.networks.attentive.attention import ContrastAttention, SpatialAttention, conv3
from searchspaces.networks.spec import NetworkSpec, State, known, outputs

COPIES = 4
"""How often the input stands in what the first layer reads."""


class Blueprint(nn.Module):
    """A 1x1 convolution without a bias, then a depthwise 3x3 one with it."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, padding: int = 1) -> None:
        super().__init__()
        self.pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.dw = nn.Conv2d(outputs, outputs, 3, stride=stride, padding=padding, groups=outputs)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.dw(self.pw(x))
        return found


class SeparableDistillation(nn.Module):
    """``[N, nf, H, W] -> [N, nf, H, W]``, H and W at least 15: three times half of the channels kept, a fourth time what is left,
    attention, the input added."""

    def __init__(self, nf: int) -> None:
        super().__init__()
        kept = nf // 2
        for i in (1, 2, 3):
            setattr(self, f"c{i}_d", nn.Conv2d(nf, kept, 1))
            setattr(self, f"c{i}_r", Blueprint(nf, nf))
        self.c4 = Blueprint(nf, kept)
        self.c5 = nn.Conv2d(4 * kept, nf, 1)
        self.esa = SpatialAttention(nf, max(16, nf // 4), Blueprint, F.gelu)
        self.cca = ContrastAttention(nf)

    def forward(self, x: Tensor) -> Tensor:
        kept, rest = [], x
        for i in (1, 2, 3):
            kept.append(F.gelu(getattr(self, f"c{i}_d")(rest)))
            rest = F.gelu(getattr(self, f"c{i}_r")(rest) + rest)
        kept.append(F.gelu(self.c4(rest)))
        found: Tensor = self.cca(self.esa(self.c5(torch.cat(kept, dim=1)))) + x
        return found


class Upsampler(nn.Module):
    """A convolution and a pixel shuffle."""

    def __init__(self, nf: int, scale: int) -> None:
        super().__init__()
        self.upsampleOneStep = nn.Sequential(conv3(nf, 3 * scale**2), nn.PixelShuffle(scale))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.upsampleOneStep(x)
        return found


class BSRN(nn.Module):
    """BSRN with ``n_blocks`` blocks of ``nf`` channels, RGB.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``, H and W at least 15; range 0..1.
    """

    def __init__(self, scale: int = 4, nf: int = 64, n_blocks: int = 8) -> None:
        super().__init__()
        self.scale, self.channels, self.n_blocks = scale, 3, n_blocks
        self.fea_conv = Blueprint(3 * COPIES, nf)
        for i in range(1, n_blocks + 1):
            setattr(self, f"B{i}", SeparableDistillation(nf))
        self.c1 = nn.Conv2d(nf * n_blocks, nf, 1)
        self.c2 = Blueprint(nf, nf)
        self.upsampler = Upsampler(nf, scale)

    def forward(self, x: Tensor) -> Tensor:
        features = self.fea_conv(torch.cat([x] * COPIES, dim=1))
        outputs, y = [], features
        for i in range(1, self.n_blocks + 1):
            y = getattr(self, f"B{i}")(y)
            outputs.append(y)
        found: Tensor = self.upsampler(self.c2(F.gelu(self.c1(torch.cat(outputs, dim=1)))) + features)
        return found


def _infer(state: State) -> dict[str, Any]:
    blocks = {key.split(".")[0] for key in state if key.endswith(".c1_d.weight")}
    return known(nf=outputs(state, "fea_conv.pw"), n_blocks=len(blocks))


SPEC = NetworkSpec(
    "bsrn",
    "BSRN, 2022: separable convolutions, GELU, attention of places and of channels",
    BSRN,
    {"nf": 64, "n_blocks": 8},
    _infer,
    place=7,
)
