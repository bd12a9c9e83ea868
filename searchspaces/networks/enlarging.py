"""What networks of many authors share: the steps in which they enlarge, and the mean that they take off their pictures."""

from __future__ import annotations

from torch import nn

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Of DIV2K's pictures in 0..1, red, green, blue: what most networks are trained on. A file's own is loaded over it."""


def steps(scale: int) -> tuple[int, ...]:
    """Factors of the stages: x4 is twice x2."""
    return (2, 2) if scale == 4 else (scale,)


def shuffled(scale: int, width: int) -> nn.Sequential:
    """A convolution and a pixel shuffle a stage, ``[N, width, H, W] -> [N, width, scale*H, scale*W]``."""
    layers: list[nn.Module] = []
    for factor in steps(scale):
        layers += [nn.Conv2d(width, width * factor**2, 3, padding=1), nn.PixelShuffle(factor)]
    return nn.Sequential(*layers)
