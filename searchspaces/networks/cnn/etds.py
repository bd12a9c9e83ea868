"""ETDS: Chao, Zhou, Gao, Gong, Yang, Zeng and Dehbi, "Equivalent Transformation and Dual Stream Network Construction for Mobile
Image Super-Resolution", CVPR 2023, in the form that is deployed: a chain of convolutions with ReLU.

The stream that carries the picture past the layers is inside their weights: some channels hold the enlarged input all the way,
beside features that are much smaller. Nothing is added at the end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs


class ETDS(nn.Module):
    """ETDS with ``m`` body convolutions of ``c`` channels, RGB.

    The last layers have a multiple of 4 channels, of which x3 drops one. Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``;
    range 0..1.
    """

    def __init__(self, scale: int = 2, m: int = 4, c: int = 32) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        self.kept = 3 * scale * scale
        last = -(-self.kept // 4) * 4
        self.conv_first = nn.Conv2d(3, c, 3, padding=1)
        self.backbone_convs = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for _ in range(m))
        self.conv_last = nn.Conv2d(c, last, 3, padding=1)
        self.conv_clip = nn.Conv2d(last, last, 1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv_first, *self.backbone_convs, self.conv_last, self.conv_clip):
            x = torch.relu(conv(x))
        found: Tensor = self.shuffle(x[:, : self.kept])
        return found


def _infer(state: State) -> dict[str, Any]:
    return known(c=outputs(state, "conv_first"), m=len(indices(state, "backbone_convs", "weight")))


SPEC = NetworkSpec(
    "etds",
    "ETDS, 2023: plain convolutions for phones; the input travels inside the weights",
    ETDS,
    {"m": 4, "c": 32},
    _infer,
    place=4,
)
