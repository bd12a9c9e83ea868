"""Every operator of a plan as TFLite operators whose arithmetic is that of the integer engine under the file's rule.

One function an operator, a few related ones a file; each enters itself in the table.
"""

from __future__ import annotations

from hwsearch.formats.tflite.operators import convolutions, moves, pictures, reductions, tokens  # they fill the table
from hwsearch.formats.tflite.operators.table import WRITES

__all__ = ["WRITES", "convolutions", "moves", "pictures", "reductions", "tokens"]
