"""Every operator in single-precision ONNX: what the float file is made of, and what stands between codes without integers.

One function an operator, a few related ones a file; each enters itself in the table. Sizes that depend on the picture are
computed in the file (``Writer.extents``).
"""

from __future__ import annotations

from hwsearch.formats.onnx.operators import contractions, moves, pointwise, reductions, state  # they fill the table
from hwsearch.formats.onnx.operators.table import WRITES

__all__ = ["WRITES", "contractions", "moves", "pointwise", "reductions", "state"]
