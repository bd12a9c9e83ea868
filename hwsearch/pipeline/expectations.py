"""What else a network may expect of its pictures: asked where it is worse than the simplest method as it is fed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hwmodels.errors import HwsearchError
from hwsearch.problem.network import adapted, found_network
from hwsearch.problem.request import Request
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
            if np.isfinite(quality):
                found[_said((values, order), as_it_is)] = quality
    return found


def _said(wanted: tuple[str, str], as_it_is: tuple[str, str]) -> str:
    """The options for a range and an order: those that change, and those that stay and are not the defaults."""
    usual = (RANGES[0], "rgb")
    options = zip(("--range", "--order"), wanted, as_it_is, usual, strict=True)
    return " ".join(f"{name} {value}" for name, value, now, default in options if value != now or now != default)
