"""OCTAV: the clipping value of least squared error, by a recursion that converges in a few steps; tensors and weights.

Sakr et al. 2022, "Optimal Clipping and Magnitude-aware Differentiation for Improved Quantization-aware Training" (ICML); the
paper computes it in every step of training, here it is computed once.
"""

from __future__ import annotations

from hwsearch.quant.method import MethodInfo
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach

INFO = MethodInfo(
    title="OCTAV",
    summary="ranges and weights clipped by Newton's recursion for the least squared error",
    source="Sakr et al., ICML 2022",
    reconstructed="used once after training, without the paper's gradients",
    family="as traced",
)


def observe(seen: Observations) -> Static:
    """See ``quant.method.MethodModule``."""
    return Static(seen, bounds.octav, reach.octav)
