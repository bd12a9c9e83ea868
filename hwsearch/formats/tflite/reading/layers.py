"""Readers of convolutions and matrix products."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from hwmodels.errors import FileError
from hwsearch.formats.reading.builder import Map, tensor
from hwsearch.formats.reading.readers import bits_of
from hwsearch.formats.tflite.integers.convolution import StoredLayer
from hwsearch.formats.tflite.reading.table import READS, Call, Value
from hwsearch.formats.tflite.reading.walk import Walk
from hwsearch.formats.tflite.tables import StoredTensor
from hwsearch.formats.tflite.writing.form import SAME
from searchspaces.ir.transposed import transposed_to_shuffled
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.moves.move import PixelShuffle
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reading import NotRead

FLOATS = {"float16": 16, "bfloat16": 16, "float32": 32, "float64": 64}


def stored_layer(walk: Walk, call: Call, place: int) -> StoredLayer:
    """What the file stores of a layer's weights, through a DEQUANTIZE in front of them."""
    found = call.stored[place]
    assert found is not None
    origin = walk.model.origin.get(found.name, found)
    bits = FLOATS.get(origin.kind)
    if bits is None:
        zero = np.zeros(1, np.int64) if origin.zero_point is None else origin.zero_point
        assert origin.data is not None
        bits = bits_of(origin.data.astype(np.int64) - int(zero.reshape(-1)[0]))
    return StoredLayer(origin.shape, origin.kind, bits, origin.data_bytes)


def parameter_of(walk: Walk, call: Call, place: int) -> str:
    """The buffer of the file in which a layer's weights lie: layers may share one."""
    found = call.stored[place]
    assert found is not None
    return f"buffer {walk.model.origin.get(found.name, found).buffer}"


def bias_of(call: Call, place: int, outputs: int) -> dict[str, Tensor]:
    """The bias as real numbers; where the file has no scale for its integers, by those of input and weights."""
    if not call.has(place):
        return {}
    value, stored = call.constant(place, "its bias"), call.stored[place]
    assert stored is not None
    if stored.scale is None and value.dtype.kind == "i":
        value = value * _unit(call.stored[0], call.stored[1])
    if value.size != outputs:
        raise NotRead(f"{value.size} biases for {outputs} channels")
    return {"bias": tensor(value.reshape(-1))}


def _unit(source: StoredTensor | None, weight: StoredTensor | None) -> np.ndarray:
    if source is None or weight is None or source.scale is None or weight.scale is None:
        raise NotRead("its bias is in integers without a scale")
    found: np.ndarray = source.scale.astype(np.float64) * weight.scale
    return found


def same_padding(
    walk: Walk, call: Call, source: Map, kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Left, right, top and bottom; "SAME" pads as much as the size of the picture asks for, the larger half behind it."""
    if call.options["Padding"] != SAME:
        return 0, 0, 0, 0
    ends: list[tuple[int, int]] = []
    for side, size, step, dilation in zip(walk.shape(source)[2:], kernel, strides, dilations, strict=True):
        if side % step:
            walk.misfits.append(f"{call.name}: {side} pixels by steps of {step}")
        total = max((-(-side // step) - 1) * step + (size - 1) * dilation + 1 - side, 0)
        ends.append((total // 2, total - total // 2))
    return *ends[1], *ends[0]


def strides_of(call: Call) -> tuple[int, int]:
    return int(call.options["StrideH"]), int(call.options["StrideW"])


def one(values: tuple[int, int]) -> int | tuple[int, int]:
    return values[0] if values[0] == values[1] else values


@READS.register("CONV_2D", "DEPTHWISE_CONV_2D", becomes=(Conv,))
def _conv(walk: Walk, call: Call) -> Value:
    source, weight = walk.first(call.map()), call.constant(1, "its weights")
    depthwise = call.kind == "DEPTHWISE_CONV_2D"
    if weight.ndim != 4 or 0 in weight.shape:
        raise NotRead(f"weights of the shape {list(weight.shape)}")
    array = weight.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    channels = walk.shape(source)[1]
    groups = channels if depthwise else channels // array.shape[1]
    if groups < 1 or groups * array.shape[1] != channels or array.shape[0] % groups:
        raise NotRead(f"weights {list(weight.shape)} do not fit {channels} channels")
    strides, dilations = strides_of(call), (int(call.options["DilationHFactor"]), int(call.options["DilationWFactor"]))
    if (block := walk.blocks.get(call.operator.inputs[0])) is not None:
        if strides != (1, 1) or (call.options["Padding"] == SAME and array.shape[2:] != (1, 1)):
            raise NotRead("with a stride or padding on a picture that is taken apart")
        dilations = dilations[0] * block[0], dilations[1] * block[1]
    padding = same_padding(walk, call, source, array.shape[2:], strides, dilations)
    op = Conv(one(strides), padding, one(dilations), groups)
    weights = {"weight": tensor(array), **bias_of(call, 2, array.shape[0])}
    made = walk.put(call.name, op, [source], weights, parameter_of(walk, call, 1))
    walk.layers[made.name] = stored_layer(walk, call, 1)
    return walk.last(made)


@READS.register("TRANSPOSE_CONV", becomes=(Conv, PixelShuffle, Pad))
def _transposed(walk: Walk, call: Call) -> Value:
    source, weight = walk.first(call.map(2)), call.constant(1, "its weights")
    stride, step = strides_of(call)
    if stride != step or weight.ndim != 4:
        raise NotRead("strides that differ in height and width")
    kernel = weight.shape[1:3]
    given, wanted = call.stored[2], call.written.shape
    assert given is not None
    ends: list[tuple[int, int]] = []
    for side, before, after, size in zip(walk.shape(source)[2:], given.shape[1:3], wanted[1:3], kernel, strict=True):
        grown = (
            after - before * stride
            if min(before, after) > 1
            else (0 if call.options["Padding"] == SAME else max(size - stride, 0))
        )
        total = (side - 1) * stride + size - (side * stride + grown)
        ends.append((total // 2, total - total // 2) if total > 0 else (0, total))
    pads, extra = (ends[0][0], ends[1][0]), (ends[0][0] - ends[0][1], ends[1][0] - ends[1][1])
    array = tensor(weight.transpose(3, 0, 1, 2))
    found, _, around, cut = transposed_to_shuffled(array, None, stride, pads, extra, 1)
    bias = {key: value.repeat_interleave(stride**2) for key, value in bias_of(call, 3, weight.shape[0]).items()}
    made = walk.put(call.name, Conv(padding=around), [source], {"weight": found, **bias}, parameter_of(walk, call, 1))
    walk.layers[made.name] = stored_layer(walk, call, 1)
    if stride > 1:
        made = walk.put(f"{call.name}.shuffle", PixelShuffle(stride), [made])
    return walk.last(walk.put(f"{call.name}.cut", Pad(cut), [made]) if any(cut) else made)


@READS.register("FULLY_CONNECTED", becomes=(Linear,))
def _connected(walk: Walk, call: Call) -> Value:
    source, weight = call.map(), call.constant(1, "its weights")
    shape = walk.shape(source)
    if weight.ndim != 2:
        raise NotRead("weights that are no matrix")
    if shape[-1] != weight.shape[1]:  # vectors are taken across the last axes
        source = walk.reshaped(f"{call.name}.rows", source, (int(np.prod(shape)) // weight.shape[1], weight.shape[1]))
    elif not call.options.get("KeepNumDims", False) and len(shape) > 2:
        source = walk.reshaped(f"{call.name}.rows", source, (int(np.prod(shape[:-1])), shape[-1]))
    weights = {"weight": tensor(weight), **bias_of(call, 2, weight.shape[0])}
    made = walk.put(call.name, Linear(), [source], weights, parameter_of(walk, call, 1))
    walk.layers[made.name] = stored_layer(walk, call, 1)
    return made


@READS.register("BATCH_MATMUL", becomes=(MatMul, Linear))
def _product(walk: Walk, call: Call) -> Value:
    turn_a, turn_b = bool(call.options.get("AdjX")), bool(call.options.get("AdjY"))
    right = call.inputs[1]
    if isinstance(right, np.ndarray):
        matrix = right.reshape(right.shape[-2:]) if right.size == np.prod(right.shape[-2:]) else None
        if matrix is None or turn_a:
            raise NotRead("a constant factor that is more than one matrix")
        weights = {"weight": tensor(matrix if turn_b else matrix.T)}
        made = walk.put(call.name, Linear(), [call.map()], weights, parameter_of(walk, call, 1))
        walk.layers[made.name] = stored_layer(walk, call, 1)
        return made
    return walk.put(call.name, MatMul(turn_a, turn_b), [call.map(0), call.map(1)])


def real(stored: StoredTensor) -> np.ndarray:
    """The numbers that a constant stands for: codes by their scale, half precision as float32, whole numbers as they are.

    Raises:
        FileError: it has none.
    """
    if stored.data is None:
        raise FileError(f"{stored.name!r} has no numbers")
    if stored.scale is None or stored.zero_point is None or stored.data.dtype.kind not in "iu":
        return stored.data.astype(np.float32) if stored.data.dtype.kind == "f" else stored.data
    sides = [1] * stored.data.ndim
    if stored.scale.size > 1:
        sides[stored.axis] = -1
    scale, zero = (
        values.reshape(sides) if values.size > 1 else values.reshape(()) for values in (stored.scale, stored.zero_point)
    )
    return np.asarray((stored.data.astype(np.float64) - zero) * scale.astype(np.float64), np.float32)
