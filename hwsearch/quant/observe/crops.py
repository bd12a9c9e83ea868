"""Less of the calibration pictures, where a look at all of them would take too long."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hwsearch.quant.observe.sizes import Sizes

ANY_SIZE = Sizes()
FEWEST = 8
"""Pictures of one size that calibration sees at least."""


def windows(crops: Sequence[Tensor], side: int, count: int, seed: int, sizes: Sizes = ANY_SIZE) -> Tensor:
    """``count`` windows ``[count, C, h, w]``, ``h, w <= side``, cut from the crops in turn at random places.

    All windows have one size of ``sizes``, that of the smallest crop if that is smaller than ``side``.
    """
    rng = np.random.default_rng(seed)
    height = min(side, *(crop.shape[2] for crop in crops))
    width = min(side, *(crop.shape[3] for crop in crops))
    height, width = sizes.within(height, width)
    cut = []
    for i in range(count):
        crop = crops[i % len(crops)]
        y = int(rng.integers(0, crop.shape[2] - height + 1))
        x = int(rng.integers(0, crop.shape[3] - width + 1))
        cut.append(crop[:, :, y : y + height, x : x + width])
    return torch.cat(cut)


def squares(crop: Tensor, height: int, width: int) -> Tensor:
    """A picture ``[1, C, H, W]`` cut in windows ``[n, C, height, width]``; what is left over at its ends is dropped."""
    rows, columns = crop.shape[2] // height, crop.shape[3] // width
    x = crop[0, :, : rows * height, : columns * width].unflatten(1, (rows, height)).unflatten(3, (columns, width))
    found: Tensor = x.permute(1, 3, 0, 2, 4).flatten(0, 1).contiguous()
    return found


def trimmed(crops: Sequence[Tensor], cost: float, macs: float, seed: int, sizes: Sizes = ANY_SIZE) -> list[Tensor]:
    """All crops ``[1, C, h, w]``, or windows of them at random places where one pass over all would take more than ``macs``
    multiply-accumulates, ``cost`` per pixel; of at least 48 pixels a side. Of a network that takes one size alone fewer crops,
    but at least ``FEWEST``."""
    area = float(np.mean([crop.shape[2] * crop.shape[3] for crop in crops]))
    if area * len(crops) * cost <= macs:
        return list(crops)
    if sizes.size is not None:
        return list(crops[: max(int(macs / cost / area), FEWEST)])
    return list(windows(crops, int(max(48.0, np.sqrt(macs / cost / len(crops)))), len(crops), seed, sizes).split(len(crops[0])))


def affordable(crops: Sequence[Tensor], pixels: float, seed: int, sizes: Sizes = ANY_SIZE) -> Tensor:
    """Windows of the crops of about ``pixels`` in all: whole crops, or smaller windows of at least 32 pixels a side, but never
    fewer than four."""
    area = float(np.mean([crop.shape[2] * crop.shape[3] for crop in crops]))
    if pixels >= area * len(crops):
        return windows(crops, 1 << 20, len(crops), seed, sizes)
    side = int(max(32.0, np.sqrt(pixels / len(crops))))
    count = int(np.clip(pixels // side**2, 4, len(crops)))
    return windows(crops, side, count, seed, sizes)
