"""A TFLite file, put together from tensors, operators and options: the flatbuffer and nothing of the network.

The schema is that of the `tflite` package (generated from the TensorFlow Lite schema, version 3). Buffers with equal content are
stored once, so that two tensors may read the same weights under different scales.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite

SCHEMA_VERSION = 3
IDENTIFIER = b"TFL3"
ALIGNMENT = 16
"""Bytes to which buffers are aligned; interpreters map them without copying."""

TYPES = {
    "int4": tflite.TensorType.INT4,
    "int8": tflite.TensorType.INT8,
    "int16": tflite.TensorType.INT16,
    "int32": tflite.TensorType.INT32,
    "int64": tflite.TensorType.INT64,
    "uint8": tflite.TensorType.UINT8,
    "float16": tflite.TensorType.FLOAT16,
    "float32": tflite.TensorType.FLOAT32,
    "bool": tflite.TensorType.BOOL,
}


@dataclass(frozen=True)
class Options:
    """The options table of an operator: its name in the schema, and its fields as the schema's builders name them."""

    table: str
    fields: Mapping[str, int | bool | float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    kind: str
    scale: np.ndarray | None
    zero_point: int
    axis: int
    buffer: int


@dataclass(frozen=True)
class _Operator:
    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Options | None


def pack_int4(values: np.ndarray) -> bytes:
    """Signed 4-bit integers, two a byte, the first of two in the low half."""
    nibbles = values.astype(np.int16).reshape(-1) & 15
    pairs = np.pad(nibbles, (0, nibbles.size % 2)).reshape(-1, 2)
    found: bytes = (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8).tobytes()
    return found


class FlatModel:
    """Collects tensors and operators of the one subgraph, in execution order."""

    def __init__(self) -> None:
        self.tensors: list[_Tensor] = []
        self.operators: list[_Operator] = []
        self._codes: list[tuple[int, int]] = []
        self._buffers: list[bytes] = [b""]  # buffer 0 is empty by convention: tensors without data refer to it

    def buffer(self, data: bytes) -> int:
        """The index of a buffer with this content."""
        if data in self._buffers:
            return self._buffers.index(data)
        self._buffers.append(data)
        return len(self._buffers) - 1

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: str,
        *,
        scale: float | np.ndarray | None = None,
        zero_point: int = 0,
        axis: int = 0,
        data: np.ndarray | None = None,
    ) -> int:
        """Append a tensor; one with ``data`` is a constant. ``scale`` with several values lies along ``axis``."""
        stored = 0
        if data is not None:
            stored = self.buffer(pack_int4(data) if kind == "int4" else np.ascontiguousarray(data, np.dtype(kind)).tobytes())
        scales = None if scale is None else np.atleast_1d(np.asarray(scale, np.float32))
        self.tensors.append(_Tensor(name, tuple(map(int, shape)), kind, scales, int(zero_point), axis, stored))
        return len(self.tensors) - 1

    def op(self, name: str, inputs: Sequence[int], output: int, options: Options | None = None, version: int = 1) -> int:
        """Append an operator by its name in the schema; returns its output."""
        code = (int(getattr(tflite.BuiltinOperator, name)), version)
        if code not in self._codes:
            self._codes.append(code)
        self.operators.append(_Operator(self._codes.index(code), tuple(inputs), (output,), options))
        return output

    def serialize(self, inputs: Sequence[int], outputs: Sequence[int], description: str, metadata: Mapping[str, str]) -> bytes:
        """The whole file. ``metadata`` becomes named buffers of UTF-8 text."""
        entries = {name: self.buffer(text.encode()) for name, text in metadata.items()}
        b = flatbuffers.Builder(1024)
        buffers = [self._write_buffer(b, data) for data in self._buffers]
        tensors = [self._write_tensor(b, tensor) for tensor in self.tensors]
        operators = [self._write_operator(b, operator) for operator in self.operators]
        subgraph = self._table(
            b,
            "SubGraph",
            Tensors=self._offsets(b, tensors),
            Inputs=self._ints(b, inputs),
            Outputs=self._ints(b, outputs),
            Operators=self._offsets(b, operators),
            Name=b.CreateString("main"),
        )
        codes = [
            self._table(b, "OperatorCode", DeprecatedBuiltinCode=min(code, 127), BuiltinCode=code, Version=version)
            for code, version in self._codes
        ]
        notes = [self._table(b, "Metadata", Name=b.CreateString(name), Buffer=index) for name, index in entries.items()]
        model = self._table(
            b,
            "Model",
            Version=SCHEMA_VERSION,
            OperatorCodes=self._offsets(b, codes),
            Subgraphs=self._offsets(b, [subgraph]),
            Description=b.CreateString(description),
            Buffers=self._offsets(b, buffers),
            Metadata=self._offsets(b, notes),
        )
        b.Finish(model, IDENTIFIER)
        return bytes(b.Output())

    def _write_buffer(self, b: flatbuffers.Builder, data: bytes) -> int:
        if not data:
            return self._table(b, "Buffer")
        b.StartVector(1, len(data), ALIGNMENT)
        b.head -= len(data)
        b.Bytes[b.head : b.head + len(data)] = data
        return self._table(b, "Buffer", Data=b.EndVector())

    def _write_tensor(self, b: flatbuffers.Builder, tensor: _Tensor) -> int:
        fields: dict[str, Any] = {}
        if tensor.scale is not None:
            scale = b.CreateNumpyVector(tensor.scale)
            zero = b.CreateNumpyVector(np.full(tensor.scale.size, tensor.zero_point, np.int64))
            fields["Quantization"] = self._table(
                b, "QuantizationParameters", Scale=scale, ZeroPoint=zero, QuantizedDimension=tensor.axis
            )
        name, shape = b.CreateString(tensor.name), self._ints(b, tensor.shape)
        return self._table(b, "Tensor", Shape=shape, Type=TYPES[tensor.kind], Buffer=tensor.buffer, Name=name, **fields)

    def _write_operator(self, b: flatbuffers.Builder, operator: _Operator) -> int:
        fields: dict[str, Any] = {}
        if operator.options is not None:
            fields["BuiltinOptions"] = self._table(b, operator.options.table, **operator.options.fields)
            fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, operator.options.table)
        inputs, outputs = self._ints(b, operator.inputs), self._ints(b, operator.outputs)
        return self._table(b, "Operator", OpcodeIndex=operator.code, Inputs=inputs, Outputs=outputs, **fields)

    @staticmethod
    def _ints(b: flatbuffers.Builder, values: Sequence[int]) -> int:
        return int(b.CreateNumpyVector(np.asarray(values, np.int32)))

    @staticmethod
    def _offsets(b: flatbuffers.Builder, offsets: Sequence[int]) -> int:
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return int(b.EndVector())

    @staticmethod
    def _table(b: flatbuffers.Builder, name: str, **fields: Any) -> int:
        getattr(tflite, f"{name}Start")(b)
        for key, value in fields.items():
            getattr(tflite, f"{name}Add{key}")(b, value)
        return int(getattr(tflite, f"{name}End")(b))
