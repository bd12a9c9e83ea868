"""EDSR: Lim, Son, Kim, Nah and Lee, "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR Workshops 2017.

Residual blocks without batch normalisation, a long skip around all of them, and pixel-shuffle upscaling (x4 as twice x2).
The baseline has 16 blocks of 64 channels; 5 blocks of 32 are usual on phones; the full network has 32 of 256 with a
residual scale of 0.1. Pictures are in 0..1 and no mean is subtracted: a mean shift folds into the first and the last bias.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from searchspaces.networks.enlarging import shuffled
from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs


class ResidualBlock(nn.Module):
    """conv, ReLU, conv, times ``res_scale``, plus the input."""

    def __init__(self, n_feats: int, res_scale: float) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.body = nn.Sequential(nn.Conv2d(n_feats, n_feats, 3, padding=1), nn.ReLU(), nn.Conv2d(n_feats, n_feats, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        residual = self.body(x)
        found: Tensor = x + (residual if self.res_scale == 1 else residual * self.res_scale)
        return found


class EDSR(nn.Module):
    """EDSR with ``n_blocks`` residual blocks of ``n_feats`` channels, RGB.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``; range 0..1.
    """

    def __init__(self, scale: int = 2, n_feats: int = 64, n_blocks: int = 16, res_scale: float = 1.0) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        self.head = nn.Sequential(nn.Conv2d(3, n_feats, 3, padding=1))
        blocks = [ResidualBlock(n_feats, res_scale) for _ in range(n_blocks)]
        self.body = nn.Sequential(*blocks, nn.Conv2d(n_feats, n_feats, 3, padding=1))
        self.tail = nn.Sequential(shuffled(scale, n_feats), nn.Conv2d(n_feats, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        found: Tensor = self.tail(self.body(x) + x)
        return found


def _infer(state: State) -> dict[str, Any]:
    return known(n_feats=outputs(state, "head.0"), n_blocks=len(indices(state, "body", "body.")))


SPEC = NetworkSpec(
    "edsr",
    "EDSR, 2017, any width and depth: residual blocks and a long skip (baseline 64 x 16)",
    EDSR,
    {"n_feats": 64, "n_blocks": 16, "res_scale": 1.0},
    _infer,
    place=5,
)
