"""Every operator of a plan as TFLite operators whose arithmetic is that of the integer engine under the file's rule.

One function an operator, a few related ones a file; each enters itself in the table.
"""

from __future__ import annotations

from hwsearch.formats.tflite.operators import convolutions, moves, pictures, reductions, resizing, tokens  # they fill the table
from hwsearch.formats.tflite.operators.table import WRITES
from searchspaces.ops.maps.activation import Exp, Gelu
from searchspaces.ops.reductions.reduce import Mean

LITERT_WRITES = WRITES.copy("TFLite")
"""Of files for XNNPACK's kernels."""
LITERT_WRITES.lacks("XNNPACK's mean rounds in another way than the engine; TensorFlow Lite Micro's does not", Mean)
MICRO_WRITES = WRITES.copy("TensorFlow Lite Micro")
"""Of files for microcontrollers."""
MICRO_WRITES.lacks("its kernel of EXP is for floating point alone", Exp)
MICRO_WRITES.lacks("it has no GELU", Gelu)

__all__ = ["LITERT_WRITES", "MICRO_WRITES", "WRITES", "convolutions", "moves", "pictures", "reductions", "resizing", "tokens"]
