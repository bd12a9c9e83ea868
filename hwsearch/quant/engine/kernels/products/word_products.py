"""Sums of products of narrow integers, a 32-bit word of them at a time: the inner loop of the integer convolutions.

A word holds two 16-bit integers or four bytes. Instructions multiply a vector of words by another and add the products of each
word in 32 bits that wrap around, without saturation in between; the callers show that this loses nothing:

* *pairs*: AVX2's ``vpmaddwd``, 16-bit integers with signs on both sides. It is exact where int8 instructions without VNNI are
  not, and does twice as many products as a floating-point multiply-add of the same width. CPUs with VNNI have one instruction
  for it and the addition that follows, ``vpdpwssd``.
* *quads*: ``vpdpbusd`` of AVX-VNNI and AVX-512 VNNI, unsigned codes by weights with signs.

A tile of 4 pixels and two vectors of outputs (or 8 and one; 8 and either, where vectors have 512 bits) stays in registers: one
word of each pixel is broadcast and met with two vectors of weights (or one). Weights are packed in the order in which they are
read, see ``packed``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from hwsearch.quant.engine.kernels.cpu import LANES, multiplies_quads
from hwsearch.quant.engine.kernels.products.vector_code import (
    CODES,
    I32,
    I64,
    SUMS,
    Memory,
    ahead,
    broadcast,
    constant,
    intrinsic,
)

PIXELS = 8
"""``products`` reads and writes multiples of so many pixels."""
PANEL = 2 * LANES
"""Outputs that are computed together, where there are as many."""
BROAD = 4 if LANES == 8 else 8
"""Pixels of a tile with two vectors of outputs: what the registers hold."""


@dataclass(frozen=True)
class Word:
    """What a word holds: ``size`` elements, of pixels ``codes``, of weights ``weights``."""

    size: int
    codes: Any
    weights: Any

    def multiply(
        self, builder: ir.IRBuilder, total: ir.Value, codes: ir.Value, weights: ir.Value, always: ir.Value | None
    ) -> ir.Value:
        """``total`` plus the products of each word, all three vectors of 32-bit words; ``always`` is that of the method."""
        declare, name = builder.module.declare_intrinsic, "vpdpbusd" if self.size == 4 else "vpdpwssd"
        if multiplies_quads():
            add = declare(f"llvm.x86.avx512.{name}.{32 * LANES}", fnty=ir.FunctionType(SUMS, [SUMS] * 3))
            added = builder.call(add, [total, codes, weights])
            return added if always is None else builder.select(always, added, total)
        multiply = declare("llvm.x86.avx2.pmadd.wd", fnty=ir.FunctionType(SUMS, [CODES, CODES]))
        return builder.add(total, builder.call(multiply, [builder.bitcast(operand, CODES) for operand in (codes, weights)]))

    def always(self, builder: ir.IRBuilder, place: ir.Value) -> ir.Value | None:
        """A mask of all lanes, of which LLVM does not know that it is one; None where it serves nothing.

        LLVM splits ``vpdpwssd`` into a product and an addition, to shorten a chain of sums that sixteen chains side by side hide
        anyway, and so halves the speed. It does not split an instruction with a mask, which AVX-512 has at no cost.
        """
        if self.size == 4 or LANES == 8:
            return None
        bit = builder.icmp_signed(">=", place, constant(I64, 0))
        return builder.bitcast(builder.sext(bit, ir.IntType(LANES)), ir.VectorType(ir.IntType(1), LANES))


PAIR, QUAD = Word(2, types.int16, types.int16), Word(4, types.uint8, types.int8)


def tile(word: Word, pixels: int, vectors: int) -> Any:
    """The code for so many pixels and ``vectors * LANES`` outputs; arguments as those of ``pair_products.products``."""

    def typed(
        typingctx: Any, x: Any, x_at: Any, x_step: Any, row_step: Any, rows: Any, words: Any,
        w: Any, w_at: Any, start: Any, start_at: Any, out: Any, out_at: Any, out_step: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            _, x_at, x_step, row_step, rows, words, _, w_at, _, start_at, _, out_at, out_step = args
            kinds = ((0, word.codes), (6, word.weights), (8, types.int32), (10, types.int32))
            x, w, start, out = (Memory(context, builder, signature.args[i], args[i], kind) for i, kind in kinds)
            first = [start.load(ahead(builder, start_at, LANES, v), SUMS) for v in range(vectors)]
            sums = [[cgutils.alloca_once(builder, SUMS) for _ in first] for _ in range(pixels)]  # LLVM keeps them in registers
            for pixel in sums:
                for total, value in zip(pixel, first, strict=True):
                    builder.store(value, total)
            step = word.size * LANES
            always = word.always(builder, x_at)
            with cgutils.for_range(builder, rows) as row:
                x_row = ahead(builder, x_at, row.index, row_step)
                w_row = ahead(builder, w_at, builder.mul(row.index, words), step * vectors)
                with cgutils.for_range(builder, words) as here:
                    x_word = ahead(builder, x_row, here.index, word.size)
                    w_word = ahead(builder, w_row, here.index, step * vectors)
                    weights = [w.load(ahead(builder, w_word, step, v), SUMS) for v in range(vectors)]
                    for p, pixel in enumerate(sums):
                        codes = broadcast(builder, x.load(ahead(builder, x_word, x_step, p), I32))
                        for total, weight in zip(pixel, weights, strict=True):
                            builder.store(word.multiply(builder, builder.load(total), codes, weight, always), total)
            for p, pixel in enumerate(sums):
                for v, total in enumerate(pixel):
                    out.store(ahead(builder, ahead(builder, out_at, out_step, p), LANES, v), builder.load(total))
            return context.get_dummy_value()

        arguments = (x, x_at, x_step, row_step, rows, words, w, w_at, start, start_at, out, out_at, out_step)
        return types.void(*arguments), generate

    return intrinsic(typed)


def packed(weight: np.ndarray, size: int, dtype: type) -> np.ndarray:
    """Weights ``[O, rows, depth]`` as tiles read them: panel by panel, then by row, by word of ``size``, by output; flat.

    Depths are filled up to whole words with weights of zero, outputs with zeros to a multiple of ``LANES``.
    """
    outputs, rows, depth = weight.shape
    filled: np.ndarray = np.pad(weight.astype(dtype), ((0, -outputs % LANES), (0, 0), (0, -depth % size)))
    words = filled.reshape(len(filled), rows, -1, size)
    return np.concatenate([words[o : o + PANEL].transpose(1, 2, 0, 3).ravel() for o in range(0, len(words), PANEL)])
