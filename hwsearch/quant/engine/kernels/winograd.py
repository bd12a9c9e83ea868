"""Integer Winograd convolution F(4x4, 3x3): a quarter of the products of a 3x3 convolution, and exactly its sums.

Winograd's minimal filtering computes 4x4 outputs of a 3x3 filter g from 6x6 inputs d with 36 products (S. Winograd, *Arithmetic
Complexity of Computations*, SIAM 1980; for layers with many channels A. Lavin and S. Gray, *Fast Algorithms for Convolutional
Neural Networks*, CVPR 2016, whose points 0, 1, -1, 2, -2 and infinity are used here)::

    y = A^T [(G g G^T) * (B^T d B)] A        with B of integers, A of integers, G of fractions.

The fractions belong to the rows: G = D G' with G' of integers and D = diag(1/4, -1/6, -1/6, 1/24, 1/24, 1). A diagonal matrix
passes through the elementwise product, so with A' = 24 A^T D, which has integers only,

    576 y = A' [(G' g G'^T) * (B^T d B)] A'^T,

also when the products are summed over input channels first. This is an identity of integers, and the step from integers to
32-bit integers that wrap around keeps sums and products: whatever overflows on the way, the right side comes out as 576 y
modulo 2^32. Now 576 = 9 * 64, and 9 has an inverse modulo 2^32; multiplying by it gives 64 y modulo 2^32, which is 64 y itself
when ``|y| < 2^25``, and an arithmetic shift by 6 gives y. ``Winograd.suits`` asks for that bound, and ``proof.prove_layer``
proves it.

The operands of the products must be true 16-bit integers: the rows of B^T have absolute sums up to 10 and those of G' up to 7, so
codes up to 327 and weights up to 668 do (at most 100 * 327 and 49 * 668).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from hwmodels.compiled import compiled
from hwsearch.quant.engine import buffers
from hwsearch.quant.engine.kernels.bands import BAND_BYTES, BandConv, gather
from hwsearch.quant.engine.kernels.cpu import LANES
from hwsearch.quant.engine.kernels.products.pair_products import packed, products
from hwsearch.quant.engine.kernels.products.vector_code import CODES, SUMS, Memory, ahead, both_sides, constant, intrinsic
from hwsearch.quant.engine.kernels.products.word_products import PIXELS
from hwsearch.quant.engine.proof import reach
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Node, conv_of

PAIRS = ((1, 0, 0, 0, 0, 0), (0, 1, 1, 0, 0, 0), (0, 1, -1, 0, 0, 0), (0, 0, 0, 1, 1, 0), (0, 0, 0, 1, -1, 0), (0, 0, 0, 0, 0, 1))
"""Sums and differences: the points 1 and -1, 2 and -2 share the rest of their transforms, the even and the odd powers."""
B = (
    PAIRS,
    (
        (4, 0, -5, 0, 1, 0),
        (0, 0, -4, 0, 1, 0),
        (0, -4, 0, 1, 0, 0),
        (0, 0, -1, 0, 1, 0),
        (0, -2, 0, 2, 0, 0),
        (0, 4, 0, -5, 0, 1),
    ),
)
"""Factors of B^T."""
G = ((1, 0, 0), (1, 1, 1), (1, -1, 1), (1, 2, 4), (1, -2, 4), (0, 0, 1))
"""G'."""
A = (((6, -4, 0, 1, 0, 0), (0, 0, -4, 0, 2, 0), (0, -4, 0, 4, 0, 0), (0, 0, -4, 0, 8, 24)), PAIRS)
"""Factors of A'."""
INVERSE_OF_9 = pow(9, -1, 2**32)

TILE, WINDOW = 4, 6
"""Outputs along one side of a tile, and the inputs that they need."""
POINTS = WINDOW**2
LARGEST_CODE, LARGEST_WEIGHT = 327, 668
"""Whose transforms fit 16 bits."""
LARGEST_SUM = 2**25 - 1
CODES_AT_ONCE = 2 * LANES
INPUT_WORK, OUTPUT_WORK = 15, 20
"""What the transforms of one channel cost a pixel, in products of a direct convolution (measured on AVX2)."""
TILE_BYTES = 7 << 15
"""Of the transformed inputs and sums of a block of tiles, about; with the weights of 64 channels half of a 1 MB cache."""


@intrinsic
def _input_tile(typingctx: Any, x: Any, x_at: Any, row_step: Any, column_step: Any, v: Any, v_at: Any, v_step: Any) -> Any:
    """``B^T d B`` of ``CODES_AT_ONCE`` channels: 6x6 vectors read from ``x``, 36 written to ``v``, ``v_step`` apart."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        _, x_at, row_step, column_step, _, v_at, v_step = args
        x, v = (Memory(context, builder, signature.args[i], args[i], types.int16) for i in (0, 4))

        def load(i: int, j: int) -> ir.Value:
            return x.load(ahead(builder, ahead(builder, x_at, row_step, i), column_step, j), CODES)

        for i, row in enumerate(both_sides(builder, B, load)):
            for j, value in enumerate(row):
                v.store(ahead(builder, v_at, v_step, WINDOW * i + j), value)
        return context.get_dummy_value()

    return types.void(x, x_at, row_step, column_step, v, v_at, v_step), generate


@intrinsic
def _output_tile(
    typingctx: Any,
    m: Any,
    m_at: Any,
    m_step: Any,
    bias: Any,
    bias_at: Any,
    out: Any,
    out_at: Any,
    row_step: Any,
    column_step: Any,
) -> Any:
    """``A' m A'^T / 576 + bias`` of ``LANES`` outputs: 36 vectors read from ``m``, ``m_step`` apart, 4x4 written to ``out``."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        _, m_at, m_step, _, bias_at, _, out_at, row_step, column_step = args
        m, bias, out = (Memory(context, builder, signature.args[i], args[i], types.int32) for i in (0, 3, 5))

        def load(i: int, j: int) -> ir.Value:
            return m.load(ahead(builder, m_at, m_step, WINDOW * i + j), SUMS)

        shift = bias.load(bias_at, SUMS)
        for i, row in enumerate(both_sides(builder, A, load)):
            for j, value in enumerate(row):
                y = builder.ashr(builder.mul(value, constant(SUMS, INVERSE_OF_9)), constant(SUMS, 6))
                out.store(ahead(builder, ahead(builder, out_at, row_step, i), column_step, j), builder.add(y, shift))
        return context.get_dummy_value()

    return types.void(m, m_at, m_step, bias, bias_at, out, out_at, row_step, column_step), generate


@compiled
def _sums(
    x: np.ndarray, top: int, left: int, origin: int, w: np.ndarray, bias: np.ndarray, zeros: np.ndarray, tiles: int,
    region: np.ndarray, v: np.ndarray, m: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """A band of sums ``out int32 [4 n, 4 k, lanes]`` whose window begins at (top, left) of ``x``, by blocks of tiles.

    Args:
        origin: to subtract from the codes of ``x``.
        tiles: of a block, at most.
        region: int16 [6, > 4 tiles + 2, C], for the inputs of a block; its last vectors reach into the next pixel, and what they
            find there goes to channels of ``v`` that no product reads.
        v, m: int16 and int32 [36, step], its transformed inputs and sums.
    """
    rows, width, outputs = out.shape
    columns, channels = region.shape[1:]
    depth, pairs = -(-channels // CODES_AT_ONCE) * CODES_AT_ONCE, (channels + 1) // 2
    v_step, m_step, w_step = v.shape[1], m.shape[1], 2 * pairs * outputs
    for r in range(0, rows, TILE):
        for q in range(0, width, TILE * tiles):
            gather(x, top + r, left + q, origin, 0, region)
            here = min(tiles, (width - q) // TILE)
            for t in range(here):
                for c in range(0, channels, CODES_AT_ONCE):
                    _input_tile(region, TILE * t * channels + c, columns * channels, channels, v, t * depth + c, v_step)
            for k in range(POINTS):
                products(v, k * v_step, depth, 0, 1, pairs, w, k * w_step, zeros, m, k * m_step, outputs, here)
            for t in range(here):
                at = (r * width + q + TILE * t) * outputs
                for o in range(0, outputs, LANES):
                    _output_tile(m, t * outputs + o, m_step, bias, o, out, at + o, width * outputs, outputs)


class Winograd(BandConv):
    """A 3x3 convolution with stride 1, without dilation and groups."""

    by = "by integer Winograd"

    @classmethod
    def suits(cls, node: Node, layer: LayerIntegers, source: TensorFormat, bound: int) -> bool:
        window, op = layer.weight.shape[2:], conv_of(node)
        plain = (window, op.strides, op.dilations, op.groups) == ((3, 3), (1, 1), (1, 1), 1)
        narrow = reach(source) <= LARGEST_CODE and np.abs(layer.weight.astype(np.int64)).max(initial=0) <= LARGEST_WEIGHT
        return bool(plain and narrow and bound <= LARGEST_SUM)

    @classmethod
    def work(cls, node: Node, layer: LayerIntegers) -> float:
        outputs, channels = (-(-n // step) * step for n, step in zip(layer.weight.shape, (LANES, CODES_AT_ONCE), strict=False))
        products = POINTS / TILE**2 * layer.weight.shape[1] * outputs
        found: float = products + INPUT_WORK * channels + OUTPUT_WORK * outputs
        return found

    def __init__(self, node: Node, layer: LayerIntegers, source: TensorFormat) -> None:
        super().__init__(node, layer, source)
        self._lanes = -(-self.outputs // LANES) * LANES
        g = np.array(G)
        transformed = np.einsum("ia,ocab,jb->ijoc", g, layer.weight.astype(np.int64), g).reshape(POINTS, self.outputs, 1, -1)
        self._weights = np.concatenate([packed(point) for point in transformed])
        self._zeros = np.zeros(self._lanes, np.int32)
        self._bias = self._zeros.copy()
        self._bias[: self.outputs] = layer.bias

    def band(self, height: int, width: int) -> tuple[int, int, int]:
        columns = -(-width // TILE) * TILE
        rows = max(BAND_BYTES // (columns * self._lanes * 4) // TILE, 1) * TILE
        return min(rows, -(-height // TILE) * TILE), columns, self._lanes

    def workspace(self, rows: int, width: int) -> tuple[Any, ...]:
        depth = -(-self.channels // CODES_AT_ONCE) * CODES_AT_ONCE
        most = max(TILE_BYTES // (POINTS * (2 * depth + 4 * self._lanes)), 1)
        tiles = -(-min(most, -(-width // TILE)) // PIXELS) * PIXELS
        columns = TILE * tiles + 2 + -(-CODES_AT_ONCE // self.channels)
        region = buffers.empty((WINDOW, columns, self.channels), np.int16)
        v = buffers.empty((POINTS, _spread(tiles * depth, 2)), np.int16)
        m = buffers.empty((POINTS, _spread(tiles * self._lanes, 4)), np.int32)
        return tiles, region, v, m

    def sums(self, x: np.ndarray, first: int, workspace: tuple[Any, ...], out: np.ndarray) -> None:
        tiles, region, v, m = workspace
        top, left = first - self.top, -self.left
        _sums(x, top, left, self.origin, self._weights, self._bias, self._zeros, tiles, region, v, m, out)


def _spread(elements: int, size: int) -> int:
    """At least as many elements, in an odd number of cache lines: 36 arrays that far apart do not compete for the same places."""
    line = 64 // size
    return (-(-elements // line) | 1) * line
