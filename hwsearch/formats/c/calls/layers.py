"""Convolutions, linear layers and products of tensors.

The input's zero point is folded into the biases of dense layers: ``sum (q - z) w + b = sum q w + (b - z sum w)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hwmodels.errors import FileError
from hwmodels.numbers import Int
from hwmodels.pricing.arena_c import MAX_PIXELS
from hwsearch.formats.c import bit_packing
from hwsearch.formats.c.calls.lowering import LOWERS, Lower, LoweredNode, Lowering, container_bytes, scale_members
from hwsearch.formats.c.calls.places import LAST, natural
from hwsearch.quant.engine import fixed_point, requant
from hwsearch.quant.engine.operators.matmul import INT32_LIMIT, INT48_LIMIT
from hwsearch.quant.engine.proof import reach
from hwsearch.quant.engine.steps import as_conv
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, same_weights
from searchspaces.ir.graph import Node, conv_of
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul

PARTIAL = 255 * 255
"""The kernel for bytes adds products of codes, and what belongs to zero points afterwards."""
WIDE_BYTES = 2
"""Of the numbers that a product of 16-bit tensors multiplies: codes less their zero."""
WIDE_MANTISSA = 15
"""Bits of a multiplier beside 16-bit tensors."""


def _conv(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    source = lowering.input_as(node, step, 0, LAST)
    sizes = (lowering.picture(name)[1:] for name in (node.inputs[0], node.name))
    lowering.each_picture(node, step, source, _layer(lowering, node, step, *sizes))


def _linear(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """A convolution of one row, whose pixels are the vectors of all batches."""
    shape = lowering.shapes[node.inputs[0]]
    source = lowering.input_as(node, step, 0, natural(len(shape)))
    vectors = (1, math.prod(shape[:-1]))
    step.calls.append(_layer(lowering, as_conv(node), step, vectors, vectors)(source, "{out}"))


def _layer(
    lowering: Lowering, node: Node, step: LoweredNode, size_in: tuple[int, int], size_out: tuple[int, int]
) -> Callable[[str, str], str]:
    """Add the constants of a layer that reads and writes pictures of ``size_in`` and ``size_out`` (height, width); gives its call
    from one address to another."""
    layer = lowering.qgraph.layers[node.name]
    assert isinstance(layer, LayerIntegers)
    (source,), target = lowering.sides(node)
    op = conv_of(node)
    weight = layer.weight.reshape(*layer.weight.shape[:2], *layer.weight.shape[2:] or (1, 1))
    outputs, groups = len(weight), op.groups
    rows = np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(outputs, -1)
    direct = groups > 1
    bias = layer.bias.astype(np.int64)
    if not direct:
        bias = bias - source.zero_point * rows.sum(axis=1, dtype=np.int64)
    largest = _largest_sum(rows, bias, source, direct)
    wide = source.is_wide or target.is_wide
    slopes = requant.slopes(node, outputs)
    owner = same_weights(lowering.qgraph, node.name)
    if owner == node.name:
        step.array("weights", "uint8_t", bit_packing.pack(rows, layer.bits), pooled=False)
    biases = step.array("bias", "int64_t" if source.is_wide else "int32_t", bias)
    members = _multipliers(step, fixed_point.layer_multipliers(layer, source, target), wide, largest, "")
    if slopes is not None:
        mantissa, shift = fixed_point.layer_multipliers(requant.sloped(layer, slopes), source, target)
        members |= _multipliers(step, (mantissa, shift), wide, largest, "slope_", np.where(slopes < 0, -1, 1))
    low, high = requant.bounds(node, target)
    kernel, stride, dilation = weight.shape[2:], op.strides, op.dilations
    left, _, top, _ = op.padding
    unpacked = rows.size if layer.bits < Int(layer.bits).container_bits else 0
    scratch = unpacked if direct else unpacked + MAX_PIXELS * rows.shape[1] * container_bytes(source)
    record = step.record(
        "layer", "hws_conv_layer",
        in_h=size_in[0], in_w=size_in[1], in_c=weight.shape[1] * groups, out_h=size_out[0], out_w=size_out[1], out_c=outputs,
        kernel_h=kernel[0], kernel_w=kernel[1], stride_h=stride[0], stride_w=stride[1],
        dilation_h=dilation[0], dilation_w=dilation[1], pad_top=top, pad_left=left, groups=groups,
        in_zero=source.zero_point, out_zero=target.zero_point, out_min=low, out_max=high,
        weight_bits=layer.bits, in_bytes=container_bytes(source), out_bytes=container_bytes(target),
        weights=lowering.weights_of(owner, step.identifier), **{"wide_bias" if source.is_wide else "bias": biases}, **members,
    )  # fmt: skip
    room = step.scratch(scratch) if scratch else "0"
    function = f"hws_conv{'_direct' if direct else ''}"
    return lambda source, target: f"{function}({record}, {source}, {target}, {room});"


def _multipliers(
    step: LoweredNode, factors: tuple[np.ndarray, np.ndarray], wide: bool, largest: int, prefix: str, sign: Any = 1
) -> dict[str, str]:
    """Add the constants of ``factors`` (mantissas and shifts) for sums up to ``largest``; gives the members that name them.

    Raises:
        FileError: what the kernels compute on the way would overflow.
    """
    mantissa, shift = factors
    room = 62 - 16 if wide else 31
    if largest << max(int(shift.max()), 0) >= 1 << room or (wide and int(shift.max()) >= WIDE_MANTISSA):
        raise FileError(
            f"layer {step.node.name!r}: sums up to {largest} times 2^{shift.max()} overflow the integers of C",
            "Its weights, bias or scales are out of range.",
        )
    if wide:
        mantissa = fixed_point.reduced(mantissa)
    return {
        f"{prefix}multiplier": step.array(f"{prefix}multiplier", "int32_t", mantissa * sign),
        f"{prefix}shift": step.array(f"{prefix}shift", "int8_t", shift),
    }


def _largest_sum(rows: np.ndarray, bias: np.ndarray, source: TensorFormat, direct: bool) -> int:
    """The largest magnitude of any partial sum of a layer with weights ``rows [O, K]``, as the kernel adds them."""
    codes = reach(source) if direct else source.qmax
    return int((np.abs(rows.astype(np.int64)).sum(axis=1) * codes + np.abs(bias)).max())


def _matmul(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    op, ((a, b), y) = node.op, lowering.sides(node)
    assert isinstance(op, MatMul)
    wide = any(fmt.is_wide for fmt in (a, b, y))
    left, result = lowering.shapes[node.inputs[0]], lowering.shapes[node.name]
    rows, columns = result[-2:]
    depth = left[-2] if op.transpose_a else left[-1]
    members = scale_members(float(a.scale) * float(b.scale) / float(y.scale), y)
    largest = depth * max(reach(a) * reach(b), 0 if wide else PARTIAL)
    if largest > (INT48_LIMIT if wide else INT32_LIMIT) or (wide and members["shift"] >= WIDE_MANTISSA):
        raise FileError(f"{node.name!r}: sums of {depth} products overflow the integers of C", "Its scales are out of range.")
    if not wide and depth * reach(a) * reach(b) << max(members["shift"], 0) > INT32_LIMIT:
        raise FileError(f"{node.name!r}: its sums times 2^{members['shift']} overflow the integers of C")
    if wide:
        members["multiplier"] = int(fixed_point.reduced(np.array(members["multiplier"])))
    record = step.record(
        "layer", "hws_matmul_layer",
        batches=math.prod(result[:-2]), rows=rows, depth=depth, columns=columns,
        a_row=1 if op.transpose_a else depth, a_step=rows if op.transpose_a else 1,
        b_column=depth if op.transpose_b else 1, b_step=1 if op.transpose_b else columns,
        a_zero=a.zero_point, b_zero=b.zero_point,
        a_bytes=container_bytes(a), b_bytes=container_bytes(b), out_bytes=container_bytes(y), wide=int(wide), **members,
    )  # fmt: skip
    places = [_batched(lowering, node, step, index, result[:-2]) for index in range(2)]
    room = step.scratch(WIDE_BYTES * (1 + columns) * depth if wide else 4 * columns + (MAX_PIXELS + columns) * depth)
    step.calls.append(f"hws_matmul({record}, {places[0]}, {places[1]}, {{out}}, {room});")


def _batched(lowering: Lowering, node: Node, step: LoweredNode, index: int, batches: tuple[int, ...]) -> str:
    """Address of an operand with a matrix of its own for every batch."""
    shape = lowering.shapes[node.inputs[index]]
    if math.prod(shape[:-2]) == math.prod(batches):
        return lowering.input_as(node, step, index, natural(len(shape)))
    whole = (*batches, *shape[-2:])
    return lowering.input_repeated(node, step, index, whole, natural(len(whole)))


LOWERS.put(Lower(_conv), Conv)
LOWERS.put(Lower(_linear), Linear)


def _of_16_bits(node: Node, sources: list[TensorFormat], target: TensorFormat) -> str | None:
    """Codes less their zero must fit 16 bits, with a sign."""
    fits = all(fmt.qmax - fmt.zero_point < 1 << 15 and fmt.zero_point - fmt.qmin <= 1 << 15 for fmt in sources)
    return None if fits else "a product of 16-bit codes whose zero is not in the middle"


LOWERS.put(Lower(_matmul, _of_16_bits), MatMul)
