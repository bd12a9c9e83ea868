"""How a documented array stores feature maps: what lies in whose place, and what lies in bricks.

The network's input and output, and what the processor beside the array reads (a normalization in floating point), lie in rows
of channels; feature maps between operations in bricks of 16 channels. Concatenation and repetition write into place; what enters
from outside or is needed elsewhere is copied. A view has the place of what it is a view of, in rows unless its last two axes are
the same, and so has a slice that is read where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hwmodels.classes.ethos.blocks import BRICK, up
from hwmodels.workload import Layer, Move, Tensor, Workload

THIN = 8
"""Channels below which element-wise operations take a tensor in another shape."""


def beside(layer: Layer) -> bool:
    """Whether the compiler leaves the layer to the processor beside the array: always, or as it is here (``unheld``)."""
    turned = isinstance(layer.work, Move) and layer.work.how == "transpose" and bool(layer.work.shape)
    return layer.aside or (layer.moves("shuffle", "transpose", "gather") and not turned) or layer.is_normalization


def in_place(workload: Workload) -> list[int]:
    """For every tensor the one in whose place it is: parts of a concatenation that nobody else reads, views, slices that are read
    where they lie, or itself."""
    place = list(range(len(workload.tensors)))
    for layer in workload.layers:
        if shares(workload, layer):
            place[layer.output] = place[layer.inputs[0]]
        if layer.moves("concat"):
            for i in layer.inputs:
                if i not in copied_in(workload, layer):
                    place[i] = layer.output
    return settled(place)


def shares(workload: Workload, layer: Layer) -> bool:
    """Whether a layer's output is a view of its input, or a part of it that is read where it lies."""
    return layer.moves("view") or (layer.moves("slice") and not copied_out(workload, layer.output))


def copied_out(workload: Workload, tensor: int) -> bool:
    """Whether something that reads a slice, or a view of it, cannot read parts of a tensor."""
    readers = [workload.layers[r] for r in workload.tensors[tensor].readers]
    return any(k.of_tensors or k.moves("transpose") or (k.moves("view") and copied_out(workload, k.output)) for k in readers)


def settled(place: list[int]) -> list[int]:
    """Places of places followed to their ends."""
    found = list(place)
    for i in range(len(found)):
        while found[found[i]] != found[i]:
            found[i] = found[found[i]]
    return found


def share_views(workload: Workload, flags: np.ndarray) -> None:
    """Clear ``flags bool[T]`` of a view or of a slice in place where that of its source is clear, and the other way round."""
    views = [layer for layer in workload.layers if shares(workload, layer)]
    for layer in (*views, *reversed(views)):
        both = [layer.inputs[0], layer.output]
        flags[both] = flags[both].all()


def copied_in(workload: Workload, concat: Layer) -> list[int]:
    """The parts of a concatenation that are copied into it."""
    return [i for i in concat.inputs if _elsewhere(workload, i, concat)]


def _elsewhere(workload: Workload, tensor: int, layer: Layer) -> bool:
    """Whether a part of a concatenation is made elsewhere and copied: what enters the network, has other readers, or was not
    written in one piece by the array."""
    part = workload.tensors[tensor]
    if part.producer < 0 or len(part.readers) > 1 or layer.inputs.count(tensor) > 1:
        return True
    producer = workload.layers[part.producer]
    return beside(producer) or producer.moves("concat", "repeat", "slice", "view")


def bricks(workload: Workload, any_order: bool) -> np.ndarray:
    """``bool[T]``: tensors stored in bricks of 16 channels.

    Args:
        any_order: a transpose reads and writes bricks (U85), where it takes the tensor in its own shape.
    """
    found = np.zeros(len(workload.tensors), dtype=bool)
    place = in_place(workload)
    for i, tensor in enumerate(workload.tensors):
        if tensor.producer < 0 or not tensor.readers or tensor.sizes[-1] != tensor.channels:
            continue
        producer, readers = workload.layers[tensor.producer], [workload.layers[r] for r in tensor.readers]
        around = (producer, *readers)
        # Matrices of weights take its vectors for pixels.
        outside = any(beside(k) or (k.product and k.weight_count) for k in around)
        turned = [k for k in around if k.moves("transpose")]
        outside = outside or any(not any_order or not _takes_as_it_is(k, tensor, read=k in readers) for k in turned)
        # Element-wise operations take such a tensor in another shape, which only they share.
        thin = tensor.channels < THIN and any(k.maps() for k in around) and not all(k.maps() for k in around)
        found[i] = not outside and not any(_reshapes(workload, k) or _widens(workload, k) for k in around)
        found[i] = found[i] and not _unaligned(workload, producer, readers) and not thin
    found[:] = [found[i] and found[there] for i, there in enumerate(place)]
    share_views(workload, found)
    return found


def _takes_as_it_is(layer: Layer, tensor: Tensor, read: bool) -> bool:
    """Whether a step of a transpose reads or writes a tensor in the shape that others see."""
    work = layer.work
    assert isinstance(work, Move)
    if not work.shape:
        return False
    return (work.shape if read else tuple(work.shape[axis] for axis in work.axes)) == (
        tensor.height,
        tensor.width,
        tensor.channels,
    )


def _reshapes(workload: Workload, layer: Layer) -> bool:
    """Whether a layer is a view with other sizes of the last two axes."""
    source, target = (workload.tensors[i].sizes[-2:] for i in (layer.inputs[0], layer.output))
    return layer.moves("view") and source != target


def _widens(workload: Workload, layer: Layer) -> bool:
    """Whether a layer is a slice that is joined with others along another axis than the channels, or joins them so."""
    if layer.moves("slice"):
        return any(_widens(workload, workload.layers[r]) for r in workload.tensors[layer.output].readers)
    whole, first = workload.tensors[layer.output], workload.tensors[layer.inputs[0]]
    return layer.moves("concat") and (whole.height, whole.width) != (first.height, first.width)


def _unaligned(workload: Workload, producer: Layer, readers: list[Layer]) -> bool:
    """Whether a part of a tensor is written or read at a channel that begins no brick."""
    sizes: list[int] = []
    if producer.moves("concat"):
        sizes = [workload.tensors[i].channels for i in producer.inputs[:-1]]
    elif producer.moves("repeat"):
        sizes = [workload.tensors[producer.inputs[0]].channels]
    cut = [workload.tensors[r.output].channels for r in readers if r.moves("slice")]
    cut += [workload.tensors[r.inputs[0]].channels for r in readers if r.moves("slice")]
    return any(size % BRICK for size in (*sizes, *cut))


def thinned(tensor: Tensor) -> tuple[int, int, int] | None:
    """Height, width and channels as which an element-wise operation takes a tensor of few channels; None: as it is.

    The smallest prime factors of the number of elements make the channels, at least 16; the others make a height and a width."""
    if tensor.channels >= THIN or tensor.elements <= BRICK:
        return None
    channels, height, width = 1, 1, 1
    for factor in _primes(tensor.elements):
        if channels < BRICK:
            channels *= factor
        elif width < height:
            width *= factor
        else:
            height *= factor
    return max(height, width), min(height, width), channels


def _primes(number: int) -> Iterator[int]:
    """Prime factors, smallest first."""
    factor = 2
    while factor * factor <= number:
        while number % factor == 0:
            yield factor
            number //= factor
        factor += 1
    if number > 1:
        yield number


def stored_channels(workload: Workload, brick: np.ndarray) -> np.ndarray:
    """``int64[T]``: channels of every tensor as stored, bricks (``brick bool[T]``) filled up."""
    filled = [_filled(workload, t) if whole else t.channels for t, whole in zip(workload.tensors, brick, strict=True)]
    return np.array(filled, dtype=np.int64)


def _filled(workload: Workload, tensor: Tensor) -> int:
    """Channels of a tensor in bricks. What a pixel shuffle reads that is a transpose in the file has room for every row of its
    blocks in bricks of their own: the first step of the transpose takes the picture, the second one takes such a row for its
    channels."""
    most = up(tensor.channels, BRICK)
    for first in (workload.layers[r] for r in tensor.readers if workload.layers[r].moves("transpose")):
        for second in (workload.layers[r].work for r in workload.tensors[first.output].readers):
            if isinstance(second, Move) and second.how == "transpose" and second.shape:
                _, count, length = second.shape
                if count * length == tensor.channels:
                    most = max(most, count * up(length, BRICK))
    return most


def stored_elements(workload: Workload, brick: np.ndarray) -> np.ndarray:
    """``int64[T]``: elements of every tensor as stored, bricks (``brick bool[T]``) filled up."""
    pixels = np.array([t.height * t.width for t in workload.tensors], dtype=np.int64)
    found: np.ndarray = pixels * stored_channels(workload, brick)
    return found
