"""Constants of an ONNX file: what they are worth, which integers stand for them, and how they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from hwsearch.formats.readers import bits_of

INTEGER_BITS: dict[int, int] = {
    **{TensorProto.INT2: 2, TensorProto.UINT2: 2, TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.INT8: 8},
    **{TensorProto.UINT8: 8, TensorProto.INT16: 16, TensorProto.UINT16: 16, TensorProto.INT32: 32, TensorProto.UINT32: 32},
    TensorProto.INT64: 64,
}
FLOAT_BITS: dict[int, int] = {TensorProto.FLOAT16: 16, TensorProto.BFLOAT16: 16, TensorProto.FLOAT: 32, TensorProto.DOUBLE: 64}


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant of the file.

    Attributes:
        name: of the initializer from which it was computed.
        real: its value, or its codes before they are dequantized.
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
    """An initializer.

    Raises:
        ValueError: its numbers lie outside the file, or are fewer or more than its shape says.
    """
    if tensor.data_location == TensorProto.EXTERNAL:
        raise ValueError(f"{tensor.name!r} lies outside the file")
    array = numpy_helper.to_array(tensor)
    real = array if array.dtype.kind in "SUO" else array.astype(np.float64)
    size = INTEGER_BITS.get(tensor.data_type, FLOAT_BITS.get(tensor.data_type, 32))
    return Constant(tensor.name, real, tensor.data_type, None, size)


def constant_node(node: NodeProto) -> Constant:
    """The value of a Constant node."""
    value = helper.get_attribute_value(node.attribute[0])
    tensor = TensorProto()
    tensor.CopyFrom(value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value)))
    tensor.name = node.output[0]
    return constant(tensor)


def folded(node: NodeProto, attrs: Mapping[str, Any], constants: Mapping[str, Constant]) -> Constant:
    """What a node makes of constants: quantized weights, casts, reshapes.

    Raises:
        ValueError: an operation that weights are not made by.
    """
    value, axis = constants[node.input[0]], attrs.get("axis", 1)
    others = [constants[name] if name else None for name in node.input[1:]]
    match node.op_type:
        case "Cast" | "Identity":
            return value
        case "DequantizeLinear":
            return with_codes(value, others[0], others[1] if len(others) > 1 else None, axis)
        case "QuantizeLinear":
            return _quantized(value, others[0], others[1] if len(others) > 1 else None, axis)
        case "Quant":
            scale, zero, bits = (other.real for other in others[:3] if other is not None)
            integers = np.rint(value.real / scale + zero) - zero
            return Constant(value.name, integers * scale, value.stored, integers, int(bits), int(bits))
        case "Reshape" if others[0] is not None:
            return Constant(value.name, value.real.reshape(others[0].real.astype(int).tolist()), value.stored)
    raise ValueError(f"{node.op_type} of constants")


def with_codes(value: Constant, scale: Constant | None, zero: Constant | None, axis: int) -> Constant:
    """A constant of codes with what the codes stand for; without a scale it is 1, without a zero point 0."""
    integers = value.real - (0 if zero is None else _along(zero.real, value.real, axis))
    real = integers * (1 if scale is None else _along(scale.real, value.real, axis))
    return Constant(value.name, real, value.stored, integers, value.container)


def _quantized(value: Constant, scale: Constant | None, zero: Constant | None, axis: int) -> Constant:
    """Codes of floating-point weights that the runtime quantizes when it loads the file."""
    bits = INTEGER_BITS.get(zero.stored, 8) if zero else 8
    codes = value.real if scale is None else np.rint(value.real / _along(scale.real, value.real, axis))
    if zero is not None:
        codes = codes + _along(zero.real, value.real, axis)
    return Constant(value.name, codes, value.stored, None, bits)


def _along(values: np.ndarray, like: np.ndarray, axis: int) -> np.ndarray:
    """Per-channel values in a shape that broadcasts over ``like``."""
    if values.size == 1:
        return values.reshape(())
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
