"""How attention weights features: by the contrast of channels, by their means, and by a coarse look at the picture's places."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

Convolution = Callable[..., nn.Module]
"""``convolution(inputs, outputs, stride=1, padding=1)``: a 3x3 convolution, or what stands for one."""


def conv3(inputs: int, outputs: int, stride: int = 1, padding: int = 1) -> nn.Conv2d:
    """A plain 3x3 convolution."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=padding)


def weighting(channels: int, reduction: int) -> nn.Sequential:
    """One number a channel to a weight a channel, through fewer channels."""
    narrow = max(1, channels // reduction)
    return nn.Sequential(nn.Conv2d(channels, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, channels, 1), nn.Sigmoid())


class ContrastAttention(nn.Module):
    """Channel weights from standard deviation and mean (of the population) over the picture."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.conv_du = weighting(channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        contrast = x.std(dim=(2, 3), keepdim=True, correction=0) + x.mean(dim=(2, 3), keepdim=True)
        found: Tensor = x * self.conv_du(contrast)
        return found


class ChannelAttention(nn.Module):
    """Channel weights from the mean over the picture."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.conv_du = weighting(channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x * self.conv_du(x.mean(dim=(2, 3), keepdim=True))
        return found


class SpatialAttention(nn.Module):
    """Weights of places, from a picture that is shrunk about six times and enlarged again (ESA).

    Args:
        inner: channels of the shrunk picture.
        convolution: what its 3x3 convolutions are; ``activation``: what stands between them.
    """

    def __init__(
        self, channels: int, inner: int, convolution: Convolution = conv3, activation: Callable[[Tensor], Tensor] = F.relu
    ) -> None:
        super().__init__()
        self.activation = activation
        self.conv1, self.conv_f = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, inner, 1)
        self.conv2 = convolution(inner, inner, stride=2, padding=0)
        self.conv_max, self.conv3, self.conv3_ = (convolution(inner, inner) for _ in range(3))
        self.conv4 = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.conv1(x)
        y = F.max_pool2d(self.conv2(narrow), 7, stride=3)
        y = self.activation(self.conv3(self.activation(self.conv_max(y))))
        y = F.interpolate(self.conv3_(y), size=x.shape[2:], mode="bilinear", align_corners=False)
        found: Tensor = x * self.conv4(y + self.conv_f(narrow)).sigmoid()
        return found
