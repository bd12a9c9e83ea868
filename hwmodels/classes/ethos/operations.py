"""The operations that a documented array executes for the layers of a workload.

A convolution whose output is larger than its input is transposed: the array runs its whole kernel over the input with zeros in
between (Ethos-U55, U65), or one small kernel for each phase of the output (U85). Slices are read in place, unless what reads them
turns axes or multiplies tensors: then they are copied. What a file holds as DEPTH_TO_SPACE runs beside the array: only its bytes
are counted. A view costs nothing.

The array knows three axes. An element-wise operation takes further ones for rows, or, where its operands do not lie alike, one by
one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from hwmodels.classes.ethos import enlarging, tokens
from hwmodels.classes.ethos.blocks import CHANNELWISE, CONVOLUTION, COPY, PAIRWISE, POOLING, TURN, Array, Operation, Part
from hwmodels.classes.ethos.storage import THIN, beside, copied_in, copied_out, thinned
from hwmodels.workload import Contract, Layer, Map, Move, Piece, Reduce, Tensor, Workload


def apart(workload: Workload, row: int, element_bytes: int) -> Sequence[Piece]:
    """The bounds of a 16-bit layer of few channels, which the compiler does not fuse: it takes them in another shape, unless they
    are written into the place of a concatenation."""
    layer, target = workload.layers[row], workload.tensors[workload.layers[row].output]
    if element_bytes == 1 or not layer.contracts or layer.product or layer.finish != "clamp" or thinned(target) is None:
        return ()
    joined = [workload.layers[r] for r in target.readers if workload.layers[r].moves("concat")]
    if any(layer.output not in copied_in(workload, concat) for concat in joined):
        return ()
    shape = (target.channels, target.height, target.width)
    layered = Piece(layer.work, tuple(range(len(layer.inputs))), shape, weighs=True)
    return layered, Piece(Map("clamp"), (-1,), shape)


def bounded_apart(workload: Workload, row: int, wide: bool) -> bool:
    """Whether what ends layer ``row`` is an operation of its own to the compiler, done by the output unit as it writes.

    A bound at zero is none where the codes begin there: at 8 bits, unless the result shares its codes with values below zero, as
    the parts of a concatenation do.
    """
    layer = workload.layers[row]
    if layer.finish != "clamp":
        return layer.finish != "none"
    return wide or _joins_signed(workload, layer.output)


def _joins_signed(workload: Workload, tensor: int) -> bool:
    """Whether a tensor is a part of a concatenation, or of one of concatenations, that has parts below zero."""
    joined = [layer for layer in (workload.layers[r] for r in workload.tensors[tensor].readers) if layer.moves("concat")]
    return any(_signed(workload, layer.output) or _joins_signed(workload, layer.output) for layer in joined)


def _signed(workload: Workload, tensor: int) -> bool:
    """Whether values of a tensor may be below zero: all but those of layers that a bound ends, and what is joined of them."""
    producer = workload.tensors[tensor].producer
    if producer < 0:
        return True
    layer = workload.layers[producer]
    if layer.moves("concat"):
        return any(_signed(workload, i) for i in layer.inputs)
    return layer.finish != "clamp"


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


def fused(workload: Workload, row: int, array: Array) -> int | None:
    """The transpose that the output unit of a U85 does as layer ``row`` writes, by its row; element-wise operations write the
    channels second or first, others in any order. One that takes several steps stands alone."""
    layer = workload.layers[row]
    readers = workload.tensors[layer.output].readers
    if array.buffers[0] == 0 or len(readers) != 1 or not (layer.contracts or layer.maps()) or layer.of_tensors:
        return None
    work = workload.layers[readers[0]].work
    if not isinstance(work, Move) or work.how != "transpose" or not work.shape or layer.finish == "slopes":
        return None
    if any(workload.layers[r].moves("transpose") for r in workload.tensors[workload.layers[readers[0]].output].readers):
        return None
    if layer.maps() and (work.axes not in ((0, 2, 1), (2, 0, 1)) or thinned(workload.tensors[layer.output])):
        return None
    return readers[0]


def operations(workload: Workload, row: int, array: Array, brick: np.ndarray, in_bytes: int, out_bytes: int) -> list[Part]:
    """What the array executes for layer ``row``; empty where it has nothing to do."""
    layer = workload.layers[row]
    source, target = workload.tensors[layer.inputs[0]], workload.tensors[layer.output]
    wide = int(in_bytes > 1)
    make = _maker(workload, layer, brick, in_bytes, out_bytes)
    if beside(layer) or layer.moves("view"):
        return []
    if layer.contracts:
        return _contraction(workload, layer, array, make, wide)
    if layer.is_softmax:
        return tokens.passes(source, make, array)
    other = float(array.other[wide])
    match layer.work:
        case Reduce():
            return [Part(operation) for operation in _reductions(layer.work, source, make, other)]
        case Move(how="slice"):
            times, part = parted(target)
            copy = make(COPY, other, **tokens.ONE, **tokens.sides(*part))
            return [Part(copy, times=times)] if copied_out(workload, layer.output) else []
        case Move(how="concat" | "repeat" | "copy" | "pad"):
            copies = [(make(COPY, other, 1, c, **_sides(workload, layer, i)), i) for c, i in _copied(workload, layer)]
            return [Part(copy._replace(in_brick=bool(brick[i]))) for copy, i in copies]
        case Move(shape=shape) if shape:
            return [Part(turn(shape, layer.work.axes, array, make, wide))]
        case Move(how="resize", taps=taps):
            return enlarging.enlarged(source, target, make, array, in_bytes, smooth=bool(taps))
    assert isinstance(layer.work, Map)
    return [] if _bounded_again(workload, layer) else _elementwise(workload, layer, layer.work, array, make, in_bytes, out_bytes)


def _maker(workload: Workload, layer: Layer, brick: np.ndarray, in_bytes: int, out_bytes: int) -> Callable[..., Operation]:
    """What makes operations of a layer: ``make(kind, finish, inputs, channels, **sizes)``, of its own sizes where none are
    given."""
    source, target = workload.tensors[layer.inputs[0]], workload.tensors[layer.output]
    in_brick, out_brick = bool(brick[layer.inputs[0]]), bool(brick[layer.output])

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
            in_brick=in_brick,
            out_brick=out_brick,
            **given,
        )

    return make


def _contraction(workload: Workload, layer: Layer, array: Array, make: Callable[..., Operation], wide: int) -> list[Part]:
    """A convolution, or a product of a tensor and a matrix of weights or another tensor, and what ends it."""
    target = workload.tensors[layer.output]
    finish = max(float(array.convolve[wide]), _activation(layer, array))
    if layer.product and layer.of_tensors:
        assert isinstance(layer.work, Contract)
        return tokens.product(layer.work, target, make, array)
    if layer.product:
        # A matrix of weights is a convolution of one pixel in the file.
        return [Part(make(CONVOLUTION, finish, kernel_h=1, kernel_w=1, stride=1), 1.0)]
    found = _convolutions(workload, layer, array, make, finish)
    if layer.finish == "slopes":
        multiply = make(PAIRWISE, float(array.multiply[wide]), in_h=target.height, in_w=target.width, in_c=target.channels)
        largest = multiply._replace(finish=float(array.other[wide]), inputs=2)
        # The U85 chains both to the convolution.
        found += [] if array.buffers[0] else [Part(multiply), Part(largest)]
    return found


def _elementwise(
    workload: Workload, layer: Layer, work: Map, array: Array, make: Callable[..., Operation], in_bytes: int, out_bytes: int
) -> list[Part]:
    """A function of each element; where operands do not lie as the result does, part by part."""
    target, wide = workload.tensors[layer.output], int(in_bytes > 1)
    cycles = {"add": array.add, "mul": array.multiply}.get(work.function, array.other)
    looked_up = layer.maps("slope", "slopes", "function")
    widens = in_bytes < out_bytes and layer.maps("add", "mul") and len(layer.inputs) > 1
    finish = max(float(cycles[int(widens or wide)]), array.lookup if looked_up else _activation(layer, array))
    times = 1
    if thin := thinned(target):
        part = thin
    elif _unlike(workload, layer):
        times, part = parted(target)
    else:
        part = flat(target)
    # Of a constant operand every part reads its own numbers, however often others read them; one number is no traffic.
    constant = sum(in_bytes * min(c.elements, prod(part)) for c in layer.constants if c.elements > 1)
    # Bounds alone are a pooling of one pixel, and so are tables on a U85.
    pooled = layer.maps("clamp") or (layer.maps("function") and array.buffers[0] > 0)
    kind = POOLING if pooled else PAIRWISE
    made = make(kind, finish, len(layer.inputs), **tokens.ONE, **tokens.sides(*part))
    if not widens:
        return [Part(made, times=times, constant_bytes=constant)]
    # Operands that are narrower than the result are widened before (QUANTIZE in the file); convolutions do it as they read.
    widened = make(COPY, float(array.other[0]), **tokens.ONE, **tokens.sides(*part))
    wide_made = made._replace(in_bytes=out_bytes)
    return [Part(widened, times=times * len(layer.inputs), writes="near"), Part(wide_made, times=times, constant_bytes=constant)]


def _bounded_again(workload: Workload, layer: Layer) -> bool:
    """Whether a layer bounds what nothing else reads of one that bounds: a MINIMUM and the RELU that is fused to it."""
    tensor = workload.tensors[layer.inputs[0]]
    before = workload.layers[tensor.producer] if tensor.producer >= 0 else None
    return before is not None and layer.maps("clamp") and before.maps("clamp") and len(tensor.readers) == 1


def flat(tensor: Tensor) -> tuple[int, int, int]:
    """Rows, columns and channels of a tensor of any rank: outer axes are taken for rows."""
    sizes = (1, 1, *tensor.sizes)
    return prod(sizes[:-2]), sizes[-2], sizes[-1]


def parted(tensor: Tensor) -> tuple[int, tuple[int, int, int]]:
    """How many parts of three axes a tensor has, and their rows, columns and channels."""
    sizes = (1, 1, *tensor.sizes)
    return prod(sizes[:-3]), (sizes[-3], sizes[-2], sizes[-1])


def _unlike(workload: Workload, layer: Layer) -> bool:
    """Whether operands of an element-wise layer do not lie as its result does: some are smaller, or parts of larger tensors."""
    count = workload.tensors[layer.output].elements
    constants = (layer.bias_count, *(constant.elements for constant in layer.constants))
    smaller = any(1 < size < count for size in (*constants, *(workload.tensors[i].elements for i in layer.inputs)))
    return smaller or any(_is_slice(workload, i) for i in layer.inputs)


def _is_slice(workload: Workload, tensor: int) -> bool:
    """Whether a tensor is a part of a larger one, or a view of one."""
    producer = workload.tensors[tensor].producer
    layer = workload.layers[producer] if producer >= 0 else None
    if layer is not None and layer.moves("view"):
        return _is_slice(workload, layer.inputs[0])
    return layer is not None and layer.moves("slice")


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


def turn(shape: tuple[int, ...], axes: tuple[int, ...], array: Array, make: Callable[..., Operation], wide: int) -> Operation:
    """One step of a transpose: a copy whose writer, or on the older arrays also reader, jumps."""
    sizes = {f"in_{name}": side for name, side in zip("hwc", shape, strict=True)}
    sizes |= {f"out_{name}": shape[axis] for name, axis in zip("hwc", axes, strict=True)}
    crossed = axes not in ((0, 2, 1), (2, 0, 1))
    finish = max(float(array.other[wide]), array.clamp * (1 + crossed)) if array.buffers[0] else 0.0
    made = make(TURN, finish, kernel_h=1, kernel_w=1, stride=1, **sizes)
    return made if array.buffers[0] else made._replace(in_brick=False, out_brick=False)


def _copied(workload: Workload, layer: Layer) -> list[tuple[int, int]]:
    """Channels of each copy that a concatenation, a repetition or a plain copy needs, and the tensor that it reads."""
    source = layer.inputs[0]
    if layer.moves("copy", "pad"):
        return [(workload.tensors[layer.output].channels, source)]
    if layer.moves("repeat"):
        channels = workload.tensors[source].channels
        return [(channels, source)] * (workload.tensors[layer.output].channels // channels)
    return [(workload.tensors[i].channels, i) for i in copied_in(workload, layer)]


def _sides(workload: Workload, layer: Layer, copied: int) -> dict[str, int]:
    """Sides of the copy of a tensor: of a part that is joined with others, along whichever axis, its own."""
    part, one = workload.tensors[copied], {"kernel_h": 1, "kernel_w": 1}
    if not layer.moves("concat"):
        return one
    return one | {"in_h": part.height, "in_w": part.width, "out_h": part.height, "out_w": part.width}


def _convolutions(workload: Workload, layer: Layer, array: Array, make: Callable[..., Operation], finish: float) -> list[Part]:
    source, target = workload.tensors[layer.inputs[0]], workload.tensors[layer.output]
    if layer.channelwise or layer.groups == source.channels > 1:
        return [Part(make(CHANNELWISE, finish), 1.0)]
    scale = target.height // source.height if source.height else 1
    groups = layer.groups
    one = make(CONVOLUTION, finish, in_c=source.channels // groups, out_c=target.channels // groups)
    if scale <= 1:
        return [Part(one, 1.0 / groups)] * groups
    if array.buffers[0] == 0 and scale == 2:
        return [Part(one._replace(stride=1, spread=2), 1.0 / groups)] * groups
    # Each phase of the output has its own taps; its micro-blocks pass over the whole output.
    phases = []
    for y in range(scale):
        for x in range(scale):
            kernel_h, kernel_w = -(-(layer.kernel[0] - y) // scale), -(-(layer.kernel[1] - x) // scale)
            if kernel_h > 0 and kernel_w > 0:
                phase = one._replace(kernel_h=kernel_h, kernel_w=kernel_w, stride=1)
                phases.append(Part(phase, kernel_h * kernel_w / (layer.kernel[0] * layer.kernel[1]) / groups))
    return phases * groups
