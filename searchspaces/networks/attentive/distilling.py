"""What networks of distillation blocks have in common: the outputs of all blocks are joined, and added to what the first
convolution saw."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from searchspaces.networks.attentive.attention import conv3

SLOPE = 0.05
"""Of leaky activations, in the blocks too."""


class Distilling(nn.Module):
    """``n_blocks`` blocks of ``nf`` channels, each made by ``block(nf)`` and called ``prefix`` and its number from 1, RGB.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``.
    """

    def __init__(self, scale: int, nf: int, n_blocks: int, block: Callable[[int], nn.Module], prefix: str) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        self._names = [f"{prefix}{i}" for i in range(1, n_blocks + 1)]
        self.fea_conv = conv3(3, nf)
        for name in self._names:
            setattr(self, name, block(nf))
        self.c = nn.Sequential(nn.Conv2d(nf * n_blocks, nf, 1), nn.LeakyReLU(SLOPE))
        self.LR_conv = conv3(nf, nf)
        self.upsampler = nn.Sequential(conv3(nf, 3 * scale**2), nn.PixelShuffle(scale))

    def forward(self, x: Tensor) -> Tensor:
        features = self.fea_conv(x)
        outputs, y = [], features
        for name in self._names:
            y = getattr(self, name)(y)
            outputs.append(y)
        found: Tensor = self.upsampler(self.LR_conv(self.c(torch.cat(outputs, dim=1))) + features)
        return found
