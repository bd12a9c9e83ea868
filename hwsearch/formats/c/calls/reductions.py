"""Many values become one, and normalizations: means, deviations, largest values of windows, softmax, layer normalization."""

from __future__ import annotations

import math

import numpy as np

from hwmodels.errors import FileError
from hwsearch.formats.c.calls.lowering import LOWERS, Lower, LoweredNode, Lowering, container_bytes, real, rounded, scale_members
from hwsearch.formats.c.calls.places import LAST, Order, inner_axis
from hwsearch.quant.engine.fixed_point import quantize_multiplier
from hwsearch.quant.engine.operators import reduction, softmax
from hwsearch.quant.engine.steps import codes
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.reductions.norm import LayerNorm, UnitNorm
from searchspaces.ops.reductions.reduce import MaxPool, Mean, Reduction, Std
from searchspaces.ops.reductions.softmax import Softmax


def _reduced(lowering: Lowering, node: Node, step: LoweredNode) -> tuple[str, dict[str, int]]:
    """Address of the input, and members of a record: ``outer`` blocks of ``count`` values, ``inner`` apart, one of which becomes
    one. Axes that do not lie together are brought behind the others."""
    op, name = node.op, node.inputs[0]
    assert isinstance(op, Reduction)
    shape, order = lowering.shapes[name], lowering.orders[name]
    over = {axis % len(shape) for axis in op.axes}
    places = sorted(order.index(axis) for axis in over)
    if places != list(range(places[0], places[0] + len(places))):
        order = (*(axis for axis in order if axis not in over), *sorted(over))
        places = list(range(len(shape) - len(over), len(shape)))
    address = lowering.input_as(node, step, 0, order)
    before, those, behind = order[: places[0]], order[places[0] : places[-1] + 1], order[places[-1] + 1 :]
    sizes = {"outer": before, "count": those, "inner": behind}
    return address, {key: math.prod(shape[axis] for axis in axes) for key, axes in sizes.items()}


def _mean(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    (source,), target = lowering.sides(node)
    address, sizes = _reduced(lowering, node, step)
    form = codes.stored if codes.narrow(source, target) else codes.widened
    if not reduction.fits(sizes["count"], form(source)):
        raise FileError(f"{node.name!r}: a mean of {sizes['count']} values overflows the integers of C", "Use a smaller tile.")
    multiplier, shift = quantize_multiplier(float(source.scale) / float(target.scale))
    spare = min(sizes["count"].bit_length() - 1, 32, 31 + shift)
    members = scale_members(1.0, target) | {"multiplier": (multiplier << spare) // sizes["count"], "shift": shift - spare}
    layer = {"in_zero": source.zero_point, "in_bytes": container_bytes(source), "out_bytes": container_bytes(target)}
    record = step.record("layer", "hws_mean_layer", **sizes, **layer, **members)
    step.calls.append(f"hws_mean({record}, {address}, {{out}});")


def _std(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    op, ((source,), target) = node.op, lowering.sides(node)
    assert isinstance(op, Std)
    address, sizes = _reduced(lowering, node, step)
    record = step.record(
        "layer", "hws_std_layer", **sizes, in_zero=source.zero_point, in_bytes=container_bytes(source),
        out_bytes=container_bytes(target), correction=op.correction, in_scale=real(source.scale),
        **rounded(target),
    )  # fmt: skip
    step.calls.append(f"hws_std({record}, {address}, {{out}});")


def _max_pool(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    op, (_, target) = node.op, lowering.sides(node)
    assert isinstance(op, MaxPool)
    address = lowering.input_as(node, step, 0, LAST)
    (channels, in_h, in_w), (_, out_h, out_w) = lowering.picture(node.inputs[0]), lowering.picture(node.name)
    record = step.record(
        "layer", "hws_pool_layer", in_h=in_h, in_w=in_w, out_h=out_h, out_w=out_w, channels=channels,
        kernel_h=op.kernel[0], kernel_w=op.kernel[1], stride_h=op.stride[0], stride_w=op.stride[1],
        pad_top=op.padding[0], pad_left=op.padding[1], bytes=container_bytes(target),
    )  # fmt: skip
    lowering.each_picture(node, step, address, lambda x, y: f"hws_max_pool({record}, {x}, {y});")
    lowering.clamp(node, step)


def _rows(lowering: Lowering, node: Node, step: LoweredNode, order: Order) -> tuple[str, int, int]:
    """Address of the input in ``order``, how many rows it has, and how long they are."""
    length = lowering.shapes[node.inputs[0]][order[-1]]
    return lowering.input_as(node, step, 0, order), lowering.elements(node.inputs[0]) // length, length


def _softmax(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    op, ((source,), target) = node.op, lowering.sides(node)
    assert isinstance(op, Softmax)
    rank = len(lowering.shapes[node.name])
    address, rows, length = _rows(lowering, node, step, inner_axis(rank, op.axis))
    wide = not codes.narrow(source, target)
    if length > (softmax.LONGEST_16 if wide else softmax.LONGEST):
        raise FileError(f"{node.name!r}: a softmax over {length} values overflows the integers of C", "Use a smaller tile.")
    own = softmax.OUTPUTS["int16" if wide else "int8"]
    # Codes of ``own`` count from zero here, and are brought to the grid of the output.
    members = scale_members(float(own.step) / float(target.scale), target)
    members |= {"rows": rows, "length": length, "in_bytes": container_bytes(source), "out_bytes": container_bytes(target)}
    if wide:
        exponential, inverse = softmax.nodes_16("tflm")
        place, moved = quantize_multiplier(float(np.float32(source.scale)) / (10.0 / 65535.0))
        record = step.record(
            "layer", "hws_softmax_layer",
            wide_exponential=step.array("exponential", "int16_t", exponential),
            wide_inverse=step.array("inverse", "int16_t", inverse),
            place_multiplier=place, place_shift=moved, **members,
        )  # fmt: skip
        step.calls.append(f"hws_softmax_wide({record}, {address}, {{out}}, {step.scratch(length * 2)});")
        return
    exponential, narrow = softmax.exponentials_8(float(np.float32(source.scale)), 1.0)
    record = step.record(
        "layer", "hws_softmax_layer",
        exponential=step.array("exponential", "int32_t", exponential), narrow=step.array("narrow", "int32_t", narrow),
        **members,
    )  # fmt: skip
    step.calls.append(f"hws_softmax({record}, {address}, {{out}});")


def _layer_norm(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    length = lowering.shapes[node.name][_axis(node)]
    weight, bias = (node.weights.get(role) for role in ("weight", "bias"))
    gamma = np.ones(length, np.float32) if weight is None else weight.numpy().reshape(-1)
    beta = np.zeros(length, np.float32) if bias is None else bias.numpy().reshape(-1)
    members = {"gamma": step.array("gamma", "float", gamma), "beta": step.array("beta", "float", beta)}
    _norm(lowering, node, step, "hws_layer_norm", **members)


def _unit_norm(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    _norm(lowering, node, step, "hws_unit_norm")


def _axis(node: Node) -> int:
    assert isinstance(node.op, LayerNorm | UnitNorm)
    return node.op.axes[0]


def _norm(lowering: Lowering, node: Node, step: LoweredNode, function: str, **members: str) -> None:
    op, ((source,), target) = node.op, lowering.sides(node)
    assert isinstance(op, LayerNorm | UnitNorm)
    address, rows, length = _rows(lowering, node, step, inner_axis(len(lowering.shapes[node.name]), _axis(node)))
    record = step.record(
        "layer", "hws_norm_layer", rows=rows, length=length, epsilon=real(op.eps), in_scale=real(source.scale),
        in_zero=source.zero_point, in_bytes=container_bytes(source), out_bytes=container_bytes(target), **rounded(target),
        **members,
    )  # fmt: skip
    step.calls.append(f"{function}({record}, {address}, {{out}});")


def _one_axis(node: Node, sources: list[TensorFormat], target: TensorFormat) -> str | None:
    op = node.op
    assert isinstance(op, LayerNorm | UnitNorm)
    if len(op.axes) != 1:
        return "a normalization over several axes"
    return None if np.float32(op.eps) > 0 else "a normalization that may divide by zero"


LOWERS.put(Lower(_mean), Mean)
LOWERS.put(Lower(_std), Std)
LOWERS.put(Lower(_max_pool), MaxPool)
LOWERS.put(Lower(_softmax), Softmax)
LOWERS.put(Lower(_layer_norm, _one_axis), LayerNorm)
LOWERS.put(Lower(_unit_norm, _one_axis), UnitNorm)
