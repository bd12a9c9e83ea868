"""Transposes as ONNX Runtime does them, on any processor.

What a transpose costs depends on how many values stay together. Its kernel (``transpose.cc``) copies runs of values that lie side
by side before and after, and finds the place of each run by counting through all axes, which takes longer than the copy where a
run is one value: windows of a picture whose channels lie in planes, or heads of few channels. Where a single axis moves, whole
matrices are transposed, which is as fast as a copy. Where no axis longer than one changes its place, it is a copy.

Of two transposes one after the other, with a view between that only splits axes, its optimizer
(``onnx_transpose_optimization.cc``) makes one: a picture that is brought to pixels of channels and then cut into windows goes
from planes to windows in one step of single values. Transposes that it moves behind other operations cost there what they would
have cost before, and are not followed.
"""

from __future__ import annotations

from math import prod

from hwmodels.workload import Layer, Move, Workload

Permuted = tuple[tuple[int, ...], tuple[int, ...]]
"""Sizes of the axes that are read, and which of them each axis of the result is."""


def executed(workload: Workload) -> list[Permuted | None]:
    """For every layer the transpose that is executed there; None: none."""
    found: list[Permuted | None] = []
    waiting: dict[int, Permuted] = {}  # of tensors that one layer reads: the transpose that has not been done yet
    for row, layer in enumerate(workload.layers):
        before = waiting.pop(layer.inputs[0], None)
        own = _own(layer)
        if before is not None:
            view = layer.moves("view")
            split = _split(before, _axes_of(workload, row) if view else own[0] if own else ())
            if split is None or not (view or own):  # done where it stands
                found[workload.tensors[layer.inputs[0]].producer] = before
            elif view:
                own = split
            elif own:
                own = split[0], tuple(split[1][axis] for axis in own[1])
        if own is not None and _goes_on(workload, layer):
            waiting[layer.output] = own
            own = None
        found.append(own)
    return found


def steps(permuted: Permuted) -> int:
    """How many steps it takes to bring runs of values to their places; 0 where whole matrices are, or where it is a copy. A run
    of several values is two: its place is found, and a copy is called."""
    shape, axes = permuted
    if is_copy(permuted):
        return 0
    together = 1
    for place in range(len(axes) - 1, -1, -1):
        if axes[place] != place:
            break
        together *= shape[place]
    if together > 1:
        return 2 * (prod(shape) // together)
    return 0 if _moves_one(axes) else prod(shape)


def is_copy(permuted: Permuted) -> bool:
    """Whether no axis longer than one changes its place among the others."""
    shape, axes = permuted
    moved = [axis for axis in axes if shape[axis] > 1]
    return moved == sorted(moved)


def _moves_one(axes: tuple[int, ...]) -> bool:
    """Whether the axes are in order but for one of them."""
    return any(
        [axis for axis in axes if axis != left_out] == [*range(left_out), *range(left_out + 1, len(axes))] for left_out in axes
    )


def _own(layer: Layer) -> Permuted | None:
    work = layer.work
    return (work.shape, work.axes) if isinstance(work, Move) and work.how == "transpose" and work.axes else None


def _goes_on(workload: Workload, layer: Layer) -> bool:
    """Whether what a layer writes is read by one transpose or view alone."""
    readers = workload.tensors[layer.output].readers
    return len(readers) == 1 and workload.layers[readers[0]].moves("transpose", "view")


def _axes_of(workload: Workload, view: int) -> tuple[int, ...]:
    """Sizes of the axes that a view writes, as the transpose that reads it tells them; empty where none does."""
    readers = workload.tensors[workload.layers[view].output].readers
    own = _own(workload.layers[readers[0]]) if len(readers) == 1 else None
    return own[0] if own else ()


def _split(permuted: Permuted, sizes: tuple[int, ...]) -> Permuted | None:
    """The same transpose where each axis of its result is split into some of ``sizes``, in order; None where that is not what
    they are."""
    shape, axes = permuted
    left, parts = list(sizes), []
    for axis in axes:
        part: list[int] = []
        while left and (prod(part) < shape[axis] or not part):
            part.append(left.pop(0))
        if prod(part) != shape[axis]:
            return None
        parts.append(part)
    if parts:
        while left and left[0] == 1:
            parts[-1].append(left.pop(0))
    if left:
        return None
    first, numbers, read = dict[int, int](), list[int](), 0
    for axis in range(len(shape)):
        first[axis] = read
        read += len(parts[axes.index(axis)])
    for axis, part in zip(axes, parts, strict=True):
        numbers += range(first[axis], first[axis] + len(part))
    flat = [size for axis in range(len(shape)) for size in parts[axes.index(axis)]]
    return tuple(flat), tuple(numbers)
