"""Tensors and convolutions of a TFLite file as canonical formats, attributes and integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hwmodels.numbers import INT8, INT16, Int
from hwsearch.formats.reading.readers import bits_of
from hwsearch.formats.tflite.tables import StoredOperator, StoredTensor
from hwsearch.formats.tflite.writing.form import SAME
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ops.contractions.conv import Conv

FIRST_CODE = {"int8": INT8.middle, "uint8": 0, "int16": INT16.middle}
"""The unsigned code that stands for the integer 0 of each type in a file."""

CONTAINER_BITS = {"int8": 8, "uint8": 8, "int16": 16}


class NotCounted(Exception):
    """An operator that the canonical graph cannot express; the text says which and why."""


@dataclass(frozen=True, eq=False)
class StoredLayer:
    """A layer's weights as the file has them: shape, container, bytes; ``bits`` is what their integers need."""

    shape: tuple[int, ...]
    kind: str
    bits: int
    bytes: int


def grid_of(tensor: StoredTensor) -> TensorFormat | None:
    """The format of a tensor as the file states it; None for one that is not quantized per tensor in 8 or 16 bits."""
    bits = CONTAINER_BITS.get(tensor.kind)
    if bits is None or tensor.scale is None or tensor.zero_point is None or tensor.scale.size != 1:
        return None
    move = FIRST_CODE[tensor.kind]
    return TensorFormat(Int(bits), float(tensor.scale[0]), int(tensor.zero_point[0]) + move, 0, (1 << bits) - 1)


@dataclass(frozen=True, eq=False)
class Convolution:
    """One convolution: operator and real weights of its node, its integers where it has them, and what the file stores."""

    op: Conv
    weights: Mapping[str, Tensor]
    layer: LayerIntegers | None
    stored: StoredLayer


def read_convolution(
    operator: StoredOperator, tensors: Sequence[StoredTensor], padding: tuple[int, int, int, int]
) -> Convolution:
    """A CONV_2D or DEPTHWISE_CONV_2D whose input has been padded by ``padding`` (left, right, top, bottom).

    Raises:
        NotCounted: it cannot be expressed.
    """
    stored = tensors[operator.inputs[1]] if len(operator.inputs) > 1 else None
    if stored is None or stored.data is None or len(stored.shape) != 4 or 0 in stored.shape:
        raise NotCounted(f"{operator.name} without constant weights")
    depthwise = operator.name == "DEPTHWISE_CONV_2D"
    array = stored.data.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    shape = tensors[operator.inputs[0]].shape
    channels = shape[3] if len(shape) == 4 else 0
    groups = channels if depthwise else channels // array.shape[1]
    if groups < 1 or groups * array.shape[1] != channels or array.shape[0] % groups:
        raise NotCounted(f"{operator.name} whose weights do not fit its input")
    stride, dilation = _one(operator, "StrideH", "StrideW"), _one(operator, "DilationHFactor", "DilationWFactor")
    op = Conv(stride, _window(operator, array.shape[2:], stride, dilation, padding), dilation, groups)
    bias = _bias(operator, tensors, array.shape[0])
    source = grid_of(tensors[operator.inputs[0]])
    layer = None if stored.kind == "float32" else _integers(operator, stored, array, bias, source)
    if layer is None or source is None:
        real = np.ascontiguousarray(array), bias.astype(np.float32)
    else:
        units = layer.scale.astype(np.float64) * source.scale
        real = array.astype(np.float32) * layer.scale[:, None, None, None], (bias * units).astype(np.float32)
    weights = {"weight": torch.from_numpy(real[0]), "bias": torch.from_numpy(real[1])}
    bits = 32 if layer is None else bits_of(array)
    return Convolution(op, weights, layer, StoredLayer(stored.shape, stored.kind, bits, stored.data_bytes))


def _one(operator: StoredOperator, rows: str, columns: str) -> int:
    """A stride or dilation, equal in both directions."""
    first, second = int(operator.options[rows]), int(operator.options[columns])
    if first != second or not 1 <= first <= 64:
        raise NotCounted(f"{operator.name} with {rows} {first} and {columns} {second}")
    return first


def _window(
    operator: StoredOperator, kernel: tuple[int, ...], stride: int, dilation: int, padding: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    if operator.options["Padding"] != SAME:
        return padding
    if stride != 1 or any(padding):
        raise NotCounted(f"{operator.name} with padding that depends on the picture's size")
    (top, bottom), (left, right) = ((span // 2, span - span // 2) for span in (dilation * (side - 1) for side in kernel))
    return left, right, top, bottom


def _bias(operator: StoredOperator, tensors: Sequence[StoredTensor], outputs: int) -> np.ndarray:
    if len(operator.inputs) < 3 or operator.inputs[2] == -1:
        return np.zeros(outputs, np.int64)
    bias = tensors[operator.inputs[2]].data
    if bias is None or bias.size != outputs:
        raise NotCounted(f"{operator.name} without one constant bias a channel")
    return bias.reshape(-1)


def _integers(
    operator: StoredOperator, stored: StoredTensor, array: np.ndarray, bias: np.ndarray, source: TensorFormat | None
) -> LayerIntegers:
    if stored.kind not in ("int8", "int4") or stored.scale is None or stored.zero_point is None or source is None:
        raise NotCounted(f"{operator.name} with {stored.kind} weights")
    if stored.zero_point.any() or stored.scale.size not in (1, array.shape[0]) or bias.dtype.kind != "i":
        raise NotCounted(f"{operator.name} with weights that are not symmetric per output channel")
    if array.min() < -127:
        raise NotCounted(f"{operator.name} with weights of -128, which the narrow range does not have")
    bits = max(2, 1 + int(np.abs(array.astype(np.int16)).max()).bit_length())  # of a range like -7..7
    scale = np.broadcast_to(stored.scale, (array.shape[0],)).copy()
    return LayerIntegers(bits, np.ascontiguousarray(array), scale, bias.astype(np.int64))
