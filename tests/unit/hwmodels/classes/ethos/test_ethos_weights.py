"""Weights and filled-in zeros of the streams that an Ethos-U reads, counted by hand, and what a codec makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from hwmodels.classes.ethos.array import array_of
from hwmodels.classes.ethos.blocks import CHANNELWISE, CONVOLUTION, Operation
from hwmodels.classes.ethos.encoded_weights import stream_bits, streams_of
from hwmodels.device import catalogue


def streams(
    name: str, inputs: int, outputs: int, kernel: int, in_bytes: int = 1, kind: int = CONVOLUTION
) -> list[tuple[int, int]]:
    target = catalogue.load(name)
    assert target.npu is not None
    assert target.npu.array is not None
    op = Operation(kind, 64, 64, inputs, 64, 64, outputs, kernel, kernel, 1, 1, 0, in_bytes, in_bytes, 1, 1.0, False, True)
    return streams_of(op, array_of(target.npu.array))


def test_few_channels_are_filled_up() -> None:
    """One channel of eight, and nine taps of twelve: four at a time beside 8 bits, two beside 16."""
    assert streams("ethos-u55-128", 1, 56, 3) == [(9 * 56, (8 * 12 - 9) * 56)]
    assert streams("ethos-u55-128", 1, 56, 3, in_bytes=2) == [(9 * 56, (8 * 10 - 9) * 56)]


def test_full_channels_need_no_filling() -> None:
    assert streams("ethos-u55-128", 32, 32, 3) == [(9 * 32 * 32, 0)]
    assert streams("ethos-u55-32", 32, 12, 3) == [(9 * 32 * 12, 0)], "micro-blocks of four channels"
    assert streams("ethos-u55-128", 32, 12, 3) == [(9 * 32 * 12, 9 * 32 * 4)], "of eight"


def test_kernels_are_read_in_pieces() -> None:
    """9x9 taps are pieces of 64, 8, 8 and 1, which take 64, 8, 8 and 4."""
    assert streams("ethos-u55-128", 8, 8, 9) == [(81 * 64, 3 * 64)]


def test_depthwise_channels_stand_alone() -> None:
    assert streams("ethos-u55-128", 64, 64, 3, kind=CHANNELWISE) == [(9 * 64, 3 * 64)]


def test_every_core_and_decoder_has_a_stream() -> None:
    assert streams("ethos-u65-512", 32, 12, 3) == [(9 * 32 * 6, 9 * 32 * 2)] * 2
    four = streams("ethos-u85-1024", 64, 1, 5)
    assert four == [(25 * 64, 25 * 64 * 3), *[(0, 25 * 64 * 4)] * 3], "three of four decoders read nothing but zeros"


def coded_bits(symbols: np.ndarray, bits: float) -> float:
    """Length of a stream with the run of zeros behind each other symbol, written out symbol by symbol."""
    places = np.flatnonzero(symbols)
    runs = np.diff(np.append(places, len(symbols))) - 1
    return min(sum(bits + 1 + plain + (run >> plain) for run in runs.tolist()) for plain in range(4))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_bits_are_those_of_a_codec(channels: int) -> None:
    """Weights of a few channels, each group of them filled up to eight."""
    rng = np.random.default_rng(channels)
    filled = np.zeros((2000, 8), dtype=np.int64)
    filled[:, :channels] = rng.integers(1, 128, (2000, channels))
    weights = 2000 * channels
    ours = stream_bits(weights, filled.size - weights, 8, 7.5)
    assert ours == pytest.approx(coded_bits(filled.ravel(), 7.5), rel=0.10)


def test_more_zeros_and_more_bits_take_more() -> None:
    bits = catalogue.load("ethos-u55-128").packing.stored_bits_per_weight
    for zeros in (0, 10, 300, 5000, 100_000):
        by_width = [stream_bits(1000, zeros, width, bits[str(width)].value) for width in range(2, 9)]  # type: ignore[index]
        assert by_width == sorted(by_width)
        assert stream_bits(1000, zeros + 100, 8, 7.5) > stream_bits(1000, zeros, 8, 7.5)
    assert stream_bits(0, 640, 8, 7.5) == 640
