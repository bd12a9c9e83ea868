"""ECBSR: Zhang, Zeng and Zhang, "Edge-oriented Convolution Block for Real-time Super Resolution on Mobile Devices", ACM MM 2021.

This is the plain form, after re-parameterisation: every block has become one 3x3 convolution with PReLU. The input, repeated on
the channels, is added before the pixel shuffle.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs


class ECBSR(nn.Module):
    """ECBSR with ``m`` body convolutions of ``c`` channels, RGB.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``; range 0..1.
    """

    def __init__(self, scale: int = 2, m: int = 4, c: int = 16) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        widths = [3] + [c] * (m + 1)
        layers = [nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.PReLU(after)) for before, after in pairwise(widths)]
        self.backbone = nn.Sequential(*layers, nn.Sequential(nn.Conv2d(c, 3 * scale**2, 3, padding=1)))
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        anchor = torch.repeat_interleave(x, self.scale**2, dim=1)
        found: Tensor = self.shuffle(self.backbone(x) + anchor)
        return found


def _infer(state: State) -> dict[str, Any]:
    slopes = indices(state, "backbone", "1.weight")
    return known(c=outputs(state, "backbone.0.0"), m=len(slopes) - 1 if len(slopes) > 1 else None)


SPEC = NetworkSpec(
    "ecbsr",
    "ECBSR, 2021, plain form: convolutions with PReLU and the input as an anchor",
    ECBSR,
    {"m": 4, "c": 16},
    _infer,
    place=3,
)
