"""RCAN as BasicSR spells it, with the names of its weights: Zhang et al., "Image Super-Resolution Using Very Deep Residual
Channel Attention Networks", ECCV 2018.

The layers of ``rcan``, for values 0..1: the mean of the training pictures and the range that layers work in are arguments of
BasicSR's network, not in its weights. Published weights are for its own: 255, and the mean of DIV2K.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from searchspaces.networks.attentive.attention import conv3, weighting
from searchspaces.networks.enlarging import DIV2K_MEAN, shuffled
from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs


class Attention(nn.Module):
    """Channel weights from the mean over the picture."""

    def __init__(self, n_feats: int, reduction: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), *weighting(n_feats, reduction))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x * self.attention(x)
        return found


class Block(nn.Module):
    """conv, ReLU, conv, attention of channels, plus the input."""

    def __init__(self, n_feats: int, reduction: int) -> None:
        super().__init__()
        self.rcab = nn.Sequential(conv3(n_feats, n_feats), nn.ReLU(), conv3(n_feats, n_feats), Attention(n_feats, reduction))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.rcab(x) + x
        return found


class Group(nn.Module):
    """Blocks and a convolution, plus the input."""

    def __init__(self, n_feats: int, n_blocks: int, reduction: int) -> None:
        super().__init__()
        self.residual_group = nn.Sequential(*[Block(n_feats, reduction) for _ in range(n_blocks)])
        self.conv = conv3(n_feats, n_feats)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(self.residual_group(x)) + x
        return found


class RCAN(nn.Module):
    """``n_groups`` groups of ``n_blocks`` blocks of ``n_feats`` channels, RGB, whose layers work on values 0..``img_range``.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``; range 0..1.
    """

    def __init__(
        self,
        scale: int = 4,
        n_groups: int = 10,
        n_blocks: int = 20,
        n_feats: int = 64,
        reduction: int = 16,
        img_range: float = 255.0,
    ) -> None:
        super().__init__()
        self.scale, self.channels, self.img_range = scale, 3, img_range
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1), persistent=False)
        self.conv_first = conv3(3, n_feats)
        self.body = nn.Sequential(*[Group(n_feats, n_blocks, reduction) for _ in range(n_groups)])
        self.conv_after_body = conv3(n_feats, n_feats)
        self.upsample = shuffled(scale, n_feats)
        self.conv_last = conv3(n_feats, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_first((x - self.mean) * self.img_range)
        x = self.conv_last(self.upsample(self.conv_after_body(self.body(x)) + x))
        return x / self.img_range + self.mean


def _infer(state: State) -> dict[str, Any]:
    n_feats, narrow = outputs(state, "conv_first"), outputs(state, "body.0.residual_group.0.rcab.3.attention.1")
    return known(
        n_groups=len(indices(state, "body", "conv.")),
        n_blocks=len(indices(state, "body.0.residual_group", "rcab.0.")),
        n_feats=n_feats,
        reduction=n_feats // narrow if n_feats and narrow else None,
    )


SPEC = NetworkSpec(
    "rcan_basicsr",
    "RCAN with the names and the range of BasicSR",
    RCAN,
    {"n_groups": 10, "n_blocks": 20, "n_feats": 64, "reduction": 16, "img_range": 255.0},
    _infer,
    place=7,
)
