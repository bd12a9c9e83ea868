"""One canonical operation to ONNX nodes whose arithmetic is that of the integer engine, code for code.

Tensors are stored in the file as codes: uint8 for widths up to 8 bits, uint16 for 16, float16 for half precision. Three ways
lead from one to the next:

* A convolution with inputs and output of at most 8 bits is written as DequantizeLinear, Conv, QuantizeLinear, which ONNX Runtime
  fuses into its integer QLinearConv; an addition likewise (QLinearAdd). Narrower formats and ReLU are a Clip on the uint8 codes:
  a Relu node would make ONNX Runtime run the convolution in floating point.
* A convolution that the fusion cannot hold (PReLU, 16 bits, half precision behind it) is a ConvInteger with its requantization
  spelled out; a 16-bit input is convolved byte by byte and put together in double precision.
* Everything else decodes, computes and encodes in single-precision nodes that are never fused.

Weights: 2 bits are packed as INT2, 3 and 4 as INT4, behind a Cast that ONNX Runtime folds away at load time; wider ones are
int8, unless int8 is unsafe. It is unsafe on x86 CPUs without VNNI, whose u8*s8 instruction adds two products in 16 saturating
bits: there, a layer whose ``2 * 255 * max|w|`` exceeds 32767 is wrong in most codes. Such layers carry uint8 weights with zero
point 128, for which every kernel is exact.
"""

from __future__ import annotations

from hwsearch.formats.onnx.codes import (  # noqa: F401  they fill the table
    attention,
    convolutions,
    moves,
    pointwise,
    reductions,
    state,
)
from hwsearch.formats.onnx.codes.code_writer import CodeWriter
from hwsearch.formats.onnx.codes.table import CODES

__all__ = ["CODES", "CodeWriter"]
