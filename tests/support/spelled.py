"""A network between two layers of which stands a spelling: a piece of code as people write it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Spelling = Callable[[Tensor], Tensor]


class Spelled(nn.Module):
    """A layer, a spelling, a layer."""

    def __init__(self, spelling: Spelling) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.spelling = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1), spelling

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.spelling(self.first(x)))
        return found
