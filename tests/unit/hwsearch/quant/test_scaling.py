"""Scaling by vectors gives what numpy gives: whatever is left over of a vector, and nothing beyond the array."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.numbers import Int
from hwsearch.quant.engine import requant
from hwsearch.quant.network.formats import TensorFormat


@settings(max_examples=150, deadline=None)  # the first call compiles
@given(
    rows=st.integers(1, 3),
    columns=st.integers(1, 40),
    channels=st.integers(1, 70),
    gaps=st.sampled_from([0, 0, 1, 16]),
    surplus=st.integers(0, 9),
    dtype=st.sampled_from([np.int32, np.float32]),
    wide=st.booleans(),
    sloped=st.booleans(),
    seed=st.integers(0, 99),
)
def test_codes_are_those_of_numpy(
    rows: int, columns: int, channels: int, gaps: int, surplus: int, dtype: type, wide: bool, sloped: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    acc = rng.integers(-(2**24), 2**24, (rows, columns + surplus, channels + gaps)).astype(dtype)
    acc[rng.random(acc.shape) < 0.3] = rng.choice([-3, -1, 0, 1, 3])  # at halves, where the multiplier is one
    m = np.where(rng.random(channels) < 0.5, 0.5, rng.uniform(1e-6, 1e-4, channels)).astype(np.float32)
    slope = rng.uniform(-0.5, 1.5, channels).astype(np.float32) if sloped else None
    low, high, origin = (-3000, 2900, 0) if wide else (-128, 100, 128)
    # What lies behind the array belongs to somebody else.
    memory = np.full(rows * columns * channels + 64, 77, np.int16 if wide else np.uint8)
    out = memory[:-64].reshape(rows, columns, channels)
    requant._scaled(m, slope, low, high, origin)(acc, out)
    v = acc[:rows, :columns, :channels].astype(np.float32) * m
    if slope is not None:
        v = np.where(v < 0, v * slope, v)
    assert np.array_equal(out, np.clip(np.rint(v), low, high) + origin)
    assert (memory[-64:] == 77).all()


@pytest.mark.parametrize(
    ("fmt", "carrier", "origin"),
    [
        (TensorFormat(Int(8), 1.0, 117), "torch.uint8", 117),
        (TensorFormat(Int(4), 1.0, 8, 0, 15), "torch.uint8", 8),
        (TensorFormat(Int(8), 1.0, -3), "torch.int16", 0),
        (TensorFormat(Int(16), 1.0, 32768, 0, 65535), "torch.int16", 0),
        (TensorFormat(Int(16), 1.0, 100, 0, 65535), "torch.float32", 0),
    ],
    ids=str,
)
def test_formats_know_what_carries_them(fmt: TensorFormat, carrier: str, origin: int) -> None:
    """Every code comes back, and zero is where ``origin`` is."""
    assert (str(fmt.carrier), fmt.origin) == (carrier, origin)
    codes = torch.arange(fmt.qmin, fmt.qmax + 1)
    carried = fmt.carried(codes - fmt.zero_point)
    assert carried.dtype == fmt.carrier
    assert (fmt.shifted(carried).long() + fmt.zero_point).equal(codes)
    assert int(fmt.carried(torch.zeros(1))[0]) == origin
