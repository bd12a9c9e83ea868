"""For which pictures a file's network is: any, multiples of something, or one size.

A file is read at one size after another; where numbers of the graph follow the picture's sides, the formula is sought that gives
all of them (``tracing.formulas``). A formula is believed when it gives the graph of a third size, operator by operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from hwsearch.formats.reading.builder import Builder
from searchspaces.data.scale import FINEST
from searchspaces.ir.graph import Graph, Node
from searchspaces.ir.shapes import shapes
from searchspaces.ir.simplify import simplify
from searchspaces.ops.moves.move import Expand, Reshape
from searchspaces.tracing import thresholds
from searchspaces.tracing.formulas import WINDOWS, Differs, TraceSize, joined
from searchspaces.tracing.sizes import SQUARES, STEPS, Size, multiples
from searchspaces.tracing.thresholds import rounded

Rewalk = Callable[[TraceSize], tuple[Builder, list[Node]]]
"""Reads the file at a size: what was built, and the nodes that the output depends on, not yet simplified."""
FREE: tuple[Size, ...] = ((24, 32), (40, 28), (36, 44))
"""Sizes that are tried first where a file takes any."""
PROBES: Mapping[int, tuple[Size, ...]] = {1: ((23, 29), (31, 26)), 2: ((22, 26), (34, 38)), 4: FREE[2:]}
"""Multiple -> sizes at which it shows whether sides must be one of it; the first sizes are multiples of four."""
LARGE = thresholds.LARGE[1:-1]
"""Larger ones, at which a file may decide otherwise (``if height > 256``); what it computes from sizes is computed there."""
COARSER: tuple[int, ...] = (*range(1, FINEST + 1), 32, 64)
"""Multiples that are tried: of windows and strides, and the denominators of fractional scales."""


def fixed(name: str, walk: Rewalk, size: Size) -> tuple[Graph, Builder]:
    """The graph of a file that is for pictures of ``size``. Where nothing in it knows that size, it is one for all."""
    built, nodes = walk(TraceSize(*size))
    graph = Graph(name, tuple(simplify([_of_any_number(node) for node in nodes])), tuple(built.uncounted))
    return for_all_sizes(graph, size), built


def for_all_sizes(graph: Graph, size: Size) -> Graph:
    """A graph that was read at one size, for all sizes if nothing in it knows that size; else for that size."""
    if graph.uncounted:
        return graph
    multiple = _multiple_of_fixed(graph, size)
    return replace(graph, size=size) if multiple is None else replace(graph, size=None, multiple=multiple)


def _of_any_number(node: Node) -> Node:
    """A reshape with one picture in front, as the canonical graph has it: whatever is left over."""
    if isinstance(node.op, Reshape) and node.op.sizes[:1] == (1,):
        return node.with_op(sizes=(-1, *node.op.sizes[1:]))
    return node


def _multiple_of_fixed(graph: Graph, size: Size) -> int | None:
    """Of what sides must be multiples in a graph that was read at one size; None where it is for that size alone."""
    if any(_holds_size(node) for node in graph.nodes):
        return None
    graph = replace(graph, size=None)
    for multiple in COARSER:
        probe = (multiple * 5, multiple * 7)
        try:
            here, there = (shapes(graph, *sides)[graph.output.name] for sides in (size, probe))
        except ValueError:
            continue
        if [a * b for a, b in zip(here[2:], probe, strict=False)] == [a * b for a, b in zip(there[2:], size, strict=False)]:
            return multiple
    return None


def _holds_size(node: Node) -> bool:
    """Whether an operator has numbers that may be those of one picture."""
    op = node.op
    if getattr(op, "axis", None) == 1 and not isinstance(op, Reshape | Expand):
        return False  # a part of the channels
    return any(getattr(op, name) is not None for name in op.extents if not _is_plain_pad(node))


def _is_plain_pad(node: Node) -> bool:
    return node.op.kind == "pad"  # as many pixels at any size


def free(name: str, walk: Rewalk, *, several: bool) -> tuple[Graph, Builder]:
    """The graph of a file that takes pictures of many sizes.

    Args:
        several: the file takes several pictures at once, so that the axis that grows with them can be told.
    """
    found_sizes = _accepted(walk)
    if found_sizes is None:
        return _only(name, walk)
    step, sizes, read = found_sizes
    built, nodes = read[0]
    if built.uncounted:
        return Graph(name, tuple(simplify(list(nodes))), tuple(built.uncounted), multiple=step), built
    if not any(_holds_size(node) for node in nodes) and (multiple := _holds(nodes, walk, read[2], sizes[2], step)):
        return Graph(name, tuple(simplify(list(nodes))), multiple=multiple), built
    first = TraceSize(*sizes[0])
    for count in (2, 1) if several else (1,):
        second = TraceSize(*sizes[1], count)
        other = read[1] if count == 1 else _tried(walk, second)
        if other is None or other[0].misfits:
            continue
        tried: list[list[Node]] = []
        for window in WINDOWS:
            try:
                found = joined(nodes, other[1], (first, second), window)
            except Differs:
                continue
            if any([n.op for n in found] == [n.op for n in before] for before in tried):
                continue
            tried.append(found)
            if multiple := _holds(found, walk, read[2], sizes[2], step):
                return Graph(name, tuple(simplify(found)), multiple=multiple), built
    return Graph(name, tuple(simplify(list(nodes))), size=sizes[0]), built


def _holds(found: Sequence[Node], walk: Rewalk, third: tuple[Builder, list[Node]], size: Size, step: int) -> int | None:
    """The smallest multiple for which a graph is what is read at sizes that it was not made from, larger ones too; None: it is
    not."""
    if step != 1:
        fits = _same(found, third[1], TraceSize(*size)) and _goes_on(found, walk, step)
        return step if fits else None
    for multiple, probes in PROBES.items():
        read = [(_tried(walk, TraceSize(*probe)), probe) for probe in probes]
        if all(one is not None and not one[0].misfits and _same(found, one[1], TraceSize(*probe)) for one, probe in read):
            return multiple if _goes_on(found, walk, multiple) else None
    return None


def _goes_on(found: Sequence[Node], walk: Rewalk, multiple: int) -> bool:
    """Whether a graph is what is read at larger sizes too, where the file takes them."""
    for size in (rounded(large, multiple) for large in LARGE):
        read = _tried(walk, TraceSize(*size))
        if read is not None and not read[0].misfits and not _same(found, read[1], TraceSize(*size)):
            return False
    return True


def _only(name: str, walk: Rewalk) -> tuple[Graph, Builder]:
    """The graph of a file that says that it takes any size and has numbers of one in it."""
    for size in (*FREE, *((side, side) for side in SQUARES)):
        one = _tried(walk, TraceSize(*size))
        if one is not None and not one[0].misfits:
            return fixed(name, walk, size)
    return fixed(name, walk, FREE[0])


def _accepted(walk: Rewalk) -> tuple[int, tuple[Size, ...], list[tuple[Builder, list[Node]]]] | None:
    """The smallest multiple that suits every operator (1 for 1, 2 and 4), three sizes, and the file read at each."""
    for step in STEPS:
        if step in (2, 4):
            continue  # the first sizes are multiples of four
        sizes = FREE if step == 1 else multiples(step)
        read: list[tuple[Builder, list[Node]]] = []
        for size in sizes:
            one = _tried(walk, TraceSize(*size))
            if one is None or one[0].misfits:
                break
            read.append(one)
        if len(read) == len(sizes) and _fits(walk, (2 * sizes[0][0], 2 * sizes[0][1])):  # those of odd steps are all odd
            return step, sizes, read
    return None


def _fits(walk: Rewalk, size: Size) -> bool:
    """Whether a size suits every operator, as far as that can be told."""
    read = _tried(walk, TraceSize(*size))
    return read is not None and not read[0].misfits


def _tried(walk: Rewalk, sample: TraceSize) -> tuple[Builder, list[Node]] | None:
    """The file read at a size; None where that contradicts itself, as it does behind an operator that the size does not suit."""
    try:
        return walk(sample)
    except (ValueError, KeyError, IndexError, RuntimeError, TypeError):
        return None


def _same(found: Sequence[Node], read: Sequence[Node], sample: TraceSize) -> bool:
    """Whether a graph with formulas is what was read at one size."""
    if len(found) != len(read):
        return False
    for ours, theirs in zip(found, read, strict=True):
        op = ours.op.at(*sample.shape)
        if type(op) is not type(theirs.op) or ours.inputs != theirs.inputs or ours.weights.keys() != theirs.weights.keys():
            return False
        if isinstance(op, Reshape | Expand):
            sizes = zip(op.sizes, theirs.op.sizes, strict=False)  # type: ignore[attr-defined]  # the same kind of operator as ``op``
            if any(a != b and -1 not in (a, b) for a, b in sizes):
                return False
        elif op != theirs.op:
            return False
        if any(not torch.equal(weight, theirs.weights[role]) for role, weight in ours.weights.items()):
            return False
    return True
