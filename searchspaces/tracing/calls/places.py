"""Handlers (see ``aten``) of reads and writes at places along one axis that the network knows beforehand.

The places of a picture's own values are no such ones: they are refused where they are computed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.moves.move import Concat, Gather, Permute, Reshape
from searchspaces.ops.reading import NotRead
from searchspaces.tracing.aten import Value, Walk, arguments, handles, shape, tensor_name
from searchspaces.tracing.calls.arithmetic import as_operand, narrowed
from searchspaces.tracing.refusals import OWN_PLACES


def _places(walk: Walk, index: Any, axis: int, side: int, *, whole: tuple[int, ...] | None = None) -> list[int]:
    """A constant index along an axis of ``side`` places. ``whole``: the index has a place for every value of a tensor of these
    sides; all that lie alike along the axis must be the same."""
    found = walk.value(index)
    if not isinstance(found, Tensor):
        raise NotRead(OWN_PLACES if whole is not None else "an index that depends on the picture")
    if whole is not None:
        if tuple(found.shape) != whole:
            raise NotRead("places for a part of the values")
        first = found.movedim(axis, 0).flatten(1)
        if bool((first != first[:, :1]).any()):
            raise NotRead(OWN_PLACES)
        found = first[:, 0]
    if found.ndim != 1 or found.dtype == torch.bool:
        raise NotRead("an index of several axes")
    return [int(place) % side for place in found]


def written_at(walk: Walk, call: fx.Node, before: Any, source: Any, axis: int, places: list[int]) -> Value:
    """The tensor ``before`` with the places of ``source`` in those named; of two for one place the last stands."""
    if not isinstance(walk.value(source), str):
        raise NotRead("writes constants into a tensor that is computed")
    side = shape(call)[axis]
    new, wanted = tensor_name(walk, source), (*shape(call)[:axis], len(places), *shape(call)[axis + 1 :])
    if torch.Size(walk.shape(new)).numel() != torch.Size(wanted).numel():
        raise NotRead("writes one value to several places")
    if walk.shape(new) != wanted:  # axes of size 1 in front may lack
        new = walk.emit(call, Reshape(wanted), (new,), suffix="view")
    order = {place: number for number, place in enumerate(places)}
    if len(order) == side:
        return walk.emit(call, Gather(tuple(order[place] for place in range(side)), axis), (new,))
    if not isinstance(walk.value(before), str):
        raise NotRead("writes to some places of a constant")
    both = walk.emit(call, Concat(axis), (tensor_name(walk, before), new), suffix="both")
    return walk.emit(call, Gather(tuple(side + order[p] if p in order else p for p in range(side)), axis), (both,))


@handles("index_copy.default", becomes=(Gather, Concat))
def _index_copy(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    axis = int(a["dim"]) % len(shape(call))
    return written_at(walk, call, a["self"], a["source"], axis, _places(walk, a["index"], axis, shape(call)[axis]))


@handles("scatter.src", becomes=(Gather, Concat))
def _scatter(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    axis = int(a["dim"]) % len(shape(call))
    places = _places(walk, a["index"], axis, shape(call)[axis], whole=shape(a["src"]))
    return written_at(walk, call, a["self"], a["src"], axis, places)


@handles("gather.default", "take_along_dim.default", becomes=(Gather,))
def _gather(walk: Walk, call: fx.Node) -> Value:
    a = arguments(call)
    rank = len(shape(call))
    axis = int(a["dim"]) % rank if a["dim"] is not None else 0
    index = walk.value(a.get("index", a.get("indices")))
    if "indices" in a and isinstance(index, Tensor) and a["dim"] is not None:
        index = torch.broadcast_to(index, shape(call))  # along other axes it may have one place for all
    places = _places(walk, index, axis, shape(a["self"])[axis], whole=shape(call))
    if any(shape(a["self"])[other] != shape(call)[other] for other in range(rank) if other != axis):
        raise NotRead("places for a part of the values")
    return walk.emit(call, Gather(tuple(places), axis), (tensor_name(walk, a["self"]),))


@handles("index_add.default", "scatter_add.default", becomes=(Conv, Linear, Permute, Add))
def _index_add(walk: Walk, call: fx.Node) -> Value:
    """What lies at the places of one number is summed: a matrix of ones and zeros."""
    a = arguments(call)
    axis, source = int(a["dim"]) % len(shape(call)), a.get("source", a.get("src"))
    whole = shape(source) if "src" in a else None
    side = shape(call)[axis]
    places = _places(walk, a["index"], axis, side, whole=whole)
    matrix = torch.zeros(side, len(places))
    matrix[places, torch.arange(len(places))] = float(a.get("alpha", 1))
    name, rank = tensor_name(walk, source), len(shape(call))
    if axis == 1 and rank == 4:
        name = walk.emit(call, Conv(), (name,), {"weight": matrix[:, :, None, None]}, suffix="sum")
    else:
        last = (*(other for other in range(rank) if other != axis), axis)
        name = walk.emit(call, Permute(last), (name,), suffix="turned")
        name = walk.emit(call, Linear(), (name,), {"weight": matrix}, suffix="sum")
        name = walk.emit(call, Permute(tuple(last.index(other) for other in range(rank))), (name,), suffix="back")
    before = walk.value(a["self"])
    if isinstance(before, str):
        return walk.emit(call, Add(), (tensor_name(walk, a["self"]), name))
    if not bool((before != 0).any()):
        return name
    return walk.emit(call, Add(), (name,), {"other": as_operand(narrowed(before, shape(call)))})
