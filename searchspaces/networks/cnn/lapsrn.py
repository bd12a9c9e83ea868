"""LapSRN: Lai, Huang, Ahuja and Yang, "Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution", CVPR 2017.

Each level doubles the picture: features go through ten convolutions and a transposed one, and what they give is added to the
picture of the level before, enlarged by a learned transposed convolution.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs

SLOPE = 0.2


class LapSRN(nn.Module):
    """LapSRN of ``depth`` convolutions of ``width`` channels a level, luma.

    Shapes: ``[N, 1, H, W] -> [N, 1, scale*H, scale*W]``, ``scale`` a power of 2; range 0..1.
    """

    def __init__(self, scale: int = 2, depth: int = 10, width: int = 64) -> None:
        super().__init__()
        self.scale, self.channels = scale, 1
        levels = range(scale.bit_length() - 1)
        self.inp = nn.Conv2d(1, width, 3, padding=1)
        self.convs = nn.ModuleList(nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth)) for _ in levels)
        self.up = nn.ModuleList(nn.ConvTranspose2d(width, width, 3, stride=2) for _ in levels)
        self.img = nn.ModuleList(nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False) for _ in levels)
        self.res = nn.ModuleList(nn.Conv2d(width, 1, 3, padding=1) for _ in levels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.inp(x), SLOPE)
        for convs, up, img, res in zip(self.convs, self.up, self.img, self.res, strict=True):
            for conv in convs:  # type: ignore[attr-defined]  # nn.Module's attributes are Tensor or Module to mypy
                y = F.leaky_relu(conv(y), SLOPE)
            y = F.leaky_relu(F.pad(up(y), (0, -1, 0, -1)), SLOPE)  # one row and column more than twice as many
            x = img(x) + res(y)
        return x


def _infer(state: State) -> dict[str, Any]:
    return known(depth=len(indices(state, "convs.0", "weight")), width=outputs(state, "inp"))


SPEC = NetworkSpec(
    "lapsrn",
    "LapSRN, 2017, luma: a pyramid of levels that double the picture, transposed convolutions",
    LapSRN,
    {"depth": 10, "width": 64},
    _infer,
    scales=(2, 4, 8),
    channels=1,
    place=6,
)
