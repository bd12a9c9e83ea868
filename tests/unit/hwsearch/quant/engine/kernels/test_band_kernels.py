"""What the engine does when band convolutions cannot run, err, or get what they do not expect."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numba.core.errors import LoweringError, NumbaError
from numba.core.registry import cpu_target
from random_networks import float_graph, picture, quantize
from words import make_node

from hwmodels.numbers import Int
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.convolution import Conv
from hwsearch.quant.engine.kernels import choice, cpu, int8_kernel
from hwsearch.quant.engine.kernels.bands import BandConv
from hwsearch.quant.engine.kernels.pair_conv import PairConv
from hwsearch.quant.engine.kernels.products.pair_products import products
from hwsearch.quant.engine.kernels.winograd import Winograd
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers

ROOT = Path(__file__).parents[6]
pytestmark = pytest.mark.skipif(not cpu.multiplies_pairs(), reason="no AVX2 here")
KINDS = [kind for kind in choice.SELF_TEST if kind.possible()]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The self-tests have not run yet, the CPU's int8 kernel is not preferred, and later tests find both as they were."""
    monkeypatch.setattr(int8_kernel, "capability", lambda: "none")
    forget = choice.works.cache_clear
    forget()
    yield
    forget()


def prefer(kind: type[BandConv], patch: pytest.MonkeyPatch) -> None:
    """Let the clock and the count of products prefer a kind."""
    patch.setattr(choice, "fastest", lambda kinds, *layer: kind if kind in kinds else kinds[0])
    patch.setattr(kind, "work", lambda *layer: 0.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("later", [False, True], ids=["first band", "later bands"])
def test_a_kernel_that_errs_is_found_and_not_used(kind: type[BandConv], later: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    q = quantize(float_graph("edsr"))
    x = picture(q.graph)
    prefer(kind, monkeypatch)
    told, expected = integer.path(q), integer.Engine(q).run(x)
    assert told == f"{len(q.graph.convs)} layers {kind.by}"
    true = kind.sums

    def wrong(self: BandConv, x: np.ndarray, first: int, workspace: tuple[Any, ...], out: np.ndarray) -> None:
        true(self, x, first, workspace, out)
        out[0, 0, 0] += (first > 0) == later

    monkeypatch.setattr(kind, "sums", wrong)
    choice.works.cache_clear()
    assert not choice.works(kind)
    assert kind.by not in integer.path(q)
    assert torch.equal(integer.Engine(q).run(x), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_the_same_by_every_kernel(kind: type[BandConv], monkeypatch: pytest.MonkeyPatch) -> None:
    """The codes that convolutions in floating point give."""
    for name in ("attention", "edsr", "fsrcnn-prelu"):
        q = quantize(float_graph(name))
        x = picture(q.graph)
        with pytest.MonkeyPatch.context() as patch:
            prefer(kind, patch)
            by_kind = integer.Engine(q).run(x)
            assert kind.by in integer.path(q)
            patch.setattr(choice, "works", lambda kind: False)
            assert torch.equal(integer.Engine(q).run(x), by_kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_that_does_not_compile_is_not_used(kind: type[BandConv], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: BandConv, x: np.ndarray, first: int, workspace: tuple[Any, ...], out: np.ndarray) -> None:
        raise LoweringError("another version of numba")

    monkeypatch.setattr(kind, "sums", broken)
    assert not choice.works(kind)


def test_a_numba_that_does_not_tell_the_features_of_the_cpu_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(choice.works(kind) for kind in KINDS)
    choice.works.cache_clear()
    monkeypatch.setattr(cpu_target.target_context, "codegen", object)
    cpu.multiplies_tiles.cache_clear()
    assert cpu.features() == frozenset()
    assert not any(choice.works(kind) for kind in choice.SELF_TEST)
    cpu.multiplies_tiles.cache_clear()


CPUS = {
    "no AVX2": ("nehalem", "+sse4.2", 8, []),
    "AVX2": ("haswell", "+avx2,+fma", 8, ["Winograd", "PairConv"]),
    "AVX-VNNI": ("alderlake", "+avx2,+fma,+avxvnni", 8, ["Winograd", "PairConv", "QuadConv"]),
    "AVX-512 without VNNI": ("skylake-avx512", "+avx2,+avx512f,+avx512bw,+avx512vl", 8, ["Winograd", "PairConv"]),
    "AVX-512 VNNI": (
        "cascadelake",
        "+avx2,+avx512f,+avx512bw,+avx512vl,+avx512vnni",
        16,
        ["Winograd", "PairConv", "QuadConv"],
    ),
}
"""What numba is told to compile for -> its name for the CPU, features, lanes, and the kernels that run there."""


@pytest.mark.parametrize("told", CPUS)
def test_kernels_of_other_cpus_are_exact_or_not_used(told: str, tmp_path: Path) -> None:
    """In a process of its own, whose numba compiles for a CPU of which this one has all features."""
    name, text, lanes, expected = CPUS[told]
    if not {feature.removeprefix("+") for feature in text.split(",")} <= cpu.features():
        pytest.skip(f"this CPU has no {told}")
    program = (
        "from hwsearch.quant.engine.kernels import choice, cpu\n"
        "print(cpu.LANES, *(kind.__name__ for kind in choice.SELF_TEST if choice.works(kind)))"
    )
    environment = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": text, "XDG_CACHE_HOME": str(tmp_path)}
    run = [sys.executable, "-c", program]
    answer = subprocess.run(run, env=os.environ | environment, capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.split() == [str(lanes), *expected]


def test_other_cpus_take_the_path_with_the_least_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without VNNI nothing is timed: Winograd for 64 channels, pairs for 3, torch's kernel before both where it is exact."""
    monkeypatch.setattr(cpu, "multiplies_quads", lambda: False)
    monkeypatch.setattr(choice, "works", lambda kind: kind in (Winograd, PairConv))

    def untimed(*_: object) -> None:
        raise AssertionError("timed")

    monkeypatch.setattr(choice, "fastest", untimed)
    attrs = {"stride": 1, "padding": (1, 1, 1, 1), "dilation": 1, "groups": 1}
    node, fmt = make_node("y", "conv", ("x",), attrs), TensorFormat(Int(8))

    def chosen(channels: int) -> object:
        weight = np.ones((64, channels, 3, 3), np.int8)
        return choice.kernel(node, LayerIntegers(8, weight, np.ones(64, np.float32), np.zeros(64, np.int64)), fmt, 1)

    assert (chosen(64), chosen(3)) == (Winograd, PairConv)
    monkeypatch.setattr(int8_kernel, "capability", lambda: "full")
    assert (chosen(64), chosen(3)) == (int8_kernel.Int8Conv, PairConv)


@pytest.mark.parametrize("x", [np.zeros(1024, np.int16)[::2], np.zeros(512, np.int32)], ids=["gaps", "int32"])
def test_arrays_that_would_be_misread_do_not_compile(x: np.ndarray) -> None:
    weights, start, sums = np.zeros(512, np.int16), np.zeros(cpu.LANES, np.int32), np.zeros(512, np.int32)
    with pytest.raises(NumbaError, match="expected a contiguous array of int16"):
        products(x, 0, 2, 2, 1, 1, weights, 0, start, sums, 0, cpu.LANES, 8)


@pytest.mark.parametrize("stride", [1, 2])
def test_no_pictures_and_pictures_that_are_too_small(stride: int) -> None:
    attrs = {"stride": stride, "padding": (0, 0, 1, 0), "dilation": 1, "groups": 1}
    node, fmt = make_node("y", "conv", ("x",), attrs), TensorFormat(Int(8))
    layer = LayerIntegers(8, np.ones((8, 5, 3, 3), np.int8), np.ones(8, np.float32), np.zeros(8, np.int64))
    conv = Conv(node, layer, fmt, fmt)
    assert isinstance(conv.kernel, BandConv)
    assert conv(torch.empty((0, 5, 10, 13), dtype=torch.uint8)).shape == (
        0,
        8,
        *conv(torch.zeros((1, 5, 10, 13), dtype=torch.uint8)).shape[2:],
    )
    with pytest.raises(ValueError, match="layer 'y': its 3x3 window is larger than a 9x2 picture, with padding 10x2"):
        conv(torch.zeros((1, 5, 9, 2), dtype=torch.uint8))
