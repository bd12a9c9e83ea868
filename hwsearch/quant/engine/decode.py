"""Real values with channels first from codes with channels last, in one pass: torch's three take as long as a convolution."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hwmodels.compiled import compiled
from hwsearch.quant.engine import buffers
from hwsearch.quant.engine.requant import pixels
from hwsearch.quant.network.formats import TensorFormat


@compiled
def _real(x: np.ndarray, origin: int, scale: np.float32, out: np.ndarray) -> None:
    """``x [H, W, C]`` less ``origin``, times ``scale``, to ``out float32 [C, H, W]``."""
    rows, columns, channels = x.shape
    for r in range(rows):
        for c in range(channels):
            for p in range(columns):
                out[c, r, p] = np.float32(np.int32(x[r, p, c] - origin)) * scale


def real(codes: Tensor, fmt: TensorFormat) -> Tensor:
    """Real values of integers ``[N, C, H, W]`` as their format carries them, float32 and contiguous."""
    out = buffers.empty(tuple(codes.shape), np.float32)
    for i in range(len(codes)):
        _real(pixels(codes[i : i + 1]), fmt.origin, np.float32(fmt.scale), out[i])
    return torch.from_numpy(out)
