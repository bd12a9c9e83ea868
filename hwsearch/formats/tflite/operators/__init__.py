"""Every operator of a plan as TFLite operators whose arithmetic is that of the integer engine under the file's rule.

One function an operator, a few related ones a file; each enters itself in the table.
"""

from __future__ import annotations

from hwsearch.formats.tflite.operators import (  # they fill the table
    blocks,
    convolutions,
    functions,
    moves,
    pictures,
    reductions,
    resizing,
    state,
    tokens,
)
from hwsearch.formats.tflite.operators.table import WRITES
from searchspaces.ops.maps.activation import Exp, Gelu
from searchspaces.ops.moves.move import PixelShuffle, PixelUnshuffle

LITERT_WRITES = WRITES.copy("TFLite")
"""Of files for XNNPACK's kernels."""
ETHOS_WRITES = WRITES.copy("TFLite for Ethos-U")
"""Of files that Arm's compiler takes."""
ETHOS_WRITES.put(blocks.shuffle, PixelShuffle, PixelUnshuffle)
MICRO_WRITES = WRITES.copy("TensorFlow Lite Micro")
"""Of files for microcontrollers."""
MICRO_WRITES.lacks("its kernel of EXP is for floating point alone", Exp)
MICRO_WRITES.lacks("it has no GELU", Gelu)

__all__ = [
    "ETHOS_WRITES",
    "LITERT_WRITES",
    "MICRO_WRITES",
    "WRITES",
    "blocks",
    "convolutions",
    "functions",
    "moves",
    "pictures",
    "reductions",
    "resizing",
    "state",
    "tokens",
]
