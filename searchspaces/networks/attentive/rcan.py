"""RCAN: Zhang, Li, Li, Wang, Zhong and Fu, "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV
2018, with the names of the authors' weights.

Residual blocks whose channels are weighted by their means over the picture, in groups with a skip around each, ten groups of
twenty. Published weights are for values 0..255; the mean of the training pictures is taken off by layers of the network.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from searchspaces.networks.attentive.attention import ChannelAttention, conv3
from searchspaces.networks.enlarging import DIV2K_MEAN, shuffled
from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs


def _shift(sign: int) -> nn.Conv2d:
    """The mean taken off (-1) or put back: a 1x1 convolution, as published."""
    conv = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        conv.bias.copy_(sign * torch.tensor([255 * mean for mean in DIV2K_MEAN]))  # type: ignore[union-attr]  # this layer has a bias
    return conv


class AttentiveBlock(nn.Module):
    """conv, ReLU, conv, attention of channels, plus the input."""

    def __init__(self, n_feats: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv3(n_feats, n_feats), nn.ReLU(), conv3(n_feats, n_feats), ChannelAttention(n_feats, reduction)
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.body(x) + x
        return found


class Group(nn.Module):
    """Blocks and a convolution, plus the input."""

    def __init__(self, n_feats: int, n_blocks: int, reduction: int) -> None:
        super().__init__()
        blocks = [AttentiveBlock(n_feats, reduction) for _ in range(n_blocks)]
        self.body = nn.Sequential(*blocks, conv3(n_feats, n_feats))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.body(x) + x
        return found


class RCAN(nn.Module):
    """RCAN with ``n_groups`` groups of ``n_blocks`` blocks of ``n_feats`` channels, RGB.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``; range 0..255.
    """

    def __init__(self, scale: int = 2, n_groups: int = 10, n_blocks: int = 20, n_feats: int = 64, reduction: int = 16) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        self.sub_mean, self.add_mean = _shift(-1), _shift(1)
        self.head = nn.Sequential(conv3(3, n_feats))
        groups = [Group(n_feats, n_blocks, reduction) for _ in range(n_groups)]
        self.body = nn.Sequential(*groups, conv3(n_feats, n_feats))
        self.tail = nn.Sequential(shuffled(scale, n_feats), conv3(n_feats, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.sub_mean(x))
        found: Tensor = self.add_mean(self.tail(self.body(x) + x))
        return found


def _infer(state: State) -> dict[str, Any]:
    n_feats, narrow = outputs(state, "head.0"), outputs(state, "body.0.body.0.body.3.conv_du.0")
    return known(
        n_groups=len(indices(state, "body", "body.")),
        n_blocks=len(indices(state, "body.0.body", "body.")),
        n_feats=n_feats,
        reduction=n_feats // narrow if n_feats and narrow else None,
    )


SPEC = NetworkSpec(
    "rcan",
    "RCAN, 2018: very deep, residual blocks in residual groups, attention of channels",
    RCAN,
    {"n_groups": 10, "n_blocks": 20, "n_feats": 64, "reduction": 16},
    _infer,
    value_range="0..255",
    place=7,
)
