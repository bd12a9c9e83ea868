"""The worked examples in the docstrings of the array model are what its functions say."""

from __future__ import annotations

import numpy as np
import pytest

from hwmodels.classes.ethos.array import array_of
from hwmodels.classes.ethos.blocks import CONVOLUTION, Operation, OutputBlock, fits
from hwmodels.classes.ethos.feature_maps import Cascade, Chain, cascades, widened
from hwmodels.classes.ethos.search import choose_blocks, fetch_cost, frame_of, input_block
from hwmodels.device import catalogue

KIB = 1024


def test_three_convolutions_are_one_cascade_of_twelve_rows() -> None:
    def each(value: float, kind: type = np.int64) -> np.ndarray:
        return np.full(3, value, dtype=kind)

    maps, weights = each(96 * KIB, np.float64), each(2 * KIB, np.float64)
    chain = Chain(np.array([True, True, False]), each(48), each(KIB), each(3), each(1), maps, maps, weights)
    assert chain.buffers(0, 2, 1).tolist() == [6 * KIB] * 2
    assert cascades(chain, 0, 2, 1, True, 64 * KIB) == [Cascade(0, 2, 1, 18 * KIB)]
    (narrow,) = cascades(chain, 0, 2, 1, False, 64 * KIB)
    assert chain.buffers(0, 2, 12).tolist() == [28 * KIB] * 2
    assert widened(chain, narrow, 64 * KIB) == [Cascade(0, 2, 12, 62 * KIB)]
    assert cascades(chain, 0, 2, 13, True, 64 * KIB)[0].last == 1


@pytest.mark.parametrize(
    ("out", "read", "fetched", "room"),
    [
        ((4, 4, 16), (6, 6, 16), 11.25, True),
        ((8, 10, 16), (10, 12, 16), 3.375, True),
        ((7, 12, 16), (9, 14, 16), (9 * 14 * 16 * 48 / 7 * 48 / 12 + 9 * 16 * 16 * 7 * 4) / (48 * 48 * 16), True),
        ((8, 12, 16), (10, 14, 16), 2.958, False),
    ],
)
def test_blocks_of_a_convolution(out: tuple[int, int, int], read: tuple[int, int, int], fetched: float, room: bool) -> None:
    target = catalogue.load("ethos-u55-128")
    assert target.npu is not None
    assert target.npu.array is not None
    array = array_of(target.npu.array)
    op = Operation(CONVOLUTION, 48, 48, 16, 48, 48, 16, 3, 3, 1, 1, 0, 1, 1, 1, 0.0, True, True)
    frame = frame_of(op, array)
    assert (frame.micro_h, frame.micro_w, frame.micro_c) == (1, 2, 8)
    block = input_block(op, array, frame, OutputBlock(*out))
    assert block[:3] == read
    assert fetch_cost(op, array, frame, OutputBlock(*out), block) == pytest.approx(fetched, rel=1e-3)
    assert fits(op, array, OutputBlock(*out), block, 2) is room
    assert choose_blocks(op, array)[:6] == (7, 12, 16, 9, 14, 16)
