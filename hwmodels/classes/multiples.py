"""Sizes as hardware pads them."""

from __future__ import annotations

import numpy as np

from hwmodels.compiled import compiled


@compiled(inline="always")
def ceil_to(value: float, quantum: float) -> float:  # pragma: no cover - compiled
    """The least multiple of ``quantum`` that holds ``value``."""
    return float(np.ceil(value / quantum) * quantum)
