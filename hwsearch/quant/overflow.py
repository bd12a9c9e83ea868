"""Networks whose values a narrow floating-point format cannot hold: found while they are calibrated, and refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from hwmodels.errors import FileError
from hwmodels.numbers import Float
from hwsearch.quant.engine.integer import run_codes

if TYPE_CHECKING:
    from hwsearch.quant.calibrate import Calibration


def check_overflow(calibration: Calibration, picture: Tensor) -> None:
    """Raise FileError where the network, in a floating-point format that the space offers, has values beyond its largest number
    for a picture ``[1, C, h, w]``."""
    space = calibration.space
    for number in sorted({*space.weight_formats, *space.tensor_formats}):
        if isinstance(number, Float) and number.is_wide:  # narrower ones have scales
            _check_overflow_of(number, calibration, picture)


def _check_overflow_of(number: Float, calibration: Calibration, picture: Tensor) -> None:
    width = calibration.space.width(number)
    with np.errstate(over="ignore"):  # that is what is looked for
        quantized = calibration.quantized(calibration.space.uniform(width, width))
    for name, layer in quantized.layers.items():
        if not (np.isfinite(layer.weight).all() and np.isfinite(layer.bias).all()):
            raise _overflow(f"a weight or a bias of the layer {name!r}", number)
    values = run_codes(quantized, picture)
    for node in quantized.graph.nodes:
        if quantized.formats[node.name].is_float and not bool(values[node.name].isfinite().all()):
            raise _overflow(f"the tensor {node.name!r}", number)


def _overflow(what: str, number: Float) -> FileError:
    return FileError(
        f"{what} exceeds {number.largest:g}, the largest number of {number}, which the device would compute in",
        "Scale the weights of the network down, or search in integers alone: --weight-bits 8 --activation-bits 8.",
    )
