"""The luma of what a network gives: the plane on which the literature of super-resolution measures."""

from __future__ import annotations

import torch
from torch import Tensor

from searchspaces.data.luma import BT601_LUMA


def output_luma(y: Tensor) -> Tensor:
    """Luma on the 0..255 scale, up to a constant, of a network output ``[N, C, H, W]`` in 0..1; C is 1 (luma) or 3 (RGB).

    Returns ``[N, 1, H, W]``. The constant +16 of BT.601 is left out, because only differences are taken. What is no picture, of
    other ranks or channels, is returned as it is: all of its values count alike.
    """
    if y.ndim != 4 or y.shape[1] not in (1, 3):
        return y
    if y.shape[1] == 1:
        return y * 255.0
    weights = torch.tensor(BT601_LUMA, dtype=y.dtype, device=y.device).view(1, 3, 1, 1)
    return (y * weights).sum(dim=1, keepdim=True)
