"""A small network that uses one convolution three times."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

USES = ("body", "body@2", "body@3")
"""The layers that the convolution becomes."""


class Recursive(nn.Module):
    """A convolution used three times between two others."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.body, self.tail = nn.Conv2d(1, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 4, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.head(x))
        for _ in range(3):
            y = F.relu(self.body(y))
        return F.pixel_shuffle(self.tail(y) + x.repeat(1, 4, 1, 1), 2)
