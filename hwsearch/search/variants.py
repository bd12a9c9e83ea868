"""Networks that were rewritten as decisions of a search: which rewriting, and how wide what it gives is, at one price.

A rewriting leaves blocks out (``search.blocks``) or gives layers low-rank branches (``search.branches``). Every network is
priced as what it is, has damages of its own, and its exact front. ``shares`` splits the evaluations among the searches of the
networks by the volume that the plans of their fronts promise (``propose.hypervolume_batch``), with losses against the network as
it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.pricing.table import CostTable
from hwsearch.quality.damage import Damage
from hwsearch.search.exact import exact
from hwsearch.search.exact.additive import AdditiveProblem
from hwsearch.search.exact.alternatives import lower_all
from hwsearch.search.predict import interactions
from hwsearch.search.propose import hypervolume_batch
from searchspaces.space import PlanRow, SearchSpace, distinct, matrix

POINTS = 12
"""Latency budgets of the exact front of each network."""


@dataclass(frozen=True)
class Rewriting:
    """What is done to a network: the blocks that it is without, and its low-rank branches, as ``LAYER=RANK``."""

    dropped: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.dropped or self.branches)


@dataclass(frozen=True, eq=False)
class Variant:
    """A rewritten network, with prices and damages of its own.

    Attributes:
        rewriting: empty: the network as it was.
        tables: prices, one table for each way to cut the picture.
        damage: of its choices, against the variant itself in floating point; ``lost_db``: what that loses against the network as
            it was.
    """

    rewriting: Rewriting
    space: SearchSpace
    tables: Sequence[CostTable]
    damage: Damage
    lost_db: float

    @property
    def limits(self) -> Mapping[str, float]:
        """The device's hard limits."""
        return self.tables[0].limits

    def problem(self, noise: np.ndarray) -> AdditiveProblem:
        """What the exact solver solves for ``noise float64[D, C]``, over all ways to cut the picture."""
        return lower_all(self.tables, noise, self.space, self.limits)


def shares(
    variants: Sequence[Variant], evaluations: int, most_db: float, least: int, budgets: Mapping[str, float], seed: int = 0
) -> list[int]:
    """How many of ``evaluations`` each network is worth. Of the predicted plans of all, those are taken one after another that
    together promise most volume; a network that owns some of them gets ``least``, and of the rest as its plans are many. Their
    sum is ``evaluations``.

    Args:
        most_db: a plan that loses more is of no use.
        least: where that is not enough for all, those get it whose plans came first.
        budgets: upper limits in SI units, of which those on latency and memory say which plans are of use too.
    """
    promised = [
        (at, values) for at, own in enumerate(variants) for _, values in offered(own, {}, np.random.default_rng((seed, 0)))
    ]
    ideal, reference = box(variants, most_db)
    wanted = [budgets.get("latency", np.inf), budgets.get("memory", np.inf)]
    reference[1:] = np.maximum(np.minimum(reference[1:], wanted), ideal[1:] * (1 + 1e-9))
    values = np.array([values for _, values in promised]).reshape(-1, len(ideal))
    picked = hypervolume_batch.pick(values, np.empty((0, len(ideal))), ideal, reference, evaluations)
    owners = [promised[at][0] for at in picked] or [0]  # nothing promises anything: as if the first were alone
    kept = [*dict.fromkeys(owners)][: max(1, evaluations // max(least, 1))]
    owned = np.bincount([at for at in owners if at in kept], minlength=len(variants))
    found = np.where(owned > 0, min(least, evaluations), 0)
    rest = evaluations - int(found.sum())
    more = owned * rest / owned.sum()
    found = found + np.floor(more).astype(int)
    for at in np.argsort(np.floor(more) - more, kind="stable")[: evaluations - int(found.sum())]:
        found[at] += 1
    return [int(share) for share in found]


def box(variants: Sequence[Variant], most_db: float) -> tuple[np.ndarray, np.ndarray]:
    """(ideal, reference) of (loss, latency, memory): nothing lost at the least price of any variant, and ``most_db`` at the
    price of the widest plan of all."""
    ends = [hypervolume_batch.corners(variant.problem(np.zeros_like(variant.damage.noise)), most_db) for variant in variants]
    ideals, references = zip(*ends, strict=True)
    return np.min(ideals, axis=0), np.max(references, axis=0)


def offered(variant: Variant, known: Mapping[PlanRow, float], rng: np.random.Generator) -> list[tuple[PlanRow, np.ndarray]]:
    """Plans of the predicted front of a variant, each with its predicted (loss, latency, memory) ``float64[3]``.

    Args:
        known: plans that are not offered, and what each loses against the network as it was; the prediction is calibrated by
            them.
        rng: draws which plans between those of the exact front are found.
    """
    damage, space = variant.damage, variant.space
    losses = np.array([*known.values()]) - variant.lost_db
    prediction = interactions.calibrate(damage, matrix([*known]), losses) if known else interactions.alone(damage)
    solved = exact.fronts(variant.tables, prediction.damage.noise, space, POINTS)
    if not solved:
        return []
    problem = variant.problem(prediction.damage.noise)
    filled = hypervolume_batch.fill(problem, matrix(solved), variant.limits, rng)
    fresh = [plan for plan in distinct(map(space.row, filled)) if plan not in known]
    if not fresh:
        return []
    rows = matrix(fresh)
    values = hypervolume_batch.objectives(problem, rows, variant.lost_db + prediction.loss_db(rows))
    return [*zip(fresh, values, strict=True)]
