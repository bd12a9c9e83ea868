"""Blocks that a U85 takes for what sums over no channels, beside those that Vela 5.2.0 printed for the same operations."""

from __future__ import annotations

import pytest

from hwmodels.classes.ethos.array import array_of
from hwmodels.classes.ethos.blocks import CHANNELWISE, PAIRWISE, POOLING, Operation
from hwmodels.classes.ethos.search import choose_blocks
from hwmodels.device import catalogue

Sizes = tuple[int, int, int]
PRINTED: list[tuple[int, int, Sizes, Sizes, tuple[int, int, int], int, Sizes]] = [
    # multipliers, kind, input, output before any turn, kernel and stride, the axis written innermost, block
    (128, PAIRWISE, (1, 588, 56), (1, 588, 56), (1, 1, 1), 1, (1, 128, 16)),
    (128, PAIRWISE, (1, 588, 56), (1, 588, 56), (1, 1, 1), 2, (1, 128, 16)),
    (128, CHANNELWISE, (36, 52, 40), (18, 26, 40), (3, 3, 2), 2, (10, 9, 16)),
    (128, CHANNELWISE, (72, 104, 24), (72, 104, 24), (3, 3, 1), 2, (9, 13, 16)),
    (128, POOLING, (1, 588, 112), (1, 588, 112), (1, 1, 1), 2, (1, 21, 96)),
    (128, POOLING, (49, 48, 49), (1, 48, 49), (49, 1, 1), 2, (1, 32, 16)),
    (128, POOLING, (1, 56, 588), (1, 56, 588), (1, 1, 1), 1, (1, 14, 128)),
    (128, POOLING, (3, 4, 2744), (3, 4, 2744), (1, 1, 1), 2, (3, 4, 128)),
    (128, POOLING, (3, 7, 1568), (3, 7, 1568), (1, 1, 1), 2, (3, 7, 96)),
    (128, POOLING, (4, 168, 49), (4, 168, 49), (1, 1, 1), 0, (1, 42, 48)),
    (128, POOLING, (4, 1176, 7), (4, 1176, 7), (1, 1, 1), 0, (1, 118, 16)),
    (128, POOLING, (12, 7, 392), (12, 7, 392), (1, 1, 1), 1, (5, 3, 128)),
    (2048, PAIRWISE, (1, 588, 56), (1, 588, 56), (1, 1, 1), 1, (1, 512, 16)),
    (2048, PAIRWISE, (1, 588, 56), (1, 588, 56), (1, 1, 1), 2, (1, 128, 64)),
    (2048, CHANNELWISE, (36, 52, 40), (18, 26, 40), (3, 3, 2), 2, (20, 16, 16)),
    (2048, CHANNELWISE, (72, 104, 24), (72, 104, 24), (3, 3, 1), 2, (36, 36, 16)),
    (2048, POOLING, (1, 588, 112), (1, 588, 112), (1, 1, 1), 2, (4, 64, 64)),
    (2048, POOLING, (49, 48, 49), (1, 48, 49), (49, 1, 1), 2, (4, 48, 16)),
    (2048, POOLING, (1, 56, 588), (1, 56, 588), (1, 1, 1), 1, (4, 56, 64)),
    (2048, POOLING, (3, 4, 2744), (3, 4, 2744), (1, 1, 1), 2, (4, 4, 1024)),
    (2048, POOLING, (3, 7, 1568), (3, 7, 1568), (1, 1, 1), 2, (4, 8, 512)),
    (2048, POOLING, (4, 168, 49), (4, 168, 49), (1, 1, 1), 0, (4, 64, 64)),
    (2048, POOLING, (4, 1176, 7), (4, 1176, 7), (1, 1, 1), 0, (4, 120, 16)),
    (2048, POOLING, (12, 7, 392), (12, 7, 392), (1, 1, 1), 1, (12, 8, 128)),
    (512, PAIRWISE, (1, 588, 56), (1, 588, 56), (1, 1, 1), 1, (1, 256, 16)),
    (512, PAIRWISE, (1, 588, 56), (1, 588, 56), (1, 1, 1), 2, (1, 128, 32)),
    (512, CHANNELWISE, (36, 52, 40), (18, 26, 40), (3, 3, 2), 2, (12, 14, 16)),
    (512, CHANNELWISE, (72, 104, 24), (72, 104, 24), (3, 3, 1), 2, (18, 26, 16)),
    (512, POOLING, (1, 588, 112), (1, 588, 112), (1, 1, 1), 2, (1, 76, 64)),
    (512, POOLING, (49, 48, 49), (1, 48, 49), (49, 1, 1), 2, (1, 48, 16)),
    (512, POOLING, (1, 56, 588), (1, 56, 588), (1, 1, 1), 1, (1, 56, 128)),
    (512, POOLING, (3, 4, 2744), (3, 4, 2744), (1, 1, 1), 2, (3, 4, 512)),
    (512, POOLING, (3, 7, 1568), (3, 7, 1568), (1, 1, 1), 2, (3, 8, 320)),
    (512, POOLING, (4, 168, 49), (4, 168, 49), (1, 1, 1), 0, (2, 64, 48)),
    (512, POOLING, (4, 1176, 7), (4, 1176, 7), (1, 1, 1), 0, (2, 118, 16)),
    (512, POOLING, (12, 7, 392), (12, 7, 392), (1, 1, 1), 1, (12, 8, 80)),
]


@pytest.mark.parametrize(("macs", "kind", "read", "made", "kernel", "innermost", "block"), PRINTED)
def test_blocks_are_those_of_the_compiler(
    macs: int, kind: int, read: Sizes, made: Sizes, kernel: tuple[int, int, int], innermost: int, block: Sizes
) -> None:
    section = catalogue.load(f"ethos-u85-{macs}").npu
    assert section is not None
    assert section.array is not None
    inputs = 2 if kind == PAIRWISE else 1
    op = Operation(kind, *read, *made, *kernel, 1, 0, 1, 1, inputs, 0.0, in_brick=False, out_brick=False)
    assert choose_blocks(op, array_of(section.array), innermost)[:3] == block
