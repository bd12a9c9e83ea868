"""Copies of weights on their way to an array, computed by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hwmodels.classes.ethos import buffering
from hwmodels.classes.ethos.array import array_of, described, homes_of
from hwmodels.classes.ethos.blocks import CONVOLUTION, Operation
from hwmodels.classes.ethos.buffering import Before, Weighing, copies, decide, sliced
from hwmodels.classes.ethos.search import choose_blocks
from hwmodels.device import catalogue

DEVICE = catalogue.load("ethos-u55-128")
ARRAY, HOMES = array_of(described(DEVICE)[0]), homes_of(DEVICE)
ROOMY = 1e6
OP = Operation(CONVOLUTION, 45, 80, 64, 45, 80, 64, 3, 3, 1, 1, 0, 1, 1, 1, 0.5, True, True)
LAYER = Weighing(0, OP, OP, choose_blocks(OP, ARRAY), 1e6, 34528.0)


def test_hidden_whole() -> None:
    """A copy that the operation before hides is one slice, made beside it."""
    made = decide(LAYER, None, Before(1e6, ROOMY, False), ROOMY, ARRAY, HOMES)
    assert made is not None
    assert made.sizes == (LAYER.slice_bytes(64), 0)
    assert made.ahead
    assert made.first == 1.0


def test_first_layer() -> None:
    """Vela prints depth slices of 0, 16, 64 for a first layer of 64 channels, and two buffers for all of its weights."""
    made = decide(LAYER._replace(hides=False), None, Before(0.0, np.inf, True), ROOMY, ARRAY, HOMES)
    assert made is not None
    assert made.sizes == (LAYER.slice_bytes(16), LAYER.slice_bytes(48))
    assert not made.ahead
    assert made.first == 0.25


def test_little_room() -> None:
    """Half of the room is what the largest slice may take; without room for one there is no copy."""
    ends = sliced(LAYER, 1e6, 20000.0, False, ARRAY, HOMES)
    assert ends is not None
    assert max(LAYER.slice_bytes(b - a) for a, b in pairwise(ends)) <= 10000
    assert decide(LAYER, None, Before(1e6, ROOMY, False), 1000.0, ARRAY, HOMES) is None


def test_room_for_a_reader() -> None:
    """The copy is not made where the result then stays on the chip for a layer that waits for it, and where that needs its bytes.

    On a U85-1024 64 channels of 100x100 pixels are 640,000 bytes. The layer behind makes two channels of them: it waits for them.
    """
    device = catalogue.load("ethos-u85-1024")
    array, homes = array_of(described(device)[0]), homes_of(device)
    size = 640_000
    op = OP._replace(in_h=100, in_w=100, out_h=100, out_w=100, out_c=64)
    thin = op._replace(out_c=2, kernel_h=1, kernel_w=1)
    layer = Weighing(0, op, op, choose_blocks(op, array), 1e6, 34528.0)
    reader = Weighing(1, thin, thin, choose_blocks(thin, array), 1e4, 128.0)
    copy = layer.slice_bytes(64)
    assert op.in_h * op.in_w * op.in_c == layer.input_bytes == reader.input_bytes == size
    enough, short = 2.0 * size + copy, 2.0 * size + copy - 1
    assert decide(layer, reader, Before(1e6, enough, False), enough, array, homes) is not None
    assert decide(layer, None, Before(1e6, short, False), enough, array, homes) is not None
    assert decide(layer, reader, Before(1e6, short, False), enough, array, homes) is None
    busy = reader._replace(whole=op, stripe=op, blocks=layer.blocks, weight_bytes=34528.0)
    assert decide(layer, busy, Before(1e6, short, False), enough, array, homes) is not None


def test_slices_that_rounding_makes_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Micro-blocks of 64 channels, of which a slice is filled up to a little more than the half of the room."""
    original, tried = buffering.ends_of, []

    def counted(op: Weighing, first: int, depth: int) -> list[int]:
        tried.append((first, depth))
        assert len(tried) < 20, "no end of it"
        return original(op, first, depth)

    monkeypatch.setattr(buffering, "ends_of", counted)
    op = OP._replace(out_c=128)
    layer = LAYER._replace(whole=op, stripe=op, blocks=LAYER.blocks._replace(micro_c=64, out_c=64), weight_bytes=16.0 * 4001)
    room = float(layer.slice_bytes(128))
    assert layer.slice_bytes(64) > room // 2
    assert sliced(layer, 1e6, room, False, ARRAY, HOMES) == [0, 16, 80, 128]
    assert tried == [(64, 64), (32, 64), (16, 64)]


def test_alive_beside_the_layer_before() -> None:
    """The first slice lies on the chip during the operation before, if that leaves room; the last one during its own."""
    plain = LAYER._replace(weight_bytes=0.0)
    found = copies([[plain], [LAYER]], np.full(2, ROOMY), [], np.zeros(2), [False] * 2, ARRAY, HOMES)
    assert found.held.tolist() == [LAYER.slice_bytes(64)] * 2
    tight = copies([[plain], [LAYER]], np.array([100.0, ROOMY]), [], np.zeros(2), [False] * 2, ARRAY, HOMES)
    assert tight.held[0] == 0.0


def test_weights_that_two_operations_share_lie_on_the_chip_once() -> None:
    """The two convolutions of a layer with slopes: the second one reads the copy that was made for the first."""
    plain, size = LAYER._replace(weight_bytes=0.0), LAYER.slice_bytes(64)
    for again, times in ((False, 2), (True, 1)):
        second = LAYER._replace(again=again)
        found = copies([[plain], [LAYER], [second]], np.full(3, ROOMY), [], np.zeros(3), [False] * 3, ARRAY, HOMES)
        assert found.held.tolist() == [size, times * size, size]


def test_a_cascade_copies_all_or_nothing() -> None:
    """Weights wanted and weights copied before both count against the room of the next layer."""
    cascade = [[LAYER._replace(sliced=False, inside=row > 0, hides=False)] for row in range(2)]
    size = float(LAYER.slice_bytes(64))
    for free, count in ((3 * size, 2), (2.5 * size, 1)):
        found = copies(cascade, np.full(2, free), [(0, 1)], np.full(2, size), [False] * 2, ARRAY, HOMES)
        assert sum(one is not None for each in found.found for one in each) == count
