"""Windows of a map of tokens: cut out row by row, put together again, and what tells tokens in them apart."""

from __future__ import annotations

import torch
from torch import Tensor

APART = -100.0
"""What is added to the score of two tokens that a shift brought into one window and that are no neighbours."""


Sides = int | tuple[int, int]
"""Of a square window, or height and width of another."""


def cut(x: Tensor, side: Sides) -> Tensor:
    """``[N, H, W, C]`` to ``[N * windows, tokens of a window, C]``; height and width are multiples of a window's."""
    n, h, w, c = x.shape
    tall, wide = (side, side) if isinstance(side, int) else side
    tiles = x.view(n, h // tall, tall, w // wide, wide, c).permute(0, 1, 3, 2, 4, 5)
    return tiles.reshape(-1, tall * wide, c)


def joined(x: Tensor, side: Sides, h: int, w: int) -> Tensor:
    """The way back, to ``[N, h, w, C]``."""
    c = x.shape[-1]
    tall, wide = (side, side) if isinstance(side, int) else side
    tiles = x.reshape(-1, h // tall, w // wide, tall, wide, c).permute(0, 1, 3, 2, 4, 5)
    return tiles.reshape(-1, h, w, c)


def offsets(side: int) -> Tensor:
    """Rows of a table of relative positions, ``int64[L, L]`` for ``L = side * side`` tokens: that of query minus key, offsets
    from ``1 - side`` on, row by row."""
    y, x = (axis.flatten() for axis in torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
    return (y.view(-1, 1) - y + side - 1) * (2 * side - 1) + x.view(-1, 1) - x + side - 1


def mask(h: int, w: int, side: int, shift: int) -> Tensor:
    """What to add to the scores of every window of a map that was rolled by ``-shift``: ``float32[windows, L, L]``, 0 between
    tokens that were neighbours before and ``APART`` between others."""
    rows, columns = ((torch.arange(n) >= n - side).int() + (torch.arange(n) >= n - shift).int() for n in (h, w))
    regions = cut((3 * rows.view(-1, 1) + columns).view(1, h, w, 1), side)[..., 0]
    return (regions.unsqueeze(1) != regions.unsqueeze(2)).float() * APART
