"""What a search found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hwmodels import cost
from hwmodels.tiling.tiles import PricedTiling
from hwsearch.documents.origin import Origin
from hwsearch.documents.results import ProxyCheck
from searchspaces.space import PlanRow


@dataclass(frozen=True, eq=False)
class Search:
    """What the search found: every measured plan, its loss and its price in columns of equal length, and which of them matter.

    Attributes:
        checks: proxies against random plans; ``front_checks``: against plans of the exact fronts, before these were measured.
        plans: N of them; ``losses``: ``float64[N]``, simulated on the search pictures, dB; ``objectives``: their price.
        front: rows of the non-dominated plans, by latency; ``picks``: role -> row.
        origins: row -> where its plan came from first.
        tilings: how the picture is cut under each plan; ``methods``: what it was measured with.
        rewritten: what was done to the network, as names of plans end; empty: nothing.
        finalists: rows of the plans that were finished before one of them was picked, and what each loses then, dB, on the search
            pictures; empty where none were.
    """

    checks: list[ProxyCheck]
    front_checks: list[ProxyCheck]
    plans: Sequence[PlanRow]
    losses: np.ndarray
    objectives: cost.Objectives
    front: list[int]
    picks: dict[str, int]
    origins: dict[int, Origin]
    tilings: list[PricedTiling]
    methods: list[str]
    rewritten: str = ""
    finalists: Mapping[int, float] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The role of the plan that is recommended: of the budget, or without one of the knee."""
        return "budget" if "budget" in self.picks else "knee"

    def names(self) -> dict[int, str]:
        """Row -> plan name, for the front and whatever else was picked or finished: numbered by latency; of a rewritten network
        with how many blocks it lacks and how many branches it has."""
        told = {*self.front, *self.picks.values(), *self.finalists}
        rows = sorted(told, key=lambda r: (self.objectives.latency_s[r], self.losses[r], r))
        return {row: f"plan-{number:02d}{self.rewritten}" for number, row in enumerate(rows, start=1)}
