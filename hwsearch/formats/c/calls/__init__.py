"""What the C kernels have for each operator: calls with their constants, or the reason why there are none.

A few related operators a file; each enters itself in the table.
"""

from __future__ import annotations

from hwsearch.formats.c.calls import curves, layers, maps, moves, norms, reductions  # they fill the table
from hwsearch.formats.c.calls.lowering import LOWERS, Constant, LoweredNode, Lowering, Record, check, container_bytes
from hwsearch.formats.c.calls.maps import RULE

__all__ = [
    "LOWERS",
    "RULE",
    "Constant",
    "LoweredNode",
    "Lowering",
    "Record",
    "check",
    "container_bytes",
    "curves",
    "layers",
    "maps",
    "moves",
    "norms",
    "reductions",
]
