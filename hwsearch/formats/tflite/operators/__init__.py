"""Every operator of a plan as TFLite operators whose arithmetic is that of the integer engine under the file's rule.

One function an operator, a few related ones a file; each enters itself in the table.
"""

from __future__ import annotations

from hwsearch.formats.tflite.operators import (  # they fill the table
    convolutions,
    functions,
    moves,
    pictures,
    reductions,
    resizing,
    tokens,
)
from hwsearch.formats.tflite.operators.table import WRITES
from searchspaces.ops.maps.activation import Exp, Gelu

LITERT_WRITES = WRITES.copy("TFLite")
"""Of files for XNNPACK's kernels."""
MICRO_WRITES = WRITES.copy("TensorFlow Lite Micro")
"""Of files for microcontrollers."""
MICRO_WRITES.lacks("its kernel of EXP is for floating point alone", Exp)
MICRO_WRITES.lacks("it has no GELU", Gelu)

__all__ = [
    "LITERT_WRITES",
    "MICRO_WRITES",
    "WRITES",
    "convolutions",
    "functions",
    "moves",
    "pictures",
    "reductions",
    "resizing",
    "tokens",
]
