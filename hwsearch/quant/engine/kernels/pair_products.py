"""Sums of products of 16-bit integers, two at a time: the inner loop of the integer convolutions that need no int8 kernel.

AVX2's ``vpmaddwd`` multiplies sixteen 16-bit integers by sixteen others and adds neighbouring products, in 32 bits and without
saturation. So it is exact where int8 instructions without VNNI are not, and it does twice as many products as a
floating-point multiply-add of the same width. Sums wrap around at 32 bits; the callers show that this loses nothing.

A tile of 4 pixels and 16 outputs (or 8 and 8) stays in registers: per pair of inputs one word of each pixel is broadcast and met
with two vectors of weights (or one). Weights are packed in the order in which they are read, see ``packed``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config

from hwmodels.compiled import compiled
from hwsearch.quant.engine.kernels.vector_code import CODES, I32, SUMS, Memory, ahead, broadcast, intrinsic

PIXELS = 8
"""``products`` reads and writes multiples of so many pixels."""
LANES = 8
"""Outputs of one vector of sums."""
PANEL = 2 * LANES
"""Outputs that are computed together, where there are as many."""


def _tile(pixels: int, vectors: int) -> Any:
    """The code for so many pixels and ``vectors * LANES`` outputs; arguments as those of ``products``."""

    def typed(
        typingctx: Any, x: Any, x_at: Any, x_step: Any, row_step: Any, rows: Any, pairs: Any,
        w: Any, w_at: Any, start: Any, start_at: Any, out: Any, out_at: Any, out_step: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            _, x_at, x_step, row_step, rows, pairs, _, w_at, _, start_at, _, out_at, out_step = args
            x, w = (Memory(context, builder, signature.args[i], args[i], types.int16) for i in (0, 6))
            start, out = (Memory(context, builder, signature.args[i], args[i], types.int32) for i in (8, 10))
            multiply = builder.module.declare_intrinsic("llvm.x86.avx2.pmadd.wd", fnty=ir.FunctionType(SUMS, [CODES, CODES]))
            first = [start.load(ahead(builder, start_at, LANES, v), SUMS) for v in range(vectors)]
            sums = [[cgutils.alloca_once(builder, SUMS) for _ in first] for _ in range(pixels)]  # LLVM keeps them in registers
            for pixel in sums:
                for total, value in zip(pixel, first, strict=True):
                    builder.store(value, total)
            with cgutils.for_range(builder, rows) as row:
                x_row = ahead(builder, x_at, row.index, row_step)
                w_row = ahead(builder, w_at, builder.mul(row.index, pairs), 2 * LANES * vectors)
                with cgutils.for_range(builder, pairs) as pair:
                    x_pair = ahead(builder, x_row, pair.index, 2)
                    w_pair = ahead(builder, w_row, pair.index, 2 * LANES * vectors)
                    weights = [w.load(ahead(builder, w_pair, 2 * LANES, v), CODES) for v in range(vectors)]
                    for p, pixel in enumerate(sums):
                        word = x.load(ahead(builder, x_pair, x_step, p), I32)
                        codes = builder.bitcast(broadcast(builder, word), CODES)
                        for total, weight in zip(pixel, weights, strict=True):
                            builder.store(builder.add(builder.load(total), builder.call(multiply, [codes, weight])), total)
            for p, pixel in enumerate(sums):
                for v, total in enumerate(pixel):
                    out.store(ahead(builder, ahead(builder, out_at, out_step, p), LANES, v), builder.load(total))
            return context.get_dummy_value()

        arguments = (x, x_at, x_step, row_step, rows, pairs, w, w_at, start, start_at, out, out_at, out_step)
        return types.void(*arguments), generate

    return intrinsic(typed)


_tile_of_16, _tile_of_8 = _tile(4, 2), _tile(8, 1)


@compiled
def products(
    x: np.ndarray, x_at: int, x_step: int, row_step: int, rows: int, pairs: int,
    w: np.ndarray, w_at: int, start: np.ndarray, out: np.ndarray, out_at: int, out_step: int, pixels: int,
) -> None:  # fmt: skip
    """``out[p, o] = start[o] + sum over r < rows, i < 2 pairs of x[p, r, i] * w[o, r, i]``, in 32 bits that wrap around.

    All arrays are contiguous and seen as flat; places and steps count elements.

    Args:
        x: int16; pixel p, row r begins at ``x_at + p * x_step + r * row_step``. Odd rows are followed by one more element, any.
        w: int16, ``packed``, beginning at ``w_at``.
        start: int32, a multiple of ``LANES`` numbers, one per output.
        out: int32; pixel p begins at ``out_at + p * out_step``.
        pixels: rounded up to whole tiles of ``PIXELS``, which must be readable and writable.
    """
    depth = 2 * rows * pairs
    for o in range(0, start.size, PANEL):
        panel = w_at + o * depth
        if start.size - o > LANES:
            for p in range(0, pixels, 4):
                x_tile, out_tile = x_at + p * x_step, out_at + p * out_step + o
                _tile_of_16(x, x_tile, x_step, row_step, rows, pairs, w, panel, start, o, out, out_tile, out_step)
        else:
            for p in range(0, pixels, 8):
                x_tile, out_tile = x_at + p * x_step, out_at + p * out_step + o
                _tile_of_8(x, x_tile, x_step, row_step, rows, pairs, w, panel, start, o, out, out_tile, out_step)


def packed(weight: np.ndarray) -> np.ndarray:
    """Weights ``[O, rows, depth]`` as ``products`` reads them: panel by panel, then by row, by pair, by output; int16, flat.

    Odd depths are filled up with a weight of zero, outputs with zeros to a multiple of ``LANES``.
    """
    outputs, _, depth = weight.shape
    filled = np.pad(weight.astype(np.int16), ((0, -outputs % LANES), (0, 0), (0, depth % 2)))
    pairs = filled.reshape(len(filled), weight.shape[1], -1, 2)
    return np.concatenate([pairs[o : o + PANEL].transpose(1, 2, 0, 3).ravel() for o in range(0, len(pairs), PANEL)])


def compiles() -> bool:
    """Whether numba compiles, and for a CPU with AVX2.

    What it compiles for is no public knowledge, and where it cannot be found out the answer is no: code for another CPU would
    end the process.
    """
    try:
        from numba.core.registry import cpu_target

        _, _, features = cpu_target.target_context.codegen().magic_tuple()
        return not config.DISABLE_JIT and "+avx2" in features.split(",")  # type: ignore[attr-defined]
    except (ImportError, AttributeError, TypeError, ValueError):
        return False
