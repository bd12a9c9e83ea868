"""What Arm's compiler leaves to the processor beside the array, though other operations of its kind run on the array.

The rules are those of ethos-u-vela 5.2.0 for the operators of a TFLite file (its report of supported operators; an Ethos-U55 and
a U65 have the same), read off the files that we export: each was compiled, and what the compiler left is what is said here
(tests/reference/hwmodels/test_vela_unheld.py). DEPTH_TO_SPACE and its reverse, lists of places and normalizations never run on an
array (``storage.beside``).

* Enlargement: by repeated pixels 2, 4 or 8 times (U85: any number of times); bilinear between half pixels twice (U85: any power
  of two), between the corners of both pictures as often as by repeated pixels (U85: a power of two).
* A border of what lies outermost, which a file holds as a list of places; reversed order on a U55 and U65.
* GELU of 16 bits. On a U55 and U65 products of two 16-bit tensors, and windows more than three pixels apart, where zeros lie
  around the picture or every channel is taken alone (Vela ends with a fault on the former).
* A mean along an axis of more than 4,096; a softmax of 65,536 rows and more.
* A transpose on a U55 and U65 whose axes are too long: one of three that is longer than 65,536, or of more than three axes all
  but two that have more places together. So is a pixel shuffle that a file holds as a transpose, on more than 65,536 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from hwmodels.pricing.rewriting import itself
from hwmodels.workload import Contract, Layer, Map, Move, Piece, Reduce, Tensor, Workload

MOST_PLACES = 2**16
MOST_ROWS = 2**16 - 1
MOST_AXIS = 4096
MOST_STRIDE = 3
REPEATED = (2.0, 4.0, 8.0)
"""Times that the older arrays enlarge by."""


def pieces(workload: Workload, row: int, element_bytes: int, *, older: bool) -> Sequence[Piece]:
    """The layer as one piece that runs aside, where its tensors have ``element_bytes``; empty where the array executes it.

    Args:
        older: a U55 or U65.
    """
    layer = workload.layers[row]
    if not unheld(workload, layer, wide=element_bytes > 1, older=older):
        return ()
    return (replace(itself(workload, row), aside=True),)


def unheld(workload: Workload, layer: Layer, *, wide: bool, older: bool) -> bool:
    """Whether the compiler leaves a layer of ``wide`` (16-bit) tensors to the processor beside an array."""
    source, target = workload.tensors[layer.inputs[0]], workload.tensors[layer.output]
    match layer.work:
        case Move(how="resize"):
            return not _enlarges(layer.work, source, target, older=older)
        case Move(variant="outermost"):
            return True
        case Move(variant="reversed"):
            return older
        case Move(how="transpose", shape=shape, axes=axes) if shape:
            return older and _too_long(shape, axes)
        case Map(variant="gelu"):
            return wide
        case Reduce(keeps=True, function="function"):
            return prod(source.sizes[-3:-1]) > MOST_ROWS
        case Reduce(keeps=False, kernel=None, over=over):
            sides = (source.height, source.width) if over == source.height * source.width else (over,)
            return max(sides) > MOST_AXIS
        case Contract():
            return older and _refused(layer, layer.work, source, target, wide=wide)
    return False


def _refused(layer: Layer, work: Contract, source: Tensor, target: Tensor, *, wide: bool) -> bool:
    if work.stationary == "tensor":
        return wide
    if work.stride <= MOST_STRIDE:
        return False
    within = all(
        out == (side - kernel) // work.stride + 1
        for out, side, kernel in zip((target.height, target.width), (source.height, source.width), work.kernel, strict=True)
    )
    return layer.channelwise or layer.groups == source.channels > 1 or not within


def _enlarges(work: Move, source: Tensor, target: Tensor, *, older: bool) -> bool:
    sides = [(source.height, target.height), (source.width, target.width)]
    if source.height == source.width == 1 or all(before == after for before, after in sides):
        return True
    corners = work.variant == "corners"
    times = [_times(before, after, corners=corners) for before, after in sides]
    if not older:
        return all(each >= 1 and (not work.taps or _power_of_two(each)) for each in times)
    if times[0] != times[1]:
        if (1, 1) not in sides:
            return False
        times = [each for each, side in zip(times, sides, strict=True) if side != (1, 1)]
    allowed = (2.0,) if work.taps and not corners else REPEATED
    return all(each in allowed for each in times)


def _times(before: int, after: int, *, corners: bool) -> float:
    """How often a side is enlarged, between centres of the outermost pixels where these are the same place (``corners``)."""
    if corners and before > 1:
        return (after - 1) / (before - 1)
    return after / before


def _power_of_two(times: float) -> bool:
    return times == int(times) and int(times) & (int(times) - 1) == 0


def _too_long(shape: Sequence[int], axes: Sequence[int]) -> bool:
    moved = [axis for axis in axes if shape[axis] > 1]
    if moved == sorted(moved):
        return False
    if prod(shape[:-3]) == 1:
        return max(shape[-3:]) > MOST_PLACES
    return prod(sorted(shape)[2:]) > MOST_PLACES
