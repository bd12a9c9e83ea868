"""RRDBNet: Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCV Workshops 2018, with the
names of Real-ESRGAN's weights.

Residual blocks inside residual blocks, each of five densely connected convolutions, then twice nearest-neighbour enlargement. It
enlarges four times; at scale 2 it reads the pixels of 2x2 blocks as channels. ESRGAN has 23 blocks, its model for animation 6.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs

SLOPE, RESIDUAL = 0.2, 0.2
WHOLE = 4
"""What the layers themselves enlarge by."""


class DenseBlock(nn.Module):
    """Four convolutions that read everything before them, a fifth that sums it up, times ``RESIDUAL``, plus the input."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for i in range(4):
            setattr(self, f"conv{i + 1}", nn.Conv2d(width + i * growth, growth, 3, padding=1))
        self.conv5 = nn.Conv2d(width + 4 * growth, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for i in range(4):
            seen.append(F.leaky_relu(getattr(self, f"conv{i + 1}")(torch.cat(seen, dim=1)), SLOPE))
        found: Tensor = x + RESIDUAL * self.conv5(torch.cat(seen, dim=1))
        return found


class RRDB(nn.Module):
    """Three dense blocks, times ``RESIDUAL``, plus the input."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(width, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + RESIDUAL * self.rdb3(self.rdb2(self.rdb1(x)))
        return found


class RRDBNet(nn.Module):
    """RRDBNet of ``n_blocks`` blocks of ``width`` channels, which grow by ``growth``, RGB.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``, at scale 2 of even H and W; range 0..1.
    """

    def __init__(self, scale: int = 4, n_blocks: int = 23, width: int = 64, growth: int = 32) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        self.blocks = WHOLE // scale
        self.conv_first = nn.Conv2d(3 * self.blocks**2, width, 3, padding=1)
        self.body = nn.Sequential(*[RRDB(width, growth) for _ in range(n_blocks)])
        self.conv_body = nn.Conv2d(width, width, 3, padding=1)
        self.conv_up1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_up2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_hr = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.blocks > 1:
            x = F.pixel_unshuffle(x, self.blocks)
        features = self.conv_first(x)
        y = features + self.conv_body(self.body(features))
        for conv in (self.conv_up1, self.conv_up2):
            y = F.leaky_relu(conv(F.interpolate(y, scale_factor=2, mode="nearest")), SLOPE)
        found: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(y), SLOPE))
        return found


def _infer(state: State) -> dict[str, Any]:
    blocks = len(indices(state, "body", "rdb1.conv1.weight"))
    return known(n_blocks=blocks, width=outputs(state, "conv_first"), growth=outputs(state, "body.0.rdb1.conv1"))


SPEC = NetworkSpec(
    "rrdb",
    "RRDBNet, 2018 (ESRGAN, Real-ESRGAN): dense blocks in residual blocks; 23 of them, for animation 6",
    RRDBNet,
    {"n_blocks": 23, "width": 64, "growth": 32},
    _infer,
    scales=(4, 2),
    place=7,
)
