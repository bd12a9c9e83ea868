"""What a search found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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

    def names(self) -> dict[int, str]:
        """Row -> plan name, for the front and whatever else was picked: numbered by latency; of a rewritten network with
        how many blocks it lacks and how many branches it has."""
        rows = sorted({*self.front, *self.picks.values()}, key=lambda r: (self.objectives.latency_s[r], self.losses[r], r))
        return {row: f"plan-{number:02d}{self.rewritten}" for number, row in enumerate(rows, start=1)}
