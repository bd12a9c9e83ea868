"""A function of a tensor as a network."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Called(nn.Module):
    """``function`` of what goes in, and nothing else."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)
