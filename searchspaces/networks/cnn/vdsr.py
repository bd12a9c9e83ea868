"""VDSR: Kim, Lee and Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016.

Twenty 3x3 convolutions in the manner of VGG predict what the bicubic picture lacks. Input and output are at high resolution, so
one set of weights serves every scale, and every layer costs scale^2 times as much.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs


class VDSR(nn.Module):
    """VDSR of ``depth`` convolutions with ``width`` channels on the bicubic-upsampled luma.

    Shapes: ``[N, 1, H, W] -> [N, 1, H, W]``; range 0..1. ``scale`` says what the weights are used for; no layer depends on it.
    """

    def __init__(self, scale: int = 2, depth: int = 20, width: int = 64) -> None:
        super().__init__()
        self.scale, self.channels = scale, 1
        widths = [1] + [width] * (depth - 1) + [1]
        self.convs = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv in self.convs[:-1]:
            y = torch.relu(conv(y))
        found: Tensor = x + self.convs[-1](y)
        return found


def _infer(state: State) -> dict[str, Any]:
    return known(depth=len(indices(state, "convs", "weight")), width=outputs(state, "convs.0"))


SPEC = NetworkSpec(
    "vdsr",
    "VDSR, 2016: twenty VGG-style convolutions on the bicubic-upsampled luma; one file for all scales",
    VDSR,
    {"depth": 20, "width": 64},
    _infer,
    channels=1,
    input_kind="upsampled",
    place=6,
)
