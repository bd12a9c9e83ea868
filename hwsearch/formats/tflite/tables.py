"""The tables of a TFLite file as plain data, every index, size and number checked before anything uses it.

Files come from anywhere: offsets, lengths and shapes may lie. Reading ends in ``FileError`` for whatever cannot be true.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from hwmodels.errors import FileError
from hwsearch.formats.tflite.write import METADATA

MOST_ELEMENTS = 1 << 31
"""Elements that a tensor may have; a picture of 46,000 x 46,000 pixels."""
KINDS = {value: name.lower() for name, value in vars(tflite.TensorType).items() if isinstance(value, int)}
OPERATORS = {value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}
_CONVOLUTION = ("Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "FusedActivationFunction")
_POOL = ("Padding", "StrideH", "StrideW", "FilterHeight", "FilterWidth", "FusedActivationFunction")
OPTIONS = {
    "CONV_2D": ("Conv2DOptions", _CONVOLUTION),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", _CONVOLUTION),
    "TRANSPOSE_CONV": ("TransposeConvOptions", ("Padding", "StrideH", "StrideW", "FusedActivationFunction")),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "KeepNumDims", "WeightsFormat")),
    "BATCH_MATMUL": ("BatchMatMulOptions", ("AdjX", "AdjY")),
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "SUB": ("SubOptions", ("FusedActivationFunction",)),
    "MUL": ("MulOptions", ("FusedActivationFunction",)),
    "DIV": ("DivOptions", ("FusedActivationFunction",)),
    "MAX_POOL_2D": ("Pool2DOptions", _POOL),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
    "SUM": ("ReducerOptions", ("KeepDims",)),
    "REDUCE_MAX": ("ReducerOptions", ("KeepDims",)),
    "REDUCE_MIN": ("ReducerOptions", ("KeepDims",)),
    "SOFTMAX": ("SoftmaxOptions", ("Beta",)),
    "L2_NORMALIZATION": ("L2NormOptions", ("FusedActivationFunction",)),
    "GELU": ("GeluOptions", ("Approximate",)),
    "GATHER": ("GatherOptions", ("Axis", "BatchDims")),
    "PACK": ("PackOptions", ("Axis", "ValuesCount")),
    "UNPACK": ("UnpackOptions", ("Axis", "Num")),
    "SQUEEZE": ("SqueezeOptions", ("SqueezeDimsAsNumpy",)),
    "MIRROR_PAD": ("MirrorPadOptions", ("Mode",)),
    "STRIDED_SLICE": (
        "StridedSliceOptions",
        ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask", "Offset"),
    ),
    "SPACE_TO_DEPTH": ("SpaceToDepthOptions", ("BlockSize",)),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
    "DEPTH_TO_SPACE": ("DepthToSpaceOptions", ("BlockSize",)),
    "LEAKY_RELU": ("LeakyReluOptions", ("Alpha",)),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", ("AlignCorners", "HalfPixelCenters")),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", ("AlignCorners", "HalfPixelCenters")),
}
"""Operator -> its options table and the fields of it that are read."""


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor: ``kind`` such as "int8"; ``scale`` and ``zero_point`` arrays, None where it is not quantized; ``data`` in the
    given shape, None where the network computes it; ``data_bytes`` what it takes in the file; ``buffer``: where it lies in it."""

    name: str
    shape: tuple[int, ...]
    kind: str
    scale: np.ndarray | None
    zero_point: np.ndarray | None
    axis: int
    data: np.ndarray | None
    data_bytes: int
    buffer: int = 0


@dataclass(frozen=True, eq=False)
class StoredOperator:
    """An operator by name; a missing optional input is -1."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class StoredModel:
    """The first subgraph of a file, from its one picture to ``output``, one of its ``outputs``: the first, until shapes are
    looked at. ``facts`` is what our exporter wrote down, empty for files of others; ``remarks`` what is left out; ``origin``:
    tensor -> the constant from which a DEQUANTIZE makes it."""

    tensors: tuple[StoredTensor, ...]
    operators: tuple[StoredOperator, ...]
    input: int
    output: int
    description: str
    facts: Mapping[str, str]
    remarks: tuple[str, ...] = ()
    origin: Mapping[str, StoredTensor] = field(default_factory=dict)
    outputs: tuple[int, ...] = ()


def load(path: Path) -> StoredModel:
    """Read a TFLite file.

    Raises:
        FileError: absent, cut short, not TFLite, more than one picture in or out, or numbers that cannot be true.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if len(data) < 8 or not tflite.Model.ModelBufferHasIdentifier(data, 0):
        raise FileError(f"{path}: not a TFLite file", "It should begin with a flatbuffer of the identifier TFL3.")
    try:
        return _model(data)
    except FileError as error:
        raise FileError(f"{path}: {error.message}", error.hint) from None
    except (struct.error, IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise FileError(f"{path}: not a whole TFLite file: {error}", "It may be cut short; fetch or export it again.") from None


def _model(data: bytes) -> StoredModel:
    model = tflite.Model.GetRootAs(data)
    if model.SubgraphsLength() < 1:
        raise FileError("no network in it: it has no subgraph")
    remarks = []
    if model.SubgraphsLength() > 1:
        remarks.append(f"the first of {model.SubgraphsLength()} subgraphs is read")
    graph = model.Subgraphs(0)
    tensors = tuple(_tensor(model, graph.Tensors(index), len(data)) for index in _indices(graph.TensorsLength(), data))
    operators = tuple(_operator(model, graph.Operators(index), len(tensors)) for index in _indices(graph.OperatorsLength(), data))
    if graph.InputsLength() != 1:
        names = ", ".join(tensors[_known(graph.Inputs(i), len(tensors))].name for i in range(min(graph.InputsLength(), 4)))
        raise FileError(
            f"{graph.InputsLength()} inputs{f' ({names})' if names else ''} where one picture is expected",
            "Convert the network with the picture as its only input: the others as constants in it. A network that keeps a state "
            "between frames is searched as a module (`Recurrent`, see CONTRIBUTING.md), not as a file.",
        )
    outputs = tuple(_known(graph.Outputs(i), len(tensors)) for i in _indices(graph.OutputsLength(), data))
    if not outputs:
        raise FileError("0 outputs where one picture is expected")
    first = _known(graph.Inputs(0), len(tensors))
    origin = {
        tensors[operator.outputs[0]].name: tensors[operator.inputs[0]]
        for operator in operators
        if operator.name in ("DEQUANTIZE", "DENSIFY") and operator.inputs and tensors[operator.inputs[0]].data is not None
    }
    facts, described = _facts(model, data), _text(model.Description())
    return StoredModel(tensors, operators, first, outputs[0], described, facts, tuple(remarks), origin, outputs)


def _indices(count: int, data: bytes) -> range:
    """Positions of a vector of offsets, which takes at least four bytes an entry."""
    if count * 4 > len(data):
        raise FileError(f"a table of {count} entries in a file of {len(data)} bytes")
    return range(count)


def _known(index: int, count: int) -> int:
    if not 0 <= index < count:
        raise FileError(f"tensor {index} of {count} tensors")
    return int(index)


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", errors="replace")


def _tensor(model: Any, tensor: Any, file_bytes: int) -> StoredTensor:
    name, kind = _text(tensor.Name()), KINDS.get(tensor.Type(), "")
    if not kind:
        raise FileError(
            f"tensor {name!r} has the type {tensor.Type()}, which is not known",
            "Convert the network again, with weights and tensors of a common type: float32, float16, int8, int16.",
        )
    shape = tuple(int(side) for side in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    if any(side < 0 for side in shape) or math.prod(shape) > MOST_ELEMENTS:
        raise FileError(f"tensor {name!r} has the impossible shape {list(shape)}")
    scale, zero, axis = _grid(name, kind, tensor.Quantization(), shape)
    if not 0 <= tensor.Buffer() < model.BuffersLength():
        raise FileError(f"tensor {name!r} lies in buffer {tensor.Buffer()} of {model.BuffersLength()}")
    if tensor.Sparsity() is not None:
        raise FileError(
            f"tensor {name!r} is stored without its zeros (sparsely), which is not read",
            "Convert the network again without experimental_sparsify_model: the zeros then stand in the file.",
        )
    buffer = model.Buffers(tensor.Buffer())
    stored = int(buffer.DataLength())
    if stored > file_bytes:
        raise FileError(f"tensor {name!r} claims {stored} bytes of a file of {file_bytes}")
    data = _values(name, kind, shape, buffer.DataAsNumpy().tobytes()) if stored else None
    return StoredTensor(name, shape, kind, scale, zero, axis, data, stored, int(tensor.Buffer()))


def _grid(name: str, kind: str, grid: Any, shape: tuple[int, ...]) -> tuple[np.ndarray | None, np.ndarray | None, int]:
    if grid is None or not grid.ScaleLength():
        return None, None, 0
    scale = np.array(grid.ScaleAsNumpy(), np.float32)
    zero = np.array(grid.ZeroPointAsNumpy(), np.int64) if grid.ZeroPointLength() else np.zeros(scale.size, np.int64)
    axis = int(grid.QuantizedDimension())
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise FileError(f"tensor {name!r} has a scale that is zero, negative or not finite")
    if zero.size != scale.size or (scale.size > 1 and (not 0 <= axis < len(shape) or scale.size != shape[axis])):
        raise FileError(f"tensor {name!r}: {scale.size} scales and {zero.size} zero points do not fit its shape {list(shape)}")
    if kind in ("int8", "uint8", "int16", "int32"):
        limits = np.iinfo(kind)
        if zero.min() < limits.min or zero.max() > limits.max:
            raise FileError(f"tensor {name!r}: a zero point does not fit {kind}")
    return scale, zero, axis


def _values(name: str, kind: str, shape: tuple[int, ...], data: bytes) -> np.ndarray:
    count = math.prod(shape)
    expected = (count + 1) // 2 if kind == "int4" else count * np.dtype(kind).itemsize
    if len(data) != expected:
        raise FileError(f"tensor {name!r} of shape {list(shape)} has {len(data)} bytes, not {expected}")
    if kind == "int4":
        packed = np.frombuffer(data, np.uint8)
        nibbles = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)[:count].astype(np.int8)
        return np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8).reshape(shape)
    values = np.frombuffer(data, kind).reshape(shape)
    finite = np.isfinite(values) if values.size > 1 else ~np.isnan(values)  # of one number, none is a bound or fills a border
    if values.dtype.kind == "f" and not finite.all():
        raise FileError(f"tensor {name!r} has numbers that are not finite")
    return values


def _operator(model: Any, operator: Any, tensors: int) -> StoredOperator:
    if operator.OpcodeIndex() >= model.OperatorCodesLength():
        raise FileError(f"operator code {operator.OpcodeIndex()} of {model.OperatorCodesLength()}")
    code = model.OperatorCodes(operator.OpcodeIndex())
    name = OPERATORS.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "unknown")
    inputs = tuple(int(i) for i in operator.InputsAsNumpy()) if operator.InputsLength() else ()
    outputs = tuple(int(i) for i in operator.OutputsAsNumpy()) if operator.OutputsLength() else ()
    for index in (*outputs, *(i for i in inputs if i != -1)):
        _known(index, tensors)
    options: dict[str, Any] = {}
    if name in OPTIONS and operator.BuiltinOptions() is not None:
        table, fields = OPTIONS[name]
        if operator.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, table):
            raise FileError(f"an operator {name} with the options of another")
        found = getattr(tflite, table)()
        found.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
        options = {field: getattr(found, field)() for field in fields}
    return StoredOperator(name, inputs, outputs, options)


def _facts(model: Any, data: bytes) -> dict[str, str]:
    for index in _indices(model.MetadataLength(), data):
        entry = model.Metadata(index)
        if _text(entry.Name()) == METADATA and entry.Buffer() < model.BuffersLength():
            found = json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
            if isinstance(found, dict):
                return {str(key): str(value) for key, value in found.items()}
    return {}
