"""Normalizations: integers outside, single precision inside.

Layer normalization adds in the order of the engine, so its codes are equal. Of the others the sums are exact here and rounded in
the order of torch there, which tips a code now and then.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hwsearch.formats.c.calls.lowering import LOWERS, Lower, LoweredNode, Lowering, container_bytes, real, rounded
from hwsearch.formats.c.calls.places import inner_axis
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.reductions.norm import GroupNorm, InstanceNorm, LayerNorm, RmsNorm, UnitNorm

SUMMED_OTHERWISE = (GroupNorm, InstanceNorm, RmsNorm, UnitNorm)
"""Normalizations whose sums have other roundings than the engine's."""


def _factors(node: Node, step: LoweredNode, length: int) -> dict[str, str]:
    """Members that scale and shift each of ``length`` values."""
    weight, bias = (node.weights.get(role) for role in ("weight", "bias"))
    gamma = np.ones(length, np.float32) if weight is None else weight.numpy().reshape(-1)
    beta = np.zeros(length, np.float32) if bias is None else bias.numpy().reshape(-1)
    return {"gamma": step.array("gamma", "float", gamma), "beta": step.array("beta", "float", beta)}


def _ends(source: TensorFormat, target: TensorFormat) -> dict[str, Any]:
    return {
        "in_scale": real(source.scale), "in_zero": source.zero_point, "in_bytes": container_bytes(source),
        "out_bytes": container_bytes(target), **rounded(target),
    }  # fmt: skip


def _of_rows(function: str) -> Lower:
    def lower(lowering: Lowering, node: Node, step: LoweredNode) -> None:
        op, ((source,), target) = node.op, lowering.sides(node)
        assert isinstance(op, LayerNorm | RmsNorm | UnitNorm)
        address, rows, length = lowering.rows(node, step, inner_axis(len(lowering.shapes[node.name]), op.axes[0]))
        factors = {} if isinstance(op, UnitNorm) else _factors(node, step, length)
        record = step.record(
            "layer", "hws_norm_layer", rows=rows, length=length, epsilon=real(op.eps), **_ends(source, target), **factors
        )
        step.calls.append(f"{function}({record}, {address}, {{out}});")

    return Lower(lower, _one_axis)


def _of_pictures(lowering: Lowering, node: Node, step: LoweredNode) -> None:
    op, ((source,), target) = node.op, lowering.sides(node)
    assert isinstance(op, GroupNorm | InstanceNorm)
    shape = lowering.shapes[node.name]
    channels = shape[1]
    groups = op.groups if isinstance(op, GroupNorm) else channels
    record = step.record(
        "layer", "hws_norm_layer", rows=math.prod(shape[2:]), length=channels, epsilon=real(op.eps), **_ends(source, target),
        **_factors(node, step, channels),
    )  # fmt: skip
    address = lowering.input_as(node, step, 0, inner_axis(len(shape), 1))
    lowering.each_picture(node, step, address, lambda x, y: f"hws_group_norm({record}, {x}, {y}, {groups});")


def _one_axis(node: Node, sources: list[TensorFormat], target: TensorFormat) -> str | None:
    op = node.op
    assert isinstance(op, LayerNorm | RmsNorm | UnitNorm)
    if len(op.axes) != 1:
        return "a normalization over several axes"
    return _divides(node, sources, target)


def _divides(node: Node, sources: list[TensorFormat], target: TensorFormat) -> str | None:
    assert isinstance(node.op, GroupNorm | InstanceNorm | LayerNorm | RmsNorm | UnitNorm)
    return None if np.float32(node.op.eps) > 0 else "a normalization that may divide by zero"


LOWERS.put(_of_rows("hws_layer_norm"), LayerNorm)
LOWERS.put(_of_rows("hws_unit_norm"), UnitNorm)
LOWERS.put(_of_rows("hws_rms_norm"), RmsNorm)
LOWERS.put(Lower(_of_pictures, _divides), GroupNorm)
LOWERS.put(Lower(_of_pictures, _divides), InstanceNorm)
