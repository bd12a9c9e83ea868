"""Products of matrices of bytes: AMX, which multiplies 16 pixels by 16 outputs, up to 64 channels deep, in one instruction.

Its operands lie in eight tile registers of up to 16 rows of 64 bytes, whose shape is configured before: here four of sums (32
pixels by 32 outputs), two of codes, two of weights. Products are quads, added in 32 bits that wrap around, and weights lie in
memory as ``quad_products`` packs them. The intrinsics that name registers by number are used, between ``configure`` and
``release`` in one function.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from hwmodels.compiled import compiled
from hwsearch.quant.engine.kernels.cpu import LANES
from hwsearch.quant.engine.kernels.products.vector_code import I8, I64, Memory, ahead, constant, intrinsic
from hwsearch.quant.engine.kernels.products.word_products import PANEL

ROWS = 16
"""Of a tile: pixels of one of codes or sums, quads of one of weights."""
SUMS, CODES, WEIGHTS = 0, 4, 6
"""The first register of each kind."""


def configuration(quads: int) -> np.ndarray:
    """What ``configure`` reads, for tiles that are so many quads deep: the palette, bytes a row and rows of each register."""
    row_bytes, rows = np.zeros(16, "<u2"), np.zeros(16, np.uint8)
    row_bytes[:8], rows[:8] = 4 * LANES, ROWS
    row_bytes[CODES:WEIGHTS], rows[WEIGHTS:8] = 4 * quads, quads
    head = np.zeros(16, np.uint8)
    head[0] = 1
    return np.concatenate([head, row_bytes.view(np.uint8), rows])


def _call(builder: ir.IRBuilder, name: str, *arguments: ir.Value | int) -> None:
    """An intrinsic of tiles; registers are numbers."""
    values = [constant(I8, value) if isinstance(value, int) else value for value in arguments]
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), values)


@intrinsic
def configure(typingctx: Any, config: Any) -> Any:
    """Give the registers the shape of a ``configuration``."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        memory = Memory(context, builder, signature.args[0], args[0], types.uint8)
        _call(builder, "ldtilecfg", memory.pointer(constant(I64, 0), I8))
        return context.get_dummy_value()

    return types.void(config), generate


@intrinsic
def release(typingctx: Any) -> Any:
    """Forget the registers, which the operating system saves otherwise."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        _call(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), generate


def _block(tiles: int, vectors: int) -> Any:
    """The code for ``tiles * ROWS`` pixels and ``vectors * LANES`` outputs; arguments as those of ``products``."""

    def typed(
        typingctx: Any, x: Any, x_at: Any, x_step: Any, row_step: Any, rows: Any, chunks: Any, quads: Any,
        w: Any, w_at: Any, start: Any, start_at: Any, out: Any, out_at: Any, out_step: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            _, x_at, x_step, row_step, rows, chunks, quads, _, w_at, _, start_at, _, out_at, out_step = args
            kinds = ((0, types.uint8), (7, types.int8), (9, types.int32), (11, types.int32))
            x, w, start, out = (Memory(context, builder, signature.args[i], args[i], kind) for i, kind in kinds)
            sums = [(p, v, SUMS + 2 * p + v) for p in range(tiles) for v in range(vectors)]
            for _, v, register in sums:  # a step of zero: each pixel begins with the same numbers
                at = start.pointer(ahead(builder, start_at, LANES, v), I8)
                _call(builder, "tileloadd64", register, at, constant(I64, 0))
            x_chunk, w_line = builder.mul(quads, constant(I64, 4)), constant(I64, 4 * LANES * vectors)
            w_chunk = builder.mul(quads, w_line)
            with cgutils.for_range(builder, rows) as row:
                x_row = ahead(builder, x_at, row.index, row_step)
                w_row = ahead(builder, w_at, builder.mul(row.index, chunks), w_chunk)
                with cgutils.for_range(builder, chunks) as chunk:
                    x_here = ahead(builder, x_row, chunk.index, x_chunk)
                    w_here = ahead(builder, w_row, chunk.index, w_chunk)
                    for v in range(vectors):
                        at = w.pointer(ahead(builder, w_here, 4 * LANES, v), I8)
                        _call(builder, "tileloadd64", WEIGHTS + v, at, w_line)
                    for p in range(tiles):
                        at = x.pointer(ahead(builder, x_here, x_step, ROWS * p), I8)
                        _call(builder, "tileloadd64", CODES + p, at, x_step)
                    for p, v, register in sums:
                        _call(builder, "tdpbusd", register, CODES + p, WEIGHTS + v)
            line = builder.mul(out_step, constant(I64, 4))
            for p, v, register in sums:
                at = ahead(builder, ahead(builder, out_at, out_step, ROWS * p), LANES, v)
                _call(builder, "tilestored64", register, out.pointer(at, I8), line)
            return context.get_dummy_value()

        arguments = (x, x_at, x_step, row_step, rows, chunks, quads, w, w_at, start, start_at, out, out_at, out_step)
        return types.void(*arguments), generate

    return intrinsic(typed)


_four, _tall, _wide, _one = _block(2, 2), _block(2, 1), _block(1, 2), _block(1, 1)


@compiled
def products(
    x: np.ndarray, x_at: int, x_step: int, row_step: int, rows: int, chunks: int, quads: int,
    w: np.ndarray, w_at: int, start: np.ndarray, out: np.ndarray, out_at: int, out_step: int, pixels: int,
) -> None:  # fmt: skip
    """As ``quad_products.products``, where a row has ``chunks * quads`` quads, and ``pixels`` are rounded up to ``ROWS``."""
    depth = 4 * rows * chunks * quads
    for o in range(0, start.size, PANEL):  # outermost: the weights of a panel stay in the first-level cache
        panel, broad = w_at + o * depth, start.size - o > LANES
        for p in range(0, pixels, 2 * ROWS):
            at, to = x_at + p * x_step, out_at + p * out_step + o
            if pixels - p > ROWS:
                if broad:
                    _four(x, at, x_step, row_step, rows, chunks, quads, w, panel, start, o, out, to, out_step)
                else:
                    _tall(x, at, x_step, row_step, rows, chunks, quads, w, panel, start, o, out, to, out_step)
            elif broad:
                _wide(x, at, x_step, row_step, rows, chunks, quads, w, panel, start, o, out, to, out_step)
            else:
                _one(x, at, x_step, row_step, rows, chunks, quads, w, panel, start, o, out, to, out_step)
