"""The operations that a documented array executes for the layers of a workload, and how their feature maps are stored.

The network's input and output, and what the processor beside the array reads (a pixel shuffle), lie in rows of channels; feature
maps between operations in bricks of 16 channels. A convolution whose output is larger than its input is transposed: the array
runs its whole kernel over the input with zeros in between (Ethos-U55, U65), or one small kernel for each phase of the output
(U85). Concatenation and repetition write into place; what enters from outside or is needed elsewhere is copied. Slices are read
in place. A pixel shuffle runs beside the array: only its bytes are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from hwmodels.classes.ethos import tokens
from hwmodels.classes.ethos.blocks import BRICK, CHANNELWISE, CONVOLUTION, PAIRWISE, POOLING, TURN, Array, Operation, up
from hwmodels.workload import Contract, Layer, Map, Move, Piece, Reduce, Tensor, Workload

THIN = 8
"""Channels below which element-wise operations take a tensor in another shape."""


def beside(layer: Layer) -> bool:
    """Whether the compiler leaves the layer to the processor beside the array."""
    turned = isinstance(layer.work, Move) and layer.work.how == "transpose" and bool(layer.work.shape)
    return layer.moves("shuffle", "transpose", "gather") and not turned


def is_softmax(layer: Layer) -> bool:
    """Whether a layer makes shares of one out of the values of each row."""
    return isinstance(layer.work, Reduce) and layer.work.keeps and layer.work.function == "function"


def of_tensors(layer: Layer) -> bool:
    """Whether a layer multiplies two tensors."""
    return isinstance(layer.work, Contract) and layer.work.stationary == "tensor"


def apart(workload: Workload, row: int, element_bytes: int) -> Sequence[Piece]:
    """The bounds of a 16-bit layer of few channels, which the compiler does not fuse: it takes them in another shape."""
    layer, target = workload.layers[row], workload.tensors[workload.layers[row].output]
    if element_bytes == 1 or not layer.contracts or layer.product or layer.finish != "clamp" or thinned(target) is None:
        return ()
    shape = (target.channels, target.height, target.width)
    layered = Piece(layer.work, tuple(range(len(layer.inputs))), shape, weighs=True)
    return layered, Piece(Map("clamp"), (-1,), shape)


def in_place(workload: Workload) -> list[int]:
    """For every tensor the one in whose place it is written: parts of a concatenation that nobody else reads, or itself."""
    place = list(range(len(workload.tensors)))
    for layer in workload.layers:
        if layer.moves("concat"):
            for i in layer.inputs:
                if i not in copied_in(workload, layer):
                    place[i] = layer.output
    return place


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
    return beside(producer) or producer.moves("concat", "repeat", "slice")


def bricks(workload: Workload) -> np.ndarray:
    """``bool[T]``: tensors stored in bricks of 16 channels."""
    found = np.zeros(len(workload.tensors), dtype=bool)
    place = in_place(workload)
    for i, tensor in enumerate(workload.tensors):
        if tensor.producer < 0 or not tensor.readers:
            continue
        producer, readers = workload.layers[tensor.producer], [workload.layers[r] for r in tensor.readers]
        # Transposes take the tensor in shapes of their own.
        outside = any(beside(k) or k.moves("transpose") for k in (producer, *readers))
        thin = tensor.channels < THIN and any(k.maps() for k in (producer, *readers))
        found[i] = not outside and not _unaligned(workload, producer, readers) and not thin
    found[:] = [found[i] and found[there] for i, there in enumerate(place)]
    return found


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


def chained(workload: Workload, row: int, array: Array, brick: np.ndarray) -> bool:
    """Whether the output unit of a U85 does an element-wise operation as it finishes the convolution, or the other such
    operation, just before. Tensors of few channels are taken in another shape, which only element-wise operations share."""
    layer = workload.layers[row]
    if array.buffers[0] == 0 or not layer.maps("add", "mul", "compare") or row == 0:
        return False
    before, shape = workload.layers[row - 1], workload.tensors[layer.output]
    alike = before.maps("add", "mul", "compare")
    own = alike or (before.contracts and not before.product and shape.channels >= THIN)
    alone = before.output in layer.inputs and workload.tensors[before.output].readers == (row,)
    return own and alone and (bool(brick[before.output]) or (alike and shape.channels < THIN))


def stored_channels(workload: Workload) -> np.ndarray:
    """``int64[T]``: channels of every tensor as stored, bricks filled up."""
    filled = [up(t.channels, BRICK) if brick else t.channels for t, brick in zip(workload.tensors, bricks(workload), strict=True)]
    return np.array(filled, dtype=np.int64)


def stored_elements(workload: Workload) -> np.ndarray:
    """``int64[T]``: elements of every tensor as stored, bricks filled up."""
    pixels = np.array([t.height * t.width for t in workload.tensors], dtype=np.int64)
    found: np.ndarray = pixels * stored_channels(workload)
    return found


def operations(
    workload: Workload, row: int, array: Array, brick: np.ndarray, in_bytes: int, out_bytes: int
) -> list[tuple[Operation, float]]:
    """What the array executes for layer ``row``, each with its share of the layer's weights; empty where it has nothing to do."""
    layer = workload.layers[row]
    source, target = workload.tensors[layer.inputs[0]], workload.tensors[layer.output]
    wide = int(in_bytes > 1)
    formats = bool(brick[layer.inputs[0]]), bool(brick[layer.output])

    def make(kind: int, finish: float, inputs: int = 1, channels: int = 0, **sizes: int) -> Operation:
        given = {
            "in_h": source.height,
            "in_w": source.width,
            "in_c": channels or source.channels,
            "out_h": target.height,
            "out_w": target.width,
            "out_c": channels or target.channels,
            "kernel_h": layer.kernel[0],
            "kernel_w": layer.kernel[1],
            "stride": layer.stride,
            "spread": 1,
            "nearest": 0,
        } | sizes
        return Operation(
            kind=kind,
            in_bytes=in_bytes,
            out_bytes=out_bytes,
            inputs=inputs,
            finish=finish,
            in_brick=formats[0],
            out_brick=formats[1],
            **given,
        )

    finish = max(float(array.convolve[wide]), _activation(layer, array))
    if beside(layer) or layer.moves("slice"):
        return []
    if layer.contracts and not layer.product:
        found = _convolutions(workload, layer, array, make, finish)
        if layer.finish == "slopes":
            multiply = make(PAIRWISE, float(array.multiply[wide]), in_h=target.height, in_w=target.width, in_c=target.channels)
            largest = multiply._replace(finish=float(array.other[wide]), inputs=2)
            # The U85 chains both to the convolution.
            found += [] if array.buffers[0] else [(multiply, 0.0), (largest, 0.0)]
        return found
    if layer.product:
        if of_tensors(layer):
            assert isinstance(layer.work, Contract)
            return [(operation, 0.0) for operation in tokens.product(layer.work.depth, target, make, array)]
        # A matrix of weights is a convolution of one pixel in the file.
        return [(make(CONVOLUTION, finish, kernel_h=1, kernel_w=1, stride=1), 1.0)]
    if is_softmax(layer):
        return [(operation, 0.0) for operation in tokens.passes(source, make, array)]
    if isinstance(layer.work, Reduce):
        return [(operation, 0.0) for operation in _reductions(layer.work, source, make, float(array.other[wide]))]
    if layer.moves("concat", "repeat", "copy", "pad"):
        return [(make(POOLING, float(array.other[wide]), 1, c, kernel_h=1, kernel_w=1), 0.0) for c in _copied(workload, layer)]
    if isinstance(layer.work, Move) and layer.work.shape:
        return [(_turn(layer.work, array, make, wide), 0.0)]
    if layer.moves("resize"):
        return [(make(POOLING, float(array.other[wide]), kernel_h=1, kernel_w=1, stride=1, spread=2, nearest=1), 0.0)]
    assert isinstance(layer.work, Map)
    cycles = {"add": array.add, "mul": array.multiply}.get(layer.work.function, array.other)
    looked_up = layer.maps("slope", "slopes", "function")
    finish = max(float(cycles[wide]), array.lookup if looked_up else _activation(layer, array))
    sizes = {"kernel_h": 1, "kernel_w": 1, "stride": 1}
    if thin := thinned(target):
        for side, name in zip(thin, "hwc", strict=True):
            sizes |= {f"in_{name}": side, f"out_{name}": side}
    # Bounds alone are a pooling of one pixel.
    kind = POOLING if layer.maps("clamp") else PAIRWISE
    return [(make(kind, finish, len(layer.inputs), **sizes), 0.0)]


def _activation(layer: Layer, array: Array) -> float:
    """Cycles per element that a fused activation needs of the output unit."""
    if layer.finish in ("none", "slopes"):
        return 0.0
    return array.clamp if layer.finish == "clamp" else array.lookup


def _reductions(work: Reduce, source: Tensor, make: Callable[..., Operation], finish: float) -> list[Operation]:
    """A pooling of the window, or of the whole picture; a normalization is two passes over its elements."""
    if work.keeps:
        return [make(PAIRWISE, finish, inputs, kernel_h=1, kernel_w=1) for inputs in (1, 2)]
    if work.kernel is not None:
        return [make(POOLING, finish, kernel_h=work.kernel[0], kernel_w=work.kernel[1], stride=work.stride)]
    return [make(POOLING, finish, out_h=1, out_w=1, kernel_h=source.height, kernel_w=source.width, stride=1)]


def _turn(work: Move, array: Array, make: Callable[..., Operation], wide: int) -> Operation:
    """One step of a transpose: a copy whose writer, or on the older arrays also reader, jumps."""
    sizes = {f"{end}_{name}": work.shape[i] for end in ("in", "out") for i, name in enumerate("hwc")}
    sizes |= {"kernel_h": 1, "kernel_w": 1, "stride": 1}
    if array.buffers[0] == 0:
        return make(TURN, 0.0, **sizes)._replace(in_brick=False, out_brick=False)
    crossed = work.axes not in ((0, 2, 1), (2, 0, 1))
    return make(POOLING, max(float(array.other[wide]), array.clamp * (1 + crossed)), **sizes)


def _copied(workload: Workload, layer: Layer) -> list[int]:
    """Channels of each copy that a concatenation, a repetition or a plain copy needs."""
    if layer.moves("copy", "pad"):
        return [workload.tensors[layer.output].channels]
    if layer.moves("repeat"):
        channels = workload.tensors[layer.inputs[0]].channels
        return [channels] * (workload.tensors[layer.output].channels // channels)
    return [workload.tensors[i].channels for i in copied_in(workload, layer)]


def _convolutions(
    workload: Workload, layer: Layer, array: Array, make: Callable[..., Operation], finish: float
) -> list[tuple[Operation, float]]:
    source, target = workload.tensors[layer.inputs[0]], workload.tensors[layer.output]
    if layer.channelwise or layer.groups == source.channels > 1:
        return [(make(CHANNELWISE, finish), 1.0)]
    scale = target.height // source.height if source.height else 1
    groups = layer.groups
    one = make(CONVOLUTION, finish, in_c=source.channels // groups, out_c=target.channels // groups)
    if scale <= 1:
        return [(one, 1.0 / groups)] * groups
    if array.buffers[0] == 0 and scale == 2:
        return [(one._replace(stride=1, spread=2), 1.0 / groups)] * groups
    # Each phase of the output has its own taps; its micro-blocks pass over the whole output.
    phases = []
    for y in range(scale):
        for x in range(scale):
            kernel_h, kernel_w = -(-(layer.kernel[0] - y) // scale), -(-(layer.kernel[1] - x) // scale)
            if kernel_h > 0 and kernel_w > 0:
                phase = one._replace(kernel_h=kernel_h, kernel_w=kernel_w, stride=1)
                phases.append((phase, kernel_h * kernel_w / (layer.kernel[0] * layer.kernel[1]) / groups))
    return phases * groups
