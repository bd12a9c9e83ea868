"""Number formats of tensors as JSON: bits, step, zero point, bounds, and decode tables, in the file of a quantized network."""

from __future__ import annotations

import math
from typing import Any

from hwmodels.errors import FileError
from hwmodels.numbers import FP16, INT8, INT16, Int, NumberFormat, format_of
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.normalized import PARTS, Normalized


def to_document(fmt: TensorFormat) -> dict[str, Any]:
    """A tensor's format as JSON values."""
    document: dict[str, Any] = {
        "bits": fmt.number.bits,
        "scale": fmt.scale,
        "zero_point": fmt.zero_point,
        "qmin": fmt.qmin,
        "qmax": fmt.qmax,
        "is_float": fmt.is_float,
    }
    if fmt.levels is not None:
        document["levels"] = list(fmt.levels)
    if fmt.normalized is not None:
        document["normalized"] = [fmt.normalized.number.bits, fmt.normalized.low, fmt.normalized.high]
    return document if fmt.number in (FP16, Int(fmt.number.bits)) else document | {"number": str(fmt.number)}


def from_document(name: str, value: dict[str, Any]) -> TensorFormat:
    """The inverse of ``to_document`` for the tensor ``name``; every value is checked.

    Raises:
        FileError: no format that a tensor can have.
        KeyError, TypeError, ValueError: something is missing or of the wrong kind.
    """
    whole = all(type(value[key]) is int for key in ("bits", "zero_point", "qmin", "qmax"))
    if not whole or not 1 <= value["bits"] <= INT16.bits:
        raise FileError(f"tensor {name!r} has an impossible number format: {value}")
    number = format_of(value.get("number", "fp16")) if value["is_float"] else Int(value["bits"])
    levels = None if value.get("levels") is None else tuple(value["levels"])
    codes = value["zero_point"], value["qmin"], value["qmax"]
    fmt = TensorFormat(number, value["scale"], *codes, levels, _normalized(name, number, value.get("normalized")))
    top = INT16.last_code if fmt.is_float else fmt.grid.last_code
    fits = 0 <= fmt.qmin <= fmt.qmax <= top and 0 <= fmt.zero_point <= top
    if not fits or not math.isfinite(fmt.scale) or fmt.scale <= 0:
        raise FileError(f"tensor {name!r} has an impossible number format: {fmt}")
    if levels is not None and not _decodes(levels, fmt):
        raise FileError(f"tensor {name!r} has an impossible decode table: {fmt}")
    return fmt


def _normalized(name: str, number: NumberFormat, value: Any) -> Normalized | None:
    """How a tensor of 16 bits is normalized, from what a file says."""
    if value is None:
        return None
    whole = isinstance(value, list) and len(value) == 3 and all(type(part) is int for part in value)
    if not whole or number != INT16 or not 2 <= value[0] <= INT8.bits or not 0 <= value[1] < value[2] <= PARTS:
        raise FileError(f"tensor {name!r} is normalized in an impossible way: {value}")
    return Normalized(Int(value[0]), value[1], value[2])


def _decodes(levels: tuple[Any, ...], fmt: TensorFormat) -> bool:
    """Whether levels are whole, ascending, as many as the bits can number, with zero, and codes of the container."""
    if fmt.is_float or not all(type(level) is int for level in levels) or 0 not in levels:
        return False
    low, high = -fmt.zero_point, fmt.grid.last_code - fmt.zero_point
    return len(levels) <= 1 << fmt.bits and list(levels) == sorted(set(levels)) and low <= levels[0] and levels[-1] <= high
