"""What the exported C keeps in flash beside weights and codes: tables of functions, and operands in single precision.

A function of 8-bit codes is a table of all of them. One of 16-bit codes is 513 places with straight lines between where
TensorFlow Lite Micro has that, and a kernel without a table where it comes from the logistic function; any other is a table of
all codes. Bounds and slopes of 16-bit codes are computed. Numbers beside an operation on real values stay real. Where the steps
of a tensor are so extreme that a kernel has no multiplier for them, the C falls back to the table of all codes, which is not
known here.
"""

from __future__ import annotations

import numpy as np

from hwmodels.workload import Layer, Map, Workload

CODES_8, CODES_16 = 1 << 8, 1 << 16
SAMPLES = 513
WIDE_BYTES = 2
REAL_BYTES = 4
SAMPLED = ("gelu", "sampled")
COMPUTED = ("logistic", "gated")


def beyond(workload: Workload, tensor_bytes: np.ndarray) -> np.ndarray:
    """Bytes of every layer beyond codes of its operands, by the width of its input and of its output: ``float64[L, nA, nA]``.

    Args:
        tensor_bytes: ``float64[nA]``, bytes of one stored element.
    """
    found = np.zeros((len(workload.layers), len(tensor_bytes), len(tensor_bytes)))
    for row, layer in enumerate(workload.layers):
        if isinstance(layer.work, Map) and layer.work.arity == 1:
            found[row] += _table(layer.work, tensor_bytes)
        elif _on_real_values(layer):
            codes = np.maximum(np.maximum.outer(tensor_bytes, tensor_bytes), 1.0)
            numbers = sum(constant.elements for constant in layer.constants if not (constant.flags or constant.repeated))
            found[row] += numbers * (REAL_BYTES - codes)
    return found


def _table(work: Map, tensor_bytes: np.ndarray) -> np.ndarray:
    """Bytes of a function's table, ``float64[nA, nA]``."""
    read, written = np.meshgrid(np.ceil(tensor_bytes), np.ceil(tensor_bytes), indexing="ij")
    if work.function in ("slopes", "mul"):
        return np.zeros_like(read)
    wide = CODES_16 * written
    if work.function in ("clamp", "slope") or work.variant in COMPUTED:
        wide = np.zeros_like(read)
    elif work.variant in SAMPLED:
        wide = np.full_like(read, SAMPLES * WIDE_BYTES)
    found: np.ndarray = np.where(read < WIDE_BYTES, CODES_8 * written, wide)
    return found


def _on_real_values(layer: Layer) -> bool:
    """Whether a function of several operands is computed on real values, of which only the result is rounded."""
    work = layer.work
    if not isinstance(work, Map) or work.arity < 2:
        return False
    return work.variant == "difference" or work.function in ("compare", "division") or layer.finish in ("slope", "slopes")
