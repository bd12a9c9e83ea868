"""ESPCN: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
Network", CVPR 2016. Three convolutions at low resolution and a pixel shuffle; the first network to upscale that way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from searchspaces.networks.spec import NetworkSpec, State, inputs, known, outputs


class ESPCN(nn.Module):
    """ESPCN with ``d`` and ``s`` feature channels; tanh inside and a sigmoid at the end, as in the published RGB weights.

    Shapes: ``[N, channels, H, W] -> [N, channels, scale*H, scale*W]``; range 0..1.
    """

    def __init__(self, scale: int = 2, channels: int = 3, d: int = 64, s: int = 32) -> None:
        super().__init__()
        self.scale, self.channels = scale, channels
        self.conv1 = nn.Conv2d(channels, d, 5, padding=2)
        self.conv2 = nn.Conv2d(d, s, 3, padding=1)
        self.conv3 = nn.Conv2d(s, channels * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.conv1(x))
        x = torch.tanh(self.conv2(x))
        return torch.sigmoid(self.shuffle(self.conv3(x)))


def _infer(state: State) -> dict[str, Any]:
    return known(d=outputs(state, "conv1"), s=outputs(state, "conv2"), channels=inputs(state, "conv1"))


SPEC = NetworkSpec(
    "espcn",
    "ESPCN, 2016: three convolutions with tanh, pixel shuffle, sigmoid; 1 or 3 channels",
    ESPCN,
    {"channels": 3, "d": 64, "s": 32},
    _infer,
    channels=None,
    choices={"channels": {1: "luma", 3: "RGB"}},
    place=4,
)
