"""Constants of an ONNX file: what they are worth, which integers stand for them, and how they are stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from hwsearch.formats.reading.readers import bits_of

INTEGER_BITS: dict[int, int] = {
    **{TensorProto.INT2: 2, TensorProto.UINT2: 2, TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.INT8: 8},
    **{TensorProto.UINT8: 8, TensorProto.INT16: 16, TensorProto.UINT16: 16, TensorProto.INT32: 32, TensorProto.UINT32: 32},
    TensorProto.INT64: 64,
}
CODES: dict[int, tuple[int, int]] = {
    TensorProto.UINT8: (0, 255), TensorProto.INT8: (-128, 127), TensorProto.UINT16: (0, 65535),
    TensorProto.INT16: (-32768, 32767), TensorProto.UINT4: (0, 15), TensorProto.INT4: (-8, 7),
}  # fmt: skip
"""Lowest and highest code of each type of quantized tensors."""
FLOAT_BITS: dict[int, int] = {TensorProto.FLOAT16: 16, TensorProto.BFLOAT16: 16, TensorProto.FLOAT: 32, TensorProto.DOUBLE: 64}


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant of the file.

    Attributes:
        name: of the initializer from which it was computed.
        real: its value, or its codes before they are dequantized; half precision as float32.
        stored: the ONNX type in which the file holds it.
        integers: codes relative to their zero point, where it is quantized.
        container: bits of one code.
        bits: width that the file declares, where it does (QONNX).
    """

    name: str
    real: np.ndarray
    stored: int
    integers: np.ndarray | None = None
    container: int = 32
    bits: int | None = None


@dataclass(frozen=True)
class Found:
    """What the file says of a layer's weights: see ``InspectedLayer``."""

    shape: tuple[int, ...]
    bits: int
    bytes: int
    stored_as: str
    transposed: bool


def constant(tensor: TensorProto) -> Constant:
    """An initializer whose numbers are in memory (see ``external``)."""
    array = numpy_helper.to_array(tensor)
    if array.dtype.isbuiltin != 1:  # numbers that numpy has from ml_dtypes: int4, bfloat16, ...
        array = array.astype(np.int16 if tensor.data_type in INTEGER_BITS else np.float32)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    size = INTEGER_BITS.get(tensor.data_type, FLOAT_BITS.get(tensor.data_type, 32))
    return Constant(tensor.name, array, tensor.data_type, None, size)


def computed(name: str, array: np.ndarray) -> Constant:
    """A constant that the reader computed: a shape, an index, what was folded."""
    array = np.asarray(array)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return Constant(name, array, int(kind), None, INTEGER_BITS.get(kind, FLOAT_BITS.get(kind, 32)))


def quantized_by(node: str, value: Constant, others: list[Constant | None], axis: int) -> Constant | None:
    """What quantizers and dequantizers make of a constant; None for other operators."""
    zero = others[1] if len(others) > 1 else None
    match node:
        case "DequantizeLinear":
            return with_codes(value, others[0], zero, axis)
        case "QuantizeLinear":
            return _quantized(value, others[0], zero, axis)
        case "Quant":
            scale, low, bits = (other.real for other in others[:3] if other is not None)
            integers = np.rint(value.real / scale + low) - low
            real = np.asarray(integers * scale, np.float32)
            return Constant(value.name, real, value.stored, integers, int(bits), int(bits))
    return None


def with_codes(value: Constant, scale: Constant | None, zero: Constant | None, axis: int) -> Constant:
    """A constant of codes with what the codes stand for; without a scale it is 1, without a zero point 0."""
    integers = value.real.astype(np.float64) - (0 if zero is None else _along(zero.real, value.real, axis).astype(np.float64))
    real = integers.astype(np.float32) * (np.float32(1) if scale is None else _along(scale.real, value.real, axis))
    return Constant(value.name, np.asarray(real, np.float32), value.stored, integers, value.container)


def _quantized(value: Constant, scale: Constant | None, zero: Constant | None, axis: int) -> Constant:
    """Codes of floating-point weights that the runtime quantizes when it loads the file."""
    bits = INTEGER_BITS.get(zero.stored, 8) if zero else 8
    codes = value.real if scale is None else np.rint(value.real / _along(scale.real, value.real, axis))
    if zero is not None:
        codes = codes + _along(zero.real, value.real, axis)
        codes = np.clip(codes, *CODES.get(zero.stored, (-np.inf, np.inf)))
    return Constant(value.name, codes, value.stored, None, bits)


def _along(values: np.ndarray, like: np.ndarray, axis: int) -> np.ndarray:
    """Per-channel values in a shape that broadcasts over ``like``."""
    if values.size == 1:
        return values.reshape(())
    if values.ndim == like.ndim and values.ndim > 1:  # blocks along an axis
        return np.repeat(values, like.shape[axis] // values.shape[axis], axis)
    shape = [1] * like.ndim
    shape[axis] = -1
    return values.reshape(shape)


def found(weight: Constant, transposed: bool) -> Found:
    """A layer's weights as they are reported."""
    kind = TensorProto.DataType.Name(weight.stored).lower()
    size = INTEGER_BITS.get(weight.stored, FLOAT_BITS.get(weight.stored, 32))
    bits = weight.bits or size
    if weight.integers is not None and weight.bits is None:
        bits = min(weight.container, bits_of(weight.integers))
    stored_as = "float32" if kind == "float" else kind
    return Found(weight.real.shape, bits, -(-weight.real.size * size // 8), stored_as, transposed)


def code_bits(bounds: tuple[float, float], container: int) -> int:
    """Bits that hold the codes ``low..high``: those of the largest, or of two's complement where some are negative."""
    low, high = bounds
    if not (np.isfinite(low) and np.isfinite(high)):
        return container
    return min(container, bits_of(np.array([low, high])) if low < 0 else max(2, int(high).bit_length()))
