"""RFDN: Liu, Tang and Wu, "Residual Feature Distillation Network for Lightweight Image Super-Resolution", ECCV Workshops 2020,
the winner of the AIM 2020 challenge on efficient super-resolution.

A block keeps a narrow 1x1 convolution of its features at each step, passes on a residual 3x3 one, and weights what it kept by
places of the picture. Published weights are for values 0..255.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.networks.attentive.attention import SpatialAttention, conv3
from searchspaces.networks.attentive.distilling import SLOPE, Distilling
from searchspaces.networks.spec import NetworkSpec, State, known, outputs


class FeatureDistillation(nn.Module):
    """``[N, nf, H, W] -> [N, nf, H, W]``, H and W at least 15: three times half of the channels kept, a fourth time what is
    left."""

    def __init__(self, nf: int) -> None:
        super().__init__()
        kept = nf // 2
        for i in (1, 2, 3):
            setattr(self, f"c{i}_d", nn.Conv2d(nf, kept, 1))
            setattr(self, f"c{i}_r", conv3(nf, nf))
        self.c4 = conv3(nf, kept)
        self.c5 = nn.Conv2d(4 * kept, nf, 1)
        self.esa = SpatialAttention(nf, nf // 4)

    def forward(self, x: Tensor) -> Tensor:
        kept, rest = [], x
        for i in (1, 2, 3):
            kept.append(F.leaky_relu(getattr(self, f"c{i}_d")(rest), SLOPE))
            rest = F.leaky_relu(getattr(self, f"c{i}_r")(rest) + rest, SLOPE)
        kept.append(F.leaky_relu(self.c4(rest), SLOPE))
        found: Tensor = self.esa(self.c5(torch.cat(kept, dim=1)))
        return found


class RFDN(Distilling):
    """RFDN with ``n_blocks`` blocks of ``nf`` channels, RGB; H and W at least 15, range 0..255."""

    def __init__(self, scale: int = 4, nf: int = 50, n_blocks: int = 4) -> None:
        super().__init__(scale, nf, n_blocks, FeatureDistillation, "B")


def _infer(state: State) -> dict[str, Any]:
    blocks = {key.split(".")[0] for key in state if key.endswith(".c1_d.weight")}
    return known(nf=outputs(state, "fea_conv"), n_blocks=len(blocks))


SPEC = NetworkSpec(
    "rfdn",
    "RFDN, 2020: residual feature distillation, attention of places",
    RFDN,
    {"nf": 50, "n_blocks": 4},
    _infer,
    value_range="0..255",
    place=7,
)
