"""Convolutions in bands, by whatever products, give every sum that 64-bit arithmetic gives, whatever the layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from words import make_node

from hwmodels.numbers import Int
from hwsearch.quant.engine.kernels import choice, cpu, direct, winograd
from hwsearch.quant.engine.kernels.bands import BandConv, all_sums
from hwsearch.quant.engine.kernels.direct import DirectConv, folded
from hwsearch.quant.engine.kernels.pair_conv import PairConv
from hwsearch.quant.engine.kernels.quad_conv import QuadConv
from hwsearch.quant.engine.kernels.tile_conv import TileConv
from hwsearch.quant.engine.kernels.winograd import LARGEST_CODE, LARGEST_SUM, LARGEST_WEIGHT, TILE, A, B, G, Winograd
from hwsearch.quant.engine.proof import INT32_LIMIT, prove_layer
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Node

pytestmark = pytest.mark.skipif(not cpu.multiplies_pairs(), reason="no AVX2 here")
QUADS = [kind for kind in (QuadConv, TileConv) if kind.possible()]
"""Direct convolutions of bytes that run here."""
DIRECT: list[type[DirectConv]] = [PairConv, *QUADS]
SIZE = st.integers(1, 40)
PLAIN: dict[str, Any] = {"stride": 1, "padding": (1, 1, 1, 1), "dilation": 1, "groups": 1}


def filled(draw: Any, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """Integers in ``low .. high``: any of them, only the ends, or one end everywhere, the worst case for sums."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    kind = draw(st.sampled_from(["any", "ends", "lowest", "highest"]))
    if kind == "any":
        return rng.integers(low, high + 1, shape)
    return rng.choice({"ends": [low, high], "lowest": [low], "highest": [high]}[kind], shape)


@st.composite
def layers(draw: Any, kind: type[BandConv], bits: int) -> tuple[Node, LayerIntegers, TensorFormat, np.ndarray]:
    """A layer that ``kind`` may have to run, and codes of its format ``[C, H, W]``."""
    winograd = kind is Winograd
    window = (3, 3) if winograd else (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    stride = (1, 1) if winograd else (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = tuple(draw(st.integers(0, 3)) for _ in range(4))
    least = [max(w - padding[i] - padding[i + 1], 1) for w, i in zip(window, (2, 0), strict=True)]
    height, width = (max(draw(SIZE), n) for n in least)
    if height < 20:
        width += draw(st.sampled_from([0, 100]))
    channels, outputs = draw(st.integers(1, 70)), draw(st.integers(1, 40))
    if bits == 16:
        source = TensorFormat(Int(16), 1.0, 32768, 0, 65535)
    else:
        top = 2**bits - 1
        source = TensorFormat(Int(bits), 1.0, draw(st.sampled_from([0, top // 2 + 1, top])), 0, top)
    # 16-bit codes leave room for fewer weights.
    most = 127 if bits <= 8 else max((2**31 - 1) // (32768 * channels * window[0] * window[1] + 99999), 1)
    weight = filled(draw, (outputs, channels, *window), -min(most, 127), min(most, 127)).astype(np.int8)
    bias = np.random.default_rng(channels).integers(-99999, 100000, outputs)
    attrs = {"stride": stride, "padding": padding, "dilation": 1, "groups": 1}
    codes = filled(draw, (channels, height, width), source.qmin, source.qmax)
    return make_node("y", "conv", ("x",), attrs), LayerIntegers(8, weight, np.ones(outputs, np.float32), bias), source, codes


def channels_last(source: TensorFormat, codes: np.ndarray) -> np.ndarray:
    """Codes as the engine carries them: as they are in 8 bits, less the zero point in 16."""
    held = (codes - source.zero_point).astype(np.int16) if source.is_wide else codes.astype(np.uint8)
    return np.ascontiguousarray(held.transpose(1, 2, 0))


def check(kind: type[BandConv], node: Node, layer: LayerIntegers, source: TensorFormat, codes: np.ndarray) -> tuple[int, int]:
    """Compare with float64, in one thread and in two; the numbers of bands and of blocks of tiles in a row."""
    proof = prove_layer("y", layer, source)
    assert kind.suits(node, layer, source, proof.bound)
    assert choice.works(kind)
    conv = kind(node, layer, source)
    shifted = codes - source.zero_point
    left, right, top, bottom = node.op.padding
    x = F.pad(torch.from_numpy(shifted[None].astype(np.float64)), (left, right, top, bottom))
    weight, bias = (torch.from_numpy(array.astype(np.float64)) for array in (layer.weight, layer.bias))
    expected = F.conv2d(x, weight, bias, stride=node.op.stride)[0].permute(1, 2, 0).numpy()
    assert conv.size(*codes.shape[1:]) == expected.shape[:2]
    for threads in (1, 2):  # two threads take bands in turn
        assert np.array_equal(all_sums(conv, channels_last(source, codes), threads), expected)
    height, width = expected.shape[:2]
    rows = conv.band(height, width)[0]
    tiles = conv.workspace(rows, width)[0] if isinstance(conv, Winograd) else width
    return -(-height // rows), -(-width // (TILE * tiles))


def check_many(kind: type[BandConv], bits: list[int]) -> list[tuple[int, int]]:
    """Check layers of any kind, in bands and blocks of any size; the numbers of bands and blocks that they took."""
    seen = []

    @settings(max_examples=70, deadline=None)
    @given(st.data(), st.sampled_from(bits), st.integers(8, 19), st.integers(8, 18))
    def run(data: st.DataObject, bits: int, band: int, block: int) -> None:
        layer = data.draw(layers(kind, bits))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(winograd, "BAND_BYTES", 1 << band)
            patch.setattr(direct, "BAND_BYTES", 1 << band)
            patch.setattr(winograd, "TILE_BYTES", 1 << block)
            seen.append(check(kind, *layer))

    run()
    return seen


def test_winograd() -> None:
    seen = check_many(Winograd, [2, 3, 4, 5, 6, 7, 8])
    assert any(bands > 1 and blocks > 1 for bands, blocks in seen)
    assert any(bands == 1 for bands, _ in seen)
    assert any(blocks == 1 for _, blocks in seen)


@pytest.mark.parametrize("kind", DIRECT)
def test_direct_products(kind: type[DirectConv]) -> None:
    seen = check_many(kind, [2, 5, 8, 8, 16] if kind is PairConv else [2, 5, 8])
    assert any(bands > 2 for bands, _ in seen)
    assert any(bands == 1 for bands, _ in seen)


@pytest.mark.parametrize(
    ("kind", "size", "least"), [(Winograd, (20, 350), (2, 2)), *((kind, (40, 350), (2, 1)) for kind in DIRECT)]
)
def test_several_bands_and_blocks_of_the_size_in_use(kind: type[BandConv], size: tuple[int, int], least: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (19, 16, 3, 3)).astype(np.int8)
    layer = LayerIntegers(8, weight, np.ones(19, np.float32), rng.integers(-999, 999, 19))
    seen = check(
        kind, make_node("y", "conv", ("x",), PLAIN), layer, TensorFormat(Int(8), 1.0, 3), rng.integers(0, 256, (16, *size))
    )
    assert seen[0] >= least[0]
    assert seen[1] >= least[1]


@pytest.mark.parametrize("sign", [1, -1])
def test_winograd_at_the_last_sum_of_its_range(sign: int) -> None:
    """Every sum away from the border is the largest that ``suits`` admits."""
    weight = np.full((8, 114, 3, 3), sign * 127, np.int8)
    bias = np.full(8, sign * (LARGEST_SUM - 114 * 9 * 127 * 255))
    layer, node = LayerIntegers(8, weight, np.ones(8, np.float32), bias), make_node("y", "conv", ("x",), PLAIN)
    codes = np.full((114, 9, 11), 255)
    assert prove_layer("y", layer, TensorFormat(Int(8))).bound == LARGEST_SUM
    assert (
        all_sums(Winograd(node, layer, TensorFormat(Int(8))), channels_last(TensorFormat(Int(8)), codes))[4, 5, 0]
        == sign * LARGEST_SUM
    )
    check(Winograd, node, layer, TensorFormat(Int(8)), codes)


@pytest.mark.parametrize("sign", [1, -1])
def test_pair_products_at_the_last_32_bit_sum(sign: int) -> None:
    """56 channels of the code farthest from 0, -32768, and the bias that is missing up to 2^31 - 1."""
    weight = np.full((8, 56, 3, 3), -sign * 127, np.int8)
    bias = np.full(8, sign * (INT32_LIMIT - 56 * 9 * 127 * 32768))
    layer, node = LayerIntegers(8, weight, np.ones(8, np.float32), bias), make_node("y", "conv", ("x",), PLAIN)
    source, codes = TensorFormat(Int(16), 1.0, 32768, 0, 65535), np.zeros((56, 9, 11), np.int64)
    assert prove_layer("y", layer, source).bound == INT32_LIMIT
    assert all_sums(PairConv(node, layer, source), channels_last(source, codes))[4, 5, 0] == sign * INT32_LIMIT
    check(PairConv, node, layer, source, codes)


@pytest.mark.parametrize("kind", QUADS)
@pytest.mark.parametrize("sign", [1, -1])
def test_quads_at_the_last_32_bit_sum(kind: type[DirectConv], sign: int) -> None:
    """A zero point in the middle: of the largest codes ``sum w q`` leaves 32 bits, of the smallest the result is the last."""
    channels, source, node = 14600, TensorFormat(Int(8), 1.0, 128), make_node("y", "conv", ("x",), PLAIN)
    weight = np.full((8, channels, 3, 3), -sign * 127, np.int8)
    bias = np.full(8, sign * (INT32_LIMIT - 128 * 127 * 9 * channels))
    layer = LayerIntegers(8, weight, np.ones(8, np.float32), bias)
    assert prove_layer("y", layer, source).bound == INT32_LIMIT
    assert 255 * 127 * 9 * channels > INT32_LIMIT
    for code in (0, 255):
        check(kind, node, layer, source, np.full((channels, 3, 3), code))


def test_weights_wider_than_8_bits() -> None:
    """Winograd takes weights as long as their transforms fit 16 bits; beyond, ``suits`` refuses them."""
    node, source = make_node("y", "conv", ("x",), PLAIN), TensorFormat(Int(2), 1.0, 0, 0, 3)

    def layer(largest: int) -> LayerIntegers:
        rng = np.random.default_rng(0)
        weight = rng.choice(np.array([-largest, largest], np.int16), (8, 20, 3, 3))
        weight[0] = -largest
        return LayerIntegers(11, weight, np.ones(8, np.float32), np.zeros(8, np.int64))

    check(Winograd, node, layer(LARGEST_WEIGHT), source, np.full((20, 9, 11), 3))
    assert not Winograd.suits(node, layer(LARGEST_WEIGHT + 1), source, 1)
    check(PairConv, node, layer(32767), source, np.full((20, 9, 11), 3))
    for kind in QUADS:
        assert not kind.suits(node, layer(129), source, 1)


@pytest.mark.parametrize("weight", [127, -127, -128])
@pytest.mark.parametrize("zero", [0, 255])
def test_winograd_at_the_largest_sums(weight: int, zero: int) -> None:
    """57 channels of the largest codes and weights: one more, and sums leave the bound of 2^24 that float32 proves."""
    source = TensorFormat(Int(8), 1.0, zero)
    layer = LayerIntegers(8, np.full((8, 57, 3, 3), weight, np.int8), np.ones(8, np.float32), np.zeros(8, np.int64))
    node = make_node("y", "conv", ("x",), PLAIN)
    assert prove_layer("y", layer, source).bound > 0.97 * 2**24
    check(Winograd, node, layer, source, np.full((57, 9, 11), 255 - zero))


def test_winograd_of_more_channels_than_a_block_has_room_for() -> None:
    layer = LayerIntegers(2, np.ones((8, 3200, 3, 3), np.int8), np.ones(8, np.float32), np.zeros(8, np.int64))
    node = make_node("y", "conv", ("x",), PLAIN)
    check(Winograd, node, layer, TensorFormat(Int(8)), np.full((3200, 2, 3), 255))


def test_the_transforms_compute_576_times_a_convolution() -> None:
    """The identity of the module's text, for every filter and input that has a single 1: both sides are bilinear."""
    a, b, g = np.array(A[0]) @ A[1], np.array(B[0]) @ B[1], np.array(G)
    assert 32767 // np.abs(b).sum(axis=1).max() ** 2 == LARGEST_CODE
    assert 32767 // np.abs(g).sum(axis=1).max() ** 2 == LARGEST_WEIGHT
    for i, j in np.ndindex(3, 3):
        u = g[:, i, None] * g[:, j]
        for k, n in np.ndindex(6, 6):
            v = b[:, k, None] * b[:, n]
            expected = np.zeros((4, 4), int)
            if 0 <= k - i < 4 and 0 <= n - j < 4:
                expected[k - i, n - j] = 576
            assert np.array_equal(a @ (u * v) @ a.T, expected)


def test_what_leaves_the_proven_range_is_refused() -> None:
    layer = LayerIntegers(8, np.ones((1, 1, 3, 3), np.int8), np.ones(1, np.float32), np.zeros(1, np.int64))
    byte, word = TensorFormat(Int(8)), TensorFormat(Int(16), 1.0, 32768, 0, 65535)

    def suits(kind: type[BandConv], bound: int = 1, source: TensorFormat = byte, **changed: object) -> bool:
        return kind.suits(make_node("y", "conv", ("x",), PLAIN | changed), layer, source, bound)

    assert suits(Winograd, 2**25 - 1)
    assert not suits(Winograd, 2**25)
    assert not suits(Winograd, source=word)
    assert not any(suits(Winograd, **change) for change in ({"stride": 2}, {"dilation": 2}, {"groups": 2}))
    assert suits(PairConv, 2**31 - 1, word)
    for kind in (PairConv, QuadConv, TileConv):
        assert suits(kind, 2**31 - 1)
        assert not suits(kind, 2**31)
        assert not any(suits(kind, **change) for change in ({"dilation": 2}, {"groups": 2}))
    assert not any(suits(kind, source=word) for kind in (QuadConv, TileConv))


def test_folded_weights_are_the_same_layer_two_pixels_at_a_time() -> None:
    rng = np.random.default_rng(0)
    x, w = (torch.from_numpy(rng.integers(-9, 10, shape).astype(np.float64)) for shape in ((1, 3, 7, 14), (4, 3, 3, 3)))
    wide = F.conv2d(x, torch.from_numpy(folded(w.numpy(), 2, 1)), stride=(1, 2))
    plain = F.conv2d(x, w)
    assert torch.equal(wide.unflatten(1, (2, 4)).permute(0, 2, 3, 4, 1).flatten(3), plain)
