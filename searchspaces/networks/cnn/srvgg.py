"""SRVGG compact: the plain network that Real-ESRGAN (Wang, Xie, Dong and Shan, ICCV Workshops 2021) came to use for animation and
video: 3x3 convolutions with PReLU, a pixel shuffle, and the input added, enlarged by its nearest pixels.

Published weights are trained with a discriminator on degraded pictures: their PSNR says little, their output is what counts.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs


class SRVGG(nn.Module):
    """SRVGG compact with ``depth`` body convolutions of ``width`` channels, RGB.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``; range 0..1.
    """

    def __init__(self, scale: int = 4, depth: int = 16, width: int = 64) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        layers: list[nn.Module] = []
        for before in [3] + [width] * depth:
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.PReLU(width)]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, 3 * scale**2, 3, padding=1))
        self.upsampler = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.upsampler(self.body(x)) + F.interpolate(x, scale_factor=self.scale, mode="nearest")
        return found


def _infer(state: State) -> dict[str, Any]:
    layers = len(indices(state, "body", "weight"))  # a convolution and its slopes each, and the last one
    return known(depth=max(0, layers // 2 - 1), width=outputs(state, "body.0"))


SPEC = NetworkSpec(
    "srvgg",
    "SRVGG compact, 2021 (Real-ESRGAN's for video and animation): convolutions with PReLU on the enlarged input",
    SRVGG,
    {"depth": 16, "width": 64},
    _infer,
    place=6,
)
