"""The CPU's int8 kernel runs only where it gives the sums of 64-bit integers; elsewhere the engine does without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from random_networks import float_graph, picture, quantize
from torch import Tensor
from words import make_node

from hwmodels.numbers import Int
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.convolution import Conv
from hwsearch.quant.engine.kernels import choice, int8_kernel
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Node

GEOMETRY = [
    {},
    {"stride": 2},
    {"dilation": 2, "padding": (2, 2, 2, 2)},
    {"groups": 2},
    {"padding": (0, 2, 1, 0)},
]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """The self-test has not run yet, and nothing is preferred to the int8 kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "works", lambda kind: False)
        int8_kernel.capability.cache_clear()
        yield
    int8_kernel.capability.cache_clear()


def layer(attrs: dict[str, object], top: int) -> tuple[Node, LayerIntegers, TensorFormat]:
    rng = np.random.default_rng(0)
    attrs = {"stride": 1, "padding": (1, 1, 1, 1), "dilation": 1, "groups": 1, "activation": "none"} | attrs
    weight = rng.integers(-top, top + 1, (8, 16 // int(attrs["groups"]), 3, 3)).astype(np.int8)  # type: ignore[call-overload]
    integers = LayerIntegers(8, weight, np.ones(8, np.float32), rng.integers(-9999, 9999, 8))
    return make_node("y", "conv", ("x",), attrs), integers, TensorFormat(Int(8), 1.0, 117)


@pytest.mark.parametrize("attrs", GEOMETRY, ids=str)
def test_sums_are_those_of_the_floating_point_carrier(attrs: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    if int8_kernel.capability() == "none":
        pytest.skip("this CPU or this torch has no exact int8 kernel")
    node, integers, source = layer(attrs, 64)
    x = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (1, 16, 11, 13), np.uint8))
    fast = Conv(node, integers, source, source)
    assert isinstance(fast.kernel, int8_kernel.Int8Conv)
    monkeypatch.setattr(int8_kernel, "capability", lambda: "none")
    plain = Conv(node, integers, source, source)
    assert plain.kernel is None
    assert torch.equal(fast.accumulate(x), plain.accumulate(x))


def test_weights_that_may_saturate_need_a_kernel_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    _, wide, source = layer({}, 127)
    _, narrow, _ = layer({}, 64)
    for found, expected in (("none", (False, False)), ("narrow", (False, True)), ("full", (True, True))):
        monkeypatch.setattr(int8_kernel, "capability", lambda found=found: found)
        assert (int8_kernel.usable(wide, source), int8_kernel.usable(narrow, source)) == expected
    assert not int8_kernel.usable(narrow, TensorFormat(Int(16), 1.0, 32768, 0, 65535))


def test_the_self_test_finds_kernels_that_saturate_or_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    true = int8_kernel.Int8Conv.__call__

    def saturating(self: int8_kernel.Int8Conv, x: Tensor) -> Tensor:
        sums = true(self, x)
        return torch.where(sums.abs() > 150000, sums + 2, sums)

    before = int8_kernel.capability()
    int8_kernel.capability.cache_clear()
    monkeypatch.setattr(int8_kernel.Int8Conv, "__call__", saturating)
    assert int8_kernel.capability() == "none"
    int8_kernel.capability.cache_clear()

    def gone(self: int8_kernel.Int8Conv, x: Tensor) -> Tensor:
        raise AttributeError("no such operator")

    monkeypatch.setattr(int8_kernel.Int8Conv, "__call__", gone)
    assert int8_kernel.capability() == "none"
    assert before in ("none", "narrow", "full")


def test_a_network_is_the_same_with_and_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    q = quantize(float_graph("edsr"), 6, 7)
    x = picture(q.graph, seed=8)
    with_kernel, told = integer.Engine(q).run(x), integer.path(q)
    if int8_kernel.capability() != "none":
        assert int8_kernel.Int8Conv.by in told
    monkeypatch.setattr(int8_kernel, "capability", lambda: "none")
    assert torch.equal(integer.Engine(replace(q)).run(x), with_kernel)
    assert integer.path(q) == f"{len(q.graph.convs)} layers in float32"
