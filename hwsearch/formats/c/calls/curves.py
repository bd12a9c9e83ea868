"""Functions of one value: tables of codes, and bounds and slopes of 16 bits, which are computed on real values.

Of 8-bit codes every function is a table. Of 16-bit codes it is what TensorFlow Lite Micro keeps where that has a kernel: 513
places with straight lines between, or its logistic function; any other is a table of all codes, as it is in the engine: 128 KiB
of constants for each such operator, or 64 where it writes bytes. Prices count all of them (``hwmodels.pricing.constants_c``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from hwsearch.formats.c.calls.lowering import LOWERS, Lower, LoweredNode, Lowering, container_bytes, real, rounded, scale_members
from hwsearch.formats.c.calls.maps import RULE
from hwsearch.quant.engine.fixed_point import quantize_multiplier
from hwsearch.quant.engine.operators import activation, lookup, softmax
from hwsearch.quant.engine.steps import Site, codes, functions, prepared
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.maps.activation import Abs, Activation, Clip, LeakyRelu, Neg, Relu, Relu6, Sigmoid, Silu, Tanh, bounds

BENDS = (Relu, Relu6, Clip, LeakyRelu, Abs, Neg)
"""Functions of 16-bit codes that are a bound or a slope."""
FARTHEST = float(np.finfo(np.float32).max)
INT16_MOST, INT32_MOST = 2**15 - 1, 2**31 - 1
CURVES: dict[type[Activation], str] = {Sigmoid: "LOGISTIC", Tanh: "TANH", Silu: "SILU"}
"""Functions of 16-bit codes that have a kernel of their own."""


def _unary(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    (source,), target = lowering.sides(node)
    if not source.is_wide:
        _table(lowering, node, step)
    elif isinstance(node.op, BENDS):
        _bend(lowering, node, step)
    elif (lines := _nodes(node, source, target)) is not None:
        nodes, members = lines
        table = step.array("table", "int16_t", nodes)
        record = step.record("layer", "hws_lookup_wide_layer", table=table, out_bytes=container_bytes(target), **members)
        _call(lowering, node, step, f"hws_lookup_wide({record}, {{0}}, {{{{out}}}}, {{1}});")
    elif (curve := _curve(node, source, target)) is not None:
        record = step.record("layer", "hws_curve_layer", **curve)
        _call(lowering, node, step, f"hws_curve({record}, (const uint16_t *)(const void *)({{0}}), {{{{out}}}}, {{1}});")
    else:
        _table(lowering, node, step)


def _call(lowering: Lowering, node: Node, step: LoweredNode, call: str) -> None:
    """Add a call with the input's address and the number of elements in place of ``{0}`` and ``{1}``."""
    place = lowering.input_as(node, step, 0, lowering.orders[node.name])
    step.calls.append(call.format(place, lowering.elements(node.name)))


def _table(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    """What the engine answers to every code."""
    (source,), target = lowering.sides(node)
    size = container_bytes(target)
    every = torch.arange(source.grid.last_code + 1, dtype=torch.float32)
    run = prepared(Site(node, [source], target, None, RULE))
    found = target.shifted(run([source.carried(every - source.zero_point)])).long() + target.zero_point
    table = step.array("table", "uint8_t" if size == 1 else "uint16_t", found.numpy())
    if source.is_wide:
        _call(
            lowering,
            node,
            step,
            f"hws_lookup_every((const uint16_t *)(const void *)({{0}}), {table}, {{{{out}}}}, {{1}}, {size});",
        )
    else:
        _call(lowering, node, step, f"hws_lookup({{0}}, {table}, {{{{out}}}}, {{1}}, {size});")


def _bend(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    (source,), target = lowering.sides(node)
    assert isinstance(node.op, Activation)
    low, high = bounds(node.op)
    record = step.record(
        "layer", "hws_bend_layer", in_zero=source.zero_point, in_bytes=container_bytes(source),
        in_scale=real(-source.scale if isinstance(node.op, Neg) else source.scale), slope=real(_below_zero(node.op)),
        low=real(max(low, -FARTHEST)), high=real(min(high, FARTHEST)), out_bytes=container_bytes(target), **rounded(target),
    )  # fmt: skip
    _call(lowering, node, step, f"hws_bend({record}, {{0}}, {{{{out}}}}, {{1}});")


def _below_zero(op: Activation) -> float:
    """The slope of what ``BENDS`` lists, below zero."""
    match op:
        case LeakyRelu(slope=slope):
            return slope
        case Abs():
            return -1.0
    return 1.0


def _nodes(node: Node, source: TensorFormat, target: TensorFormat) -> tuple[np.ndarray, dict[str, int]] | None:
    """The 513 places that TFLite keeps of a function of 16-bit codes, and the members of a record that take what lies between
    them to codes of ``target``; None where the engine computes it otherwise."""
    assert isinstance(node.op, Activation)
    found = None if type(node.op) in CURVES else functions.kernel(node.op, RULE, wide=True)
    if found is None:
        return None
    grid = replace(functions.written_on(node.op, target, wide=True), low=None, high=None)
    try:
        entries = found(functions.read_on(node.op, source, RULE, wide=True), grid, "tflm").astype(np.int64)
    except ValueError:  # steps for which the kernel has no multiplier
        return None
    nodes = lookup.places_of(entries)
    # The codes of ``grid`` have no zero point: they are brought to the container of the output.
    return None if nodes is None else (nodes, scale_members(float(grid.step) / float(target.scale), target))


def _curve(node: Node, source: TensorFormat, target: TensorFormat) -> dict[str, int | str] | None:
    """Members of a record that tell how a function comes from the logistic one; None where the engine computes it otherwise."""
    op = node.op
    assert isinstance(op, Activation)
    kind = CURVES.get(type(op))
    if kind is None or functions.table(op, source, target, RULE) is None:
        return None
    x, own = codes.stored(source), softmax.OUTPUTS["int16"]
    multiplier, shift = activation.on_line(x, functions.POWERS[type(op)])
    if multiplier > INT16_MOST:
        return None
    members: dict[str, int | str] = {
        "function": f"HWS_{kind}", "place_multiplier": multiplier, "place_shift": shift, "in_zero": source.zero_point,
        "out_bytes": container_bytes(target),
    }  # fmt: skip
    y = functions.written_on(op, target, wide=True)
    if isinstance(op, Silu):
        gate, up = quantize_multiplier(float(x.step) * float(own.step) / float(y.step))
        if x.reach << 15 << max(up, 0) > INT32_MOST:
            return None
        low, high = (bound - y.zero_point for bound in y.bounds)
        members |= {"gate_multiplier": gate, "gate_shift": up, "gate_min": low, "gate_max": high}
    return members | scale_members(float(y.step) / float(target.scale), target)


LOWERS.put(Lower(_unary), Activation)
