"""What the integer engine has for each operator: a function that prepares one node, or the reason why there is none.

One function an operator, a few related ones a file; each enters itself in the table.
"""

from __future__ import annotations

from hwsearch.quant.engine.steps import (  # they fill the table
    layers,
    moves,
    norms,
    pointwise,
    products,
    reductions,
    resizing,
    slopes,
)
from hwsearch.quant.engine.steps.layers import adds_in_integers, as_conv
from hwsearch.quant.engine.steps.pointwise import looked_up, unary_table
from hwsearch.quant.engine.steps.table import STEPS, Run, Site, cut, exact, island, prepared, same_grid

__all__ = [
    "STEPS",
    "Run",
    "Site",
    "adds_in_integers",
    "as_conv",
    "cut",
    "exact",
    "island",
    "layers",
    "looked_up",
    "moves",
    "norms",
    "pointwise",
    "prepared",
    "products",
    "reductions",
    "resizing",
    "same_grid",
    "slopes",
    "unary_table",
]
