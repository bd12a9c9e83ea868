"""Windows of a map of tokens: cut out row by row, and put together again."""

from __future__ import annotations

from torch import Tensor


def cut(x: Tensor, side: int) -> Tensor:
    """``[N, H, W, C]`` to ``[N * windows, side * side, C]``; height and width are multiples of ``side``."""
    n, h, w, c = x.shape
    tiles = x.view(n, h // side, side, w // side, side, c).permute(0, 1, 3, 2, 4, 5)
    return tiles.reshape(-1, side * side, c)


def joined(x: Tensor, side: int, h: int, w: int) -> Tensor:
    """The way back, to ``[N, h, w, C]``."""
    c = x.shape[-1]
    tiles = x.reshape(-1, h // side, w // side, side, side, c).permute(0, 1, 3, 2, 4, 5)
    return tiles.reshape(-1, h, w, c)
