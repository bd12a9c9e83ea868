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
    alone = each(0, np.bool_)
    chain = Chain(np.array([True, True, False]), each(48), each(KIB), each(3), each(1), alone, maps, maps)
    assert chain.buffers(0, 2, 1).tolist() == [6 * KIB] * 2
    assert cascades(chain, 0, 2, 1, weights, 64 * KIB) == [Cascade(0, 2, 1, 18 * KIB)]
    (narrow,) = cascades(chain, 0, 2, 1, 0 * weights, 64 * KIB)
    assert chain.buffers(0, 2, 12).tolist() == [28 * KIB] * 2
    assert widened(chain, narrow, weights, 64 * KIB) == [Cascade(0, 2, 12, 62 * KIB)]
    assert cascades(chain, 0, 2, 13, weights, 64 * KIB)[0].last == 1


def test_an_enlargement_runs_in_a_cascade_by_pairs_of_rows() -> None:
    """A convolution, its 76 columns of 27 channels (32 stored) repeated to 152, and another: Vela prints a schedule of stripes of
    15, 30 and 29 rows, which read 16 and 31, and buffers of 77,824 and 301,568 bytes in 384 KiB."""
    weights, maps = np.array([7616.0, 0.0, 3456.0]), np.full(3, 1e6)
    joins, repeats, kernel = np.array([True, True, False]), np.array([False, True, False]), np.array([1, 3, 1])
    rows = np.array([76, 152, 152]) * 32
    chain = Chain(joins, np.array([58, 116, 116]), rows, kernel, np.ones(3, dtype=np.int64), repeats, maps, maps)
    assert chain.steps(0, 2, 29).tolist() == [15, 30, 29]
    assert chain.steps(0, 2, 1).tolist() == [1, 2, 1]
    assert chain.buffers(0, 2, 29).tolist() == [77824, 301568]
    (narrow,) = cascades(chain, 0, 2, 1, 0 * weights, 384 * KIB)
    (wide,) = widened(chain, narrow, weights, 384 * KIB)
    assert wide == Cascade(0, 2, 29, 77824 + 301568 + 7616 + 3456)


def test_rows_before_an_enlargement_may_be_odd() -> None:
    """Two convolutions of 50 rows, repeated to 100, and another: Vela prints stripes of 5, 5, 10 and 10 rows."""
    maps, ones = np.full(4, 1e6), np.ones(4, dtype=np.int64)
    joins, repeats = np.array([True, True, True, False]), np.array([False, False, True, False])
    chain = Chain(joins, np.array([50, 50, 100, 100]), ones, np.array([3, 1, 3, 1]), ones, repeats, maps, maps)
    assert chain.steps(0, 3, 10).tolist() == [5, 5, 10, 10]


def test_a_buffer_may_be_more_than_its_feature_map() -> None:
    """Half of 132 rows at a time: 66 are written and 68 read, so 136 are held."""
    ones, maps = np.ones(2, dtype=np.int64), np.full(2, 1e6)
    joins, alone = np.array([True, False]), np.zeros(2, dtype=bool)
    chain = Chain(joins, 132 * ones, 132 * 16 * ones, 3 * ones, ones, alone, maps, maps)
    assert chain.buffers(0, 1, 66).tolist() == [287232]


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
