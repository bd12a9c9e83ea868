"""SRMDNF: Zhang, Zuo and Zhang, "Learning a Single Convolutional Super-Resolution Network for Multiple Degradations", CVPR
2018, for pictures without noise.

A chain of convolutions that reads, beside the picture, how the picture was degraded: the blur kernel's first principal
components, spread over the picture as constant channels. That vector is one of the file's tensors (``degradation``) and part of
the network, so that the network reads pictures of three channels: one file, one degradation.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs


class SRMDNF(nn.Module):
    """SRMDNF of ``depth`` convolutions with ``width`` channels, which read ``code`` numbers about the degradation, RGB.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``; range 0..1.
    """

    def __init__(self, scale: int = 2, depth: int = 12, width: int = 128, code: int = 15) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        self.degradation: Tensor
        self.register_buffer("degradation", torch.zeros(code))
        widths = [3 + code] + [width] * (depth - 1) + [3 * scale**2]
        self.convs = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths))
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        spread = self.degradation.view(1, -1, 1, 1).expand(x.shape[0], -1, *x.shape[2:])
        y = torch.cat([x, spread], dim=1)
        for conv in self.convs[:-1]:
            y = torch.relu(conv(y))
        found: Tensor = self.shuffle(self.convs[-1](y))
        return found


def _infer(state: State) -> dict[str, Any]:
    code = state.get("degradation")
    return known(
        depth=len(indices(state, "convs", "weight")),
        width=outputs(state, "convs.0"),
        code=None if code is None else code.numel(),
    )


SPEC = NetworkSpec(
    "srmdnf",
    "SRMDNF, 2018: convolutions that read the picture and, as constant channels, how it was degraded",
    SRMDNF,
    {"depth": 12, "width": 128, "code": 15},
    _infer,
    place=6,
)
