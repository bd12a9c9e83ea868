"""Handlers (see ``aten``) of comparisons, of what is made of them, and of choices by them.

A comparison of constants is a constant. One of the picture's values is a map of ones and zeros; what is chosen by it is
arithmetic (``searchspaces.ops.maps.jumps``). The numbers of a network are finite, so whether one is infinite or none is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Maximum, Mul, Sub, Where
from searchspaces.ops.maps.jumps import MIRRORED, OPPOSITE, Comparison, Relation
from searchspaces.ops.moves.move import Concat, Gather
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.reduce import Max, Min
from searchspaces.tracing.aten import Value, Walk, arguments, axes_of, handles, packet, shape, tensor_name
from searchspaces.tracing.calls.arithmetic import affine, as_operand
from searchspaces.tracing.calls.masks import hidden, infinite
from searchspaces.tracing.calls.places import written_at

RELATIONS: Mapping[str, Relation] = {
    "gt": ">", "greater": ">", "ge": ">=", "greater_equal": ">=", "lt": "<", "less": "<", "le": "<=", "less_equal": "<=",
    "eq": "==", "ne": "!=", "not_equal": "!=",
}  # fmt: skip


@handles(*(f"{name}.{kind}" for name in RELATIONS for kind in ("Scalar", "Tensor")), becomes=(Comparison, Sub, Add, Affine))
def _compare(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    relation, left, right = RELATIONS[packet(call)], a["self"], a["other"]
    x, y = walk.value(left), walk.value(right)
    if isinstance(x, str) and isinstance(y, str):
        difference = walk.emit(call, Sub(), (tensor_name(walk, left), tensor_name(walk, right)), suffix="difference")
        return walk.emit(call, Comparison(relation), (difference,))
    if not isinstance(x, str):
        left, y, relation = right, x, MIRRORED[relation]
    limit = torch.as_tensor(y, dtype=torch.float64)
    alike = bool((limit == limit.flatten()[0]).all())
    if alike and bool(torch.isinf(limit).all()):
        return _everywhere(call, bool(Comparison(relation).of(-limit, {}).flatten()[0]))
    if not bool(torch.isfinite(limit).all()):
        raise NotRead("compares with infinity, or with what is no number")
    if alike and torch.broadcast_shapes(shape(left), limit.shape) == shape(left):
        return walk.emit(call, Comparison(relation, float(limit.flatten()[0])), (tensor_name(walk, left),))
    difference = walk.emit(call, Sub(), (tensor_name(walk, left),), {"other": limit.float()}, suffix="difference")
    return walk.emit(call, Comparison(relation), (difference,))


@handles("isnan.default", "isinf.default", becomes=())
def _is_not_finite(walk: Walk, call: fx.Node) -> Value:
    return _everywhere(call, False)


def _everywhere(call: fx.Node, value: bool) -> Tensor:
    return torch.full(shape(call), value)


@handles("logical_not.default", "bitwise_not.default", becomes=(Comparison, Affine))
def _not(walk: Walk, call: fx.Node) -> Value:
    return _opposite(walk, call, call.args[0])


def _opposite(walk: Walk, call: fx.Node, mask: Any) -> str:
    """Ones where a mask has zeros."""
    _check_mask(mask)
    name = tensor_name(walk, mask)
    node = walk.node(name)
    if isinstance(node.op, Comparison):
        other = Comparison(OPPOSITE[node.op.relation], node.op.limit)
        return walk.emit(call, other, node.inputs, suffix="" if packet(call).endswith("not") else "opposite")
    return str(affine(walk, call, mask, -1.0, 1.0, suffix="opposite"))


@handles("logical_and.default", "bitwise_and.Tensor", "logical_or.default", "bitwise_or.Tensor", becomes=(Mul, Maximum))
def _both(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    every = "and" in packet(call)
    x, y = walk.value(a["self"]), walk.value(a["other"])
    for mask in (a["self"], a["other"]):
        _check_mask(mask)
    if isinstance(x, str) and isinstance(y, str):
        names = (tensor_name(walk, a["self"]), tensor_name(walk, a["other"]))
        return walk.emit(call, Mul() if every else Maximum(), names)
    source, known = (a["self"], y) if isinstance(x, str) else (a["other"], x)
    constant = {"other": as_operand(torch.as_tensor(known))}
    return walk.emit(call, Mul() if every else Maximum(), (tensor_name(walk, source),), constant)


@handles("any.dim", "any.dims", "all.dim", "all.dims", becomes=(Max, Min))
def _any(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    _check_mask(a["self"])
    name = tensor_name(walk, a["self"])
    axes = axes_of(a["dim"], len(walk.shape(name)))
    return walk.emit(call, (Max if packet(call) == "any" else Min)(axes, bool(a["keepdim"])), (name,))


def _check_mask(mask: Any) -> None:
    if isinstance(mask, fx.Node) and mask.meta["val"].dtype != torch.bool:
        raise NotRead("of what is no comparison")


@handles("where.self", "where.ScalarOther", "where.ScalarSelf", becomes=(Where, Comparison, Mul, Add, Affine))
def _where(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    return _choice(walk, call, a["condition"], a["self"], a["other"])


@handles("masked_fill.Scalar", "masked_fill.Tensor", becomes=(Where, Comparison, Mul, Add, Affine))
def _masked_fill(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    return _choice(walk, call, a["mask"], a["value"], a["self"])


@handles("index_put.default", becomes=(Where, Comparison, Mul, Add, Affine, Gather, Concat))
def _masked_write(walk: Walk, call: fx.Node) -> Value:
    """``x[mask] = value``, or ``x[:, places] = y`` where the places are known beforehand; counted ones are no choice."""
    a = arguments(call)
    (mask, *more) = a["indices"]
    given = [(axis, index) for axis, index in enumerate(a["indices"]) if index is not None]
    if len(given) == 1 and not a["accumulate"] and isinstance(found := walk.value(given[0][1]), Tensor) and found.ndim == 1:
        axis, side = given[0][0], shape(call)[given[0][0]]
        indices = found.nonzero().flatten() if found.dtype == torch.bool else found
        return written_at(walk, call, a["self"], a["values"], axis, [int(place) % side for place in indices])
    whole = isinstance(mask, fx.Node) and mask.meta["val"].dtype == torch.bool and shape(mask) == shape(a["self"])
    if more or a["accumulate"] or not whole or torch.Size(shape(a["values"])).numel() != 1:
        raise NotRead("writes to places that it counts")
    return _choice(walk, call, mask, a["values"], a["self"])


@handles("threshold.default", becomes=(Comparison, Mul, Add))
def _threshold(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    mask = walk.emit(call, Comparison(">", float(a["threshold"])), (tensor_name(walk, a["self"]),), suffix="above")
    kept = walk.emit(call, Mul(), (tensor_name(walk, a["self"]), mask), suffix="kept")
    if not a["value"]:
        return kept
    opposite = walk.emit(call, Comparison("<=", float(a["threshold"])), (tensor_name(walk, a["self"]),), suffix="below")
    other = walk.emit(call, Mul(), (opposite,), {"other": torch.tensor([float(a["value"])])}, suffix="value")
    return walk.emit(call, Add(), (kept, other))


def _choice(walk: Walk, call: fx.Node, condition: Any, yes: Any, no: Any) -> Value:
    """``yes`` where a condition holds, ``no`` elsewhere."""
    mask, x, y = walk.value(condition), walk.value(yes), walk.value(no)
    if isinstance(mask, Tensor):
        return _by_place(walk, call, mask, yes, no)
    parts = []
    for value, given, held in ((x, yes, True), (y, no, False)):
        if isinstance(value, str):
            factor = tensor_name(walk, condition) if held else _opposite(walk, call, condition)
            parts.append(walk.emit(call, Mul(), (tensor_name(walk, given), factor), suffix="yes" if held else "no"))
            continue
        constant = torch.as_tensor(value, dtype=torch.float64)
        if not bool(torch.isfinite(constant).all()):
            raise NotRead("fills with infinity where values of the picture decide")
        if bool((constant != 0).any()):
            factor = tensor_name(walk, condition) if held else _opposite(walk, call, condition)
            other = {"other": as_operand(constant)}
            parts.append(walk.emit(call, Mul(), (factor,), other, suffix="yes" if held else "no"))
    if not parts:
        return torch.zeros(shape(call))
    return parts[0] if len(parts) == 1 else walk.emit(call, Add(), (parts[0], parts[1]))


def _by_place(walk: Walk, call: fx.Node, mask: Tensor, yes: Any, no: Any) -> Value:
    """The same, where the condition is a constant."""
    x, y = walk.value(yes), walk.value(no)
    if isinstance(x, str) and isinstance(y, str):
        return walk.emit(call, Where(), (tensor_name(walk, yes), tensor_name(walk, no)), {"mask": mask})
    source, constant, kept = (yes, y, mask) if isinstance(x, str) else (no, x, ~mask.bool())
    other, name = as_operand(torch.as_tensor(constant)), tensor_name(walk, source)
    if not bool((~kept.bool()).any()) and torch.broadcast_shapes(other.shape, kept.shape, shape(source)) == shape(source):
        return name
    places = infinite(call, other)
    if places is None:
        return walk.emit(call, Where(), (name,), {"mask": kept, "other": other})
    places = places & ~kept.bool()
    if not bool((kept.bool() | places).all()):
        name = walk.emit(call, Where(), (name,), {"mask": kept, "other": other.masked_fill(torch.isinf(other), 0.0)})
    return hidden(walk, call, name, places)
