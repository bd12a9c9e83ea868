"""How a network is rewritten for the widths of a plan: the channels of a tensor are scaled, and its readers make up for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwmodels.numbers import NumberFormat


@dataclass(frozen=True)
class Numbers:
    """The number formats of a plan: of the weights of each convolution, and of each node's tensor, by name."""

    layers: Mapping[str, NumberFormat]
    tensors: Mapping[str, NumberFormat]


@dataclass(frozen=True, eq=False)
class Scales:
    """What divides the channels of a tensor while its readers make up for it; the network's function stays.

    ``key`` tells one choice from another of the same tensor; ``factors float64[C] > 0``, or None for nothing.
    """

    key: int
    factors: np.ndarray | None


AS_IT_IS = Scales(-1, None)
"""A tensor that is not rescaled."""
