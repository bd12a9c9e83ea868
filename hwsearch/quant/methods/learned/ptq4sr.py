"""PTQ4SR: clipping by density, then bounds learned against the floating-point network, of tensors first and of weights after.

Tu et al. 2023, "Toward Accurate Post-Training Quantization for Image Super Resolution" (CVPR); its two parts are called DBDC
and PaC in tables of others. DBDC drops the outermost of 2048 bins at whichever end of a tensor has fewer values until a share
of 5e-4 is gone (1e-5 at 8 bits); weights begin from minimum to maximum. PaC trains 250 steps of the tensors' bounds (rates 5e-3
to 2e-3) and 250 of the weights' (5e-6 to 2e-6), batches of two, for the mean absolute error of the output and five times the
squared difference of where the blocks' features have their energy.

Differences: features do reach the bounds here (the released code detaches them, so that only the output trains); rates are
relative to where a bound began; weights have no zero point; the histogram is one of all pictures, not a running mean of batches.
"""

from __future__ import annotations

from hwsearch.quant.learn.distillation import Distillation, Phase
from hwsearch.quant.learn.features import of_energies
from hwsearch.quant.method import MethodInfo
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges import bounds
from hwsearch.quant.static import Static
from hwsearch.quant.weights import reach

INFO = MethodInfo(
    title="PTQ4SR (DBDC + PaC)",
    summary="ranges clipped by density, then learned against the floating-point network",
    source="Tu et al., CVPR 2023; its repository",
    reconstructed="learning rates relative to a bound; weights symmetric",
    trains=True,
)
DISTILLATION = Distillation(
    phases=(Phase("tensors", 250, 5e-3, 2e-3), Phase("weights", 250, 5e-6, 2e-6)), features=5.0, distance=of_energies, batch=2
)


def observe(seen: Observations) -> Static:
    """See ``quant.method.MethodModule``."""
    return Static(seen, bounds.density, reach.largest, DISTILLATION)
