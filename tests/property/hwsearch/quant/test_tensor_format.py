"""Storing a tensor: codes survive a round trip, values move at most half a step, clipped values end at the ends."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.numbers import Int
from hwsearch.quant.network.formats import TensorFormat


@st.composite
def formats(draw: st.DrawFn) -> TensorFormat:
    bits = draw(st.sampled_from([2, 3, 4, 5, 6, 7, 8, 16]))
    top = 2**bits - 1
    scale = float(np.float32(draw(st.floats(1e-5, 100.0))))
    zero = draw(st.integers(0, top))
    return TensorFormat(Int(bits), scale, zero, draw(st.sampled_from([0, zero])), top)


@given(formats(), st.integers(0, 65535))
def test_codes_survive(fmt: TensorFormat, code: int) -> None:
    codes = torch.tensor([float(min(max(code, fmt.qmin), fmt.qmax))])
    assert torch.equal(fmt.encode(fmt.decode(codes)), codes)


@given(formats(), st.floats(-2.0, 2.0))
def test_error_is_at_most_half_a_step(fmt: TensorFormat, position: float) -> None:
    low, high = (fmt.qmin - fmt.zero_point) * fmt.scale, (fmt.qmax - fmt.zero_point) * fmt.scale
    x = position * max(abs(low), abs(high))
    stored = float(fmt.fake(torch.tensor([x])))
    inside = min(max(x, low), high)
    assert abs(stored - inside) <= fmt.scale * 0.5001 + abs(inside) * 1e-6
    assert float(fmt.fake(torch.zeros(1))) == 0.0 or fmt.qmin > fmt.zero_point
