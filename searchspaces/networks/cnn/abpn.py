"""ABPN: Du, Liu, Tang and Wu, "Anchor-based Plain Net for Mobile Image Super-Resolution", CVPR Workshops 2021.

The winner of the Mobile AI 2021 int8 challenge: plain 3x3 convolutions with ReLU, and the input itself, repeated
scale^2 times on the channels ("anchor"), added just before the pixel shuffle.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs


class ABPN(nn.Module):
    """ABPN with ``m`` body convolutions of ``c`` channels, RGB.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``; range 0..1.
    """

    def __init__(self, scale: int = 3, m: int = 4, c: int = 28) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        out = 3 * scale * scale
        body = [nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.ReLU()) for _ in range(m)]
        self.backbone = nn.Sequential(
            nn.Conv2d(3, c, 3, padding=1),
            nn.ReLU(),
            *body,
            nn.Conv2d(c, out, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1),
        )
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        anchor = torch.repeat_interleave(x, self.scale**2, dim=1)
        found: Tensor = self.shuffle(self.backbone(x) + anchor)
        return found


def _infer(state: State) -> dict[str, Any]:
    return known(c=outputs(state, "backbone.0"), m=len(indices(state, "backbone", "0.weight")))


SPEC = NetworkSpec(
    "abpn",
    "ABPN, 2021: the mobile int8 challenge's winner; plain convolutions and the input as an anchor",
    ABPN,
    {"m": 4, "c": 28},
    _infer,
    shipped={3: "abpn_x3.safetensors"},
    place=2,
)
