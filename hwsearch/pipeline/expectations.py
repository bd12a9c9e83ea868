"""What else a network may expect of its pictures: asked where it is worse than the simplest method as it is fed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hwmodels.errors import HwsearchError
from hwsearch.problem.pose import Request, adapted, found_network
from hwsearch.quality.evaluate import Evaluator
from searchspaces.networks.adapted.colours import SWAPPED
from searchspaces.networks.classifier import IMAGENET

RANGES = ("0..1", "0..255", "-1..1", IMAGENET)
"""What networks are trained on, by how often."""


def measured(request: Request, evaluator: Evaluator) -> Mapping[str, float]:
    """Mean quality of the floating-point network on the samples of ``evaluator``, fed in every usual way that was not asked for;
    by the options that ask for it. Ways in which it does not run are left out.
    """
    network = found_network(request)
    ranges = [*RANGES, *(f"{given}:0..1" for given in RANGES[1:])]
    fitting = [given for given in ranges if network.channels == len(SWAPPED) or IMAGENET not in given]
    orders = ("rgb", "bgr") if network.channels == len(SWAPPED) else ("rgb",)
    as_it_is = (request.value_range or network.value_range or RANGES[0], request.order or orders[0])
    found: dict[str, float] = {}
    for order in orders:
        for values in fitting:
            if (values, order) == as_it_is:
                continue
            try:
                other = adapted(replace(request, value_range=values, order=order), network)
                quality = evaluator.score(other.module).quality_db
            except (HwsearchError, ValueError, RuntimeError):
                continue
            said = [f"--range {values}"] * (values != RANGES[0]) + [f"--order {order}"] * (order != orders[0])
            found[" ".join(said) or f"--range {values}"] = quality
    return found
