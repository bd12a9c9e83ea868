"""What the engine does when band convolutions cannot run, err, or get what they do not expect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numba.core.errors import LoweringError, NumbaError
from numba.core.registry import cpu_target
from random_networks import float_graph, picture, quantize

from hwmodels.numbers import Int
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.convolution import Conv
from hwsearch.quant.engine.kernels import choice, int8_kernel, pair_products
from hwsearch.quant.engine.kernels.bands import BandConv, gather
from hwsearch.quant.engine.kernels.pair_conv import PairConv
from hwsearch.quant.engine.kernels.winograd import Winograd
from hwsearch.quant.formats import TensorFormat
from hwsearch.quant.graph import LayerIntegers
from searchspaces.ir.graph import Node

pytestmark = pytest.mark.skipif(not pair_products.compiles(), reason="no AVX2 here")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The self-test has not run yet, the CPU's int8 kernel is not preferred, and later tests find both as they were."""
    monkeypatch.setattr(int8_kernel, "capability", lambda: "none")
    choice.band_convolutions_work.cache_clear()
    yield
    choice.band_convolutions_work.cache_clear()


@pytest.mark.parametrize("kind", [Winograd, PairConv])
@pytest.mark.parametrize("later", [False, True], ids=["first band", "later bands"])
def test_a_kernel_that_errs_is_found_and_not_used(kind: type[BandConv], later: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    q = quantize(float_graph("edsr"))
    x = picture(q.graph)
    assert choice.band_convolutions_work()
    told, expected = integer.path(q), integer.Engine(q).run(x)
    assert Winograd.by in told
    true = kind.sums

    def wrong(self: BandConv, x: np.ndarray, first: int, workspace: tuple[Any, ...], out: np.ndarray) -> None:
        true(self, x, first, workspace, out)
        out[0, 0, 0] += (first > 0) == later

    monkeypatch.setattr(kind, "sums", wrong)
    choice.band_convolutions_work.cache_clear()
    assert not choice.band_convolutions_work()
    assert not any(fast.by in integer.path(q) for fast in (Winograd, PairConv))
    assert torch.equal(integer.Engine(q).run(x), expected)


def test_a_kernel_that_does_not_compile_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: BandConv, x: np.ndarray, first: int, workspace: tuple[Any, ...], out: np.ndarray) -> None:
        raise LoweringError("another version of numba")

    monkeypatch.setattr(PairConv, "sums", broken)
    assert not choice.band_convolutions_work()


def test_a_numba_that_does_not_tell_the_features_of_the_cpu_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choice.band_convolutions_work()
    choice.band_convolutions_work.cache_clear()
    monkeypatch.setattr(cpu_target.target_context, "codegen", object)
    assert not pair_products.compiles()
    assert not choice.band_convolutions_work()


@pytest.mark.parametrize("x", [np.zeros((9, 9, 6), np.int16)[..., ::2], np.zeros((9, 9, 3), np.int32)], ids=["gaps", "int32"])
def test_arrays_that_would_be_misread_do_not_compile(x: np.ndarray) -> None:
    with pytest.raises(NumbaError, match="expected a contiguous array of int16"):
        gather(x, 0, 0, np.zeros((2, 2, 3), np.int16))


@pytest.mark.parametrize("stride", [1, 2])
def test_no_pictures_and_pictures_that_are_too_small(stride: int) -> None:
    attrs = {"stride": stride, "padding": (0, 0, 1, 0), "dilation": 1, "groups": 1}
    node, fmt = Node("y", "conv", ("x",), attrs), TensorFormat(Int(8))
    layer = LayerIntegers(8, np.ones((8, 5, 3, 3), np.int8), np.ones(8, np.float32), np.zeros(8, np.int64))
    conv = Conv(node, layer, fmt, fmt)
    assert isinstance(conv.kernel, BandConv)
    assert conv(torch.empty((0, 5, 10, 13), dtype=torch.int16)).shape == (0, 8, *conv(torch.zeros((1, 5, 10, 13))).shape[2:])
    with pytest.raises(ValueError, match="layer 'y': its 3x3 window is larger than a 9x2 picture, with padding 10x2"):
        conv(torch.zeros((1, 5, 9, 2), dtype=torch.int16))
