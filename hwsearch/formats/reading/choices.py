"""Comparisons of a file's values, and choices by them, as every reader builds them.

What is chosen by the values of a picture is arithmetic with maps of ones and zeros (``searchspaces.ops.maps.jumps``).
"""

from __future__ import annotations

import numpy as np

from hwsearch.formats.reading.builder import Builder, Map, as_weight
from searchspaces.ops.maps.elementwise import Add, Mul, Sub, Where
from searchspaces.ops.maps.jumps import MIRRORED, OPPOSITE, Comparison, Relation
from searchspaces.ops.reading import NotRead
from searchspaces.tracing.calls.masks import FAR

Operand = Map | np.ndarray


def compared(walk: Builder, name: str, relation: Relation, left: Operand, right: Operand) -> Map:
    """Ones where ``left`` has the relation to ``right``, zeros elsewhere; at least one of them is a value of the picture."""
    if isinstance(left, Map) and isinstance(right, Map):
        difference = walk.pointwise(f"{name}.difference", Sub(), [left, right])
        return walk.pointwise(name, Comparison(relation), [difference])
    if isinstance(left, np.ndarray):
        left, right, relation = right, left, MIRRORED[relation]
    assert isinstance(left, Map)
    assert isinstance(right, np.ndarray)
    limit = float(right.reshape(-1)[0])
    if right.size == 1 and np.isfinite(limit):
        return walk.pointwise(name, Comparison(relation, limit), [left])
    if not np.isfinite(right).all():
        raise NotRead("compares with infinity, or with what is no number")
    difference = walk.scaled(f"{name}.difference", left, 1.0, -right)
    return walk.pointwise(name, Comparison(relation), [difference])


def opposite(walk: Builder, name: str, mask: Map) -> Map:
    """Ones where a mask has zeros."""
    node = walk.nodes[mask.name]
    if isinstance(node.op, Comparison):
        other = Comparison(OPPOSITE[node.op.relation], node.op.limit)
        return Map(walk.emit(name, other, node.inputs), mask.axes)
    return walk.scaled(name, mask, -1.0, 1.0)


def chosen(walk: Builder, name: str, mask: Operand, yes: Operand, no: Operand) -> Map:
    """``yes`` where a mask is not zero, ``no`` elsewhere.

    Raises:
        NotRead: all of them are constants, or infinity is chosen by values of the picture.
    """
    if isinstance(mask, np.ndarray):
        return _by_place(walk, name, mask, yes, no)
    parts: list[Map] = []
    for value, word in ((yes, "yes"), (no, "no")):
        if isinstance(value, np.ndarray) and not np.isfinite(value).all():
            raise NotRead("fills with infinity where values of the picture decide")
        if isinstance(value, np.ndarray) and not value.any():
            continue
        factor = mask if word == "yes" else opposite(walk, f"{name}.opposite", mask)
        if isinstance(value, Map):
            parts.append(walk.pointwise(f"{name}.{word}", Mul(), [value, factor]))
        else:
            parts.append(walk.scaled(f"{name}.{word}", factor, value, 0.0))
    if not parts:
        return walk.scaled(name, mask, 0.0, 0.0)
    return parts[0] if len(parts) == 1 else walk.pointwise(name, Add(), parts)


def _by_place(walk: Builder, name: str, mask: np.ndarray, yes: Operand, no: Operand) -> Map:
    """The same, where the mask is a constant."""
    if isinstance(yes, Map) and isinstance(no, Map):
        return walk.pointwise(name, Where(), [yes, no], {"mask": as_weight(mask)})
    source, constant, kept = (yes, no, mask.astype(bool)) if isinstance(yes, Map) else (no, yes, ~mask.astype(bool))
    if not isinstance(source, Map) or not isinstance(constant, np.ndarray):
        raise NotRead("of constants")
    if np.isneginf(constant).any():
        return hidden(walk, name, source, np.isneginf(constant) & ~kept, np.where(np.isneginf(constant), 0.0, constant), kept)
    if not np.isfinite(constant).all():
        raise NotRead("fills with infinity, which no format holds")
    return walk.pointwise(name, Where(), [source], {"mask": as_weight(kept), "other": as_weight(constant)})


def hidden(walk: Builder, name: str, scores: Map, places: np.ndarray, other: np.ndarray, kept: np.ndarray) -> Map:
    """Scores of attention of which softmax shall make nothing at ``places``; ``other`` where neither is to be ``kept``. Whether
    a softmax reads them is not looked up here: the comparison of the graph with the file would show it."""
    if not (kept | places).all():
        scores = walk.pointwise(f"{name}.kept", Where(), [scores], {"mask": as_weight(kept), "other": as_weight(other)})
    return walk.scaled(name, scores, 1.0, np.where(places, FAR, 0.0))
