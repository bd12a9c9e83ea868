"""Many values become one: means, deviations, largest values and means of windows; and softmax."""

from __future__ import annotations

import math

import numpy as np

from hwmodels.errors import FileError
from hwsearch.formats.c.calls.lowering import LOWERS, Lower, LoweredNode, Lowering, container_bytes, real, rounded, scale_members
from hwsearch.formats.c.calls.places import LAST, inner_axis
from hwsearch.quant.engine.fixed_point import quantize_multiplier
from hwsearch.quant.engine.operators import reduction, softmax
from hwsearch.quant.engine.steps import codes
from searchspaces.ir.graph import Node
from searchspaces.ops.reductions.reduce import AvgPool, Max, MaxPool, Mean, Min, Reduction, Std, Sum, Var, WindowPool
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
    assert isinstance(op, Std | Var)
    address, sizes = _reduced(lowering, node, step)
    record = step.record(
        "layer", "hws_std_layer", **sizes, in_zero=source.zero_point, in_bytes=container_bytes(source),
        out_bytes=container_bytes(target), correction=op.correction, squared=int(isinstance(op, Var)),
        in_scale=real(source.scale), **rounded(target),
    )  # fmt: skip
    step.calls.append(f"hws_std({record}, {address}, {{out}});")


REDUCED: dict[type[Reduction], str] = {Sum: "TOTAL", Max: "LARGEST", Min: "SMALLEST"}


def _of_all(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    (source,), target = lowering.sides(node)
    assert isinstance(node.op, Reduction)
    address, sizes = _reduced(lowering, node, step)
    record = step.record(
        "layer", "hws_reduce_layer", function=f"HWS_{REDUCED[type(node.op)]}", **sizes, in_zero=source.zero_point,
        in_bytes=container_bytes(source), out_bytes=container_bytes(target), in_scale=real(source.scale), **rounded(target),
    )  # fmt: skip
    step.calls.append(f"hws_reduce({record}, {address}, {{out}});")


def _window(lowering: Lowering, node: Node, size: int) -> dict[str, int]:
    """Members of ``hws_pool_layer``; ``size``: bytes of a code."""
    op = node.op
    assert isinstance(op, WindowPool)
    (channels, in_h, in_w), (_, out_h, out_w) = lowering.picture(node.inputs[0]), lowering.picture(node.name)
    return {
        "in_h": in_h, "in_w": in_w, "out_h": out_h, "out_w": out_w, "channels": channels,
        "kernel_h": op.kernel[0], "kernel_w": op.kernel[1], "stride_h": op.stride[0], "stride_w": op.stride[1],
        "pad_top": op.padding[0], "pad_left": op.padding[1], "bytes": size,
    }  # fmt: skip


def _max_pool(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    _, target = lowering.sides(node)
    address = lowering.input_as(node, step, 0, LAST)
    record = step.record("layer", "hws_pool_layer", **_window(lowering, node, container_bytes(target)))
    lowering.each_picture(node, step, address, lambda x, y: f"hws_max_pool({record}, {x}, {y});")
    lowering.clamp(node, step)


def _average_pool(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    op, ((source,), target) = node.op, lowering.sides(node)
    assert isinstance(op, AvgPool)
    address = lowering.input_as(node, step, 0, LAST)
    members = {f"window.{key}": value for key, value in _window(lowering, node, container_bytes(source)).items()}
    record = step.record(
        "layer", "hws_average_layer", **members, count_padding=int(op.count_padding), in_scale=real(source.scale),
        in_zero=source.zero_point, in_bytes=container_bytes(source), out_bytes=container_bytes(target), **rounded(target),
    )  # fmt: skip
    lowering.each_picture(node, step, address, lambda x, y: f"hws_average_pool({record}, {x}, {y});")


def _softmax(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    op, ((source,), target) = node.op, lowering.sides(node)
    assert isinstance(op, Softmax)
    rank = len(lowering.shapes[node.name])
    address, rows, length = lowering.rows(node, step, inner_axis(rank, op.axis))
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


LOWERS.put(Lower(_mean), Mean)
LOWERS.put(Lower(_std), Std, Var)
LOWERS.put(Lower(_of_all), *REDUCED)
LOWERS.put(Lower(_max_pool), MaxPool)
LOWERS.put(Lower(_average_pool), AvgPool)
LOWERS.put(Lower(_softmax), Softmax)
