"""Tensors as the engine carries them, as the codes that runtimes store, and back.

The engine carries codes as ``TensorFormat.carrier`` says. The operators of ``engine.operators`` take codes of a container:
that of TFLite and CMSIS-NN is signed (int8, int16), that of ONNX Runtime uint8. Kernels of runtimes take tensors of one container
only; where a plan mixes 8 and 16 bits, the 8-bit tensors stand in int16 ones:

* ``widened``: the same scale, so the same shifted codes. The step back to 8 bits cuts at the same ends. Lossless both ways.
* ``refined``: steps 128 times finer. For functions of one value, whose 16-bit tables know 513 places 128 codes apart: shifted
  8-bit codes lie on them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hwmodels.numbers import INT8, INT16
from hwsearch.quant.engine.fixed_point import quantize_multiplier, scaled_once, scales_once
from hwsearch.quant.engine.kernels.loops.integer_loops import rescale
from hwsearch.quant.engine.operators import elementwise
from hwsearch.quant.engine.operators.activation import Library
from hwsearch.quant.engine.operators.grid import Grid
from hwsearch.quant.network.formats import TensorFormat

LIBRARIES: dict[str, Library] = {"xnnpack": "litert", "gemmlowp": "tflm", "reference": "litert"}
"""Rule -> whose operators it has beside layers; "f32" is ONNX Runtime's and has operators of its own (``operators.qlinear``)."""
FINER = 128


def stored(fmt: TensorFormat) -> Grid:
    """The codes of an integer format in the signed container that holds its width."""
    middle = fmt.grid.middle
    return Grid("int16" if fmt.is_wide else "int8", fmt.scale, fmt.zero_point - middle, fmt.qmin - middle, fmt.qmax - middle)


def unsigned(fmt: TensorFormat) -> Grid:
    """The codes of a format of at most 8 bits as they are."""
    return Grid("uint8", fmt.scale, fmt.zero_point, fmt.qmin, fmt.qmax)


def widened(fmt: TensorFormat) -> Grid:
    """The int16 grid that holds the shifted codes of an integer format, at its scale and within its bounds."""
    return Grid("int16", fmt.scale, 0, fmt.qmin - fmt.zero_point, fmt.qmax - fmt.zero_point)


def refined(fmt: TensorFormat, finer: int = FINER) -> Grid:
    """The int16 grid of steps ``finer`` times finer than those of a format of at most 8 bits."""
    return Grid("int16", fmt.scale / finer)


def codes(value: Tensor, fmt: TensorFormat, grid: Grid) -> np.ndarray:
    """What the engine carries of a format as codes of a container."""
    held, more = value.numpy(), grid.zero_point - fmt.origin
    found: np.ndarray = (held.astype(np.int32) + more if more else held).astype(grid.dtype)
    return found


def of_values(values: Tensor, fmt: TensorFormat, grid: Grid) -> np.ndarray:
    """Real values, a constant's, as codes of a container."""
    return codes(fmt.carried(fmt.stored(values)), fmt, grid)


def carried(found: np.ndarray, grid: Grid, fmt: TensorFormat) -> Tensor:
    """Codes of a container as the engine carries them."""
    more = fmt.origin - grid.zero_point
    return torch.from_numpy(np.ascontiguousarray(found.astype(np.int32) + more if more else found)).to(fmt.carrier)


def requantized(found: np.ndarray, grid: Grid, target: Grid, rule: str = "reference") -> np.ndarray:
    """Codes on another grid, by TFLite's QUANTIZE between integers: two roundings.

    XNNPACK's, between 8-bit tensors (``rule`` "xnnpack"), has a multiplier of 8 fractional bits: where scales differ by little,
    the outermost codes may be off by half a code.
    """
    if (grid.step, grid.zero_point, grid.kind) == (target.step, target.zero_point, target.kind):
        return target.clamp(found)
    ratio = np.float32(grid.step / target.step)
    if rule == "xnnpack" and not (grid.wide or target.wide) and scales_once(ratio):
        return target.clamp(scaled_once(found.astype(np.int64) - grid.zero_point, ratio) + target.zero_point)
    out = np.empty(found.size, np.int64)
    shifted = found.astype(np.int64).reshape(-1) - grid.zero_point
    rescale(shifted, *quantize_multiplier(float(grid.step) / float(target.step)), out)
    return target.clamp(out.reshape(found.shape) + target.zero_point)


def product(rule: str, a: Grid, b: Grid, y: Grid) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The product of codes on two grids, by the kernel of a rule."""
    if rule == "xnnpack" and not y.wide:
        return lambda left, right: elementwise.multiply_once(left, right, a, b, y)
    return lambda left, right: elementwise.multiply(left, right, a, b, y, LIBRARIES[rule])


def constant(values: Tensor, *formats: TensorFormat) -> TensorFormat:
    """The format of a constant operand beside tensors of these formats, as TFLite's files hold it: as wide as they are, symmetric
    over the largest magnitude."""
    number = INT8 if narrow(*formats) else INT16
    reach = max(float(values.abs().max()), 1e-9)
    half = number.narrow_limit
    return TensorFormat(number, float(np.float32(reach / half)), number.middle, number.middle - half, number.middle + half)


def narrow(*formats: TensorFormat) -> bool:
    """Whether all of them are integers of at most 8 bits."""
    return all(not fmt.is_float and fmt.bits <= INT8.bits for fmt in formats)


def integers(*formats: TensorFormat) -> bool:
    """Whether none of them is floating point."""
    return all(not fmt.is_float and fmt.bits <= INT16.bits for fmt in formats)
