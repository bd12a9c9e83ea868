"""Outlier-aware dual region by the rule of the released code, not of the paper (see ``dual_region``, the rule of the paper).

The code's "A4" has 32 codes, so it stores 5 bits. Here a width is always what is stored, and what a device is asked for: tensors
of 5 bits of this method are the code's 4 (``ranges.regions``). So whoever wants the code's W4A4 asks for ``--bits 4/5``, and pays
for five bits. Everything else is as in ``dual_region``: the table, the integers, the training, and the price at run time.
"""

from __future__ import annotations

from dataclasses import replace

from hwsearch.quant.methods.learned import dual_region
from hwsearch.quant.observations import Observations
from hwsearch.quant.ranges.regions import Rule

INFO = replace(
    dual_region.INFO,
    title="Outlier-aware dual region, rule of its code",
    summary="dual_region with the codes divided as the released code does: its A4 are 32 codes, so 5 bits here (--bits 4/5)",
    source="the repository of OAQ-SR, haiiling/OAQ-SR; the paper's rule is dual_region",
    reconstructed=f"{dual_region.INFO.reconstructed}; a width is that of what is stored, one bit more than the code's label",
)
DISTILLATION = replace(dual_region.DISTILLATION, rule=Rule.CODE)


def observe(seen: Observations) -> dual_region.DualRegion:
    """See ``quant.method.MethodModule``."""
    return dual_region.DualRegion(seen, DISTILLATION)
