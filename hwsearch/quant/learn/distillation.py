"""How bounds are trained: in which order, how fast, and what for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from hwsearch.quant.learn.features import Distance, of_steps
from hwsearch.quant.ranges.regions import Rule

FULL = -1
"""As the rank of what is added to weights: any matrix."""

Added = Literal["scales", "branches", "biases"]
"""What may be trained beside: scales of channels, factors of low-rank branches, biases."""
What = Literal["tensors", "weights", "all", "ends", "points", "increments", "modules"] | Added
"""Bounds of tensors (their ends alone, or the breakpoints of those in two regions), of weights and of how their integers are
decided, what is added to weights, what is trained beside, or all; or all of one module after the other, from the last to the
first (``modules``)."""


@dataclass(frozen=True)
class Phase:
    """Some steps in which some bounds are trained, by Adam whose rate falls from ``rate`` to ``last`` along half a cosine."""

    what: What
    steps: int
    rate: float
    last: float


@dataclass(frozen=True)
class Distillation:
    """How bounds are trained towards what another network gives. ``features``: weight of ``distance`` between the features of
    the two networks, beside the error of the output, ``output``; ``batch``: windows a step; ``by_sensitivity``: features count
    by the softmax of their deviation over the mean of all, instead of alike; ``rank`` of what is added to the weights of every
    layer, 0: nothing, ``FULL``: any; ``largest``: weights reach to their largest, whatever they become, and those ends are not
    trained; ``deepest``: of the features only the last counts; ``decided``: integers of less than 8 bits are decided bit by bit,
    by thresholds that are trained; ``added``: what is trained beside (see ``quantizers.added``); ``rule``: how tensors in two
    regions divide their codes.
    """

    phases: Sequence[Phase]
    features: float
    distance: Distance
    batch: int
    by_sensitivity: bool = False
    rank: int = 0
    largest: bool = False
    deepest: bool = False
    decided: bool = False
    added: Collection[Added] = ()
    output: Distance = of_steps
    rule: Rule = Rule.PAPER
