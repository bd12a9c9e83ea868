"""Blocks of a network as decisions of a search: which are left out, and how wide what is left is, at one price.

Each block that may go (``searchspaces.networks.adapted.blocks``) is left out once, and what the network then loses is measured
in floating point: on a few samples, and on all of them where that leaves it in question (``Looks``). From the blocks that lose
least for the weights that they hold a chain of smaller networks is built, each without one more of them. Every network of the
chain is priced as what it is, has damages of its own, and its exact front. ``shares`` splits the evaluations among the searches
of the networks by the volume that the plans of their fronts promise (``propose.hypervolume_batch``), with losses against the
whole network. Nothing is trained: what a training would win back is not known to the search.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwmodels.pricing.table import CostTable
from hwsearch.quality.damage import Damage
from hwsearch.search.exact import exact
from hwsearch.search.exact.additive import AdditiveProblem
from hwsearch.search.exact.alternatives import lower_all
from hwsearch.search.predict import interactions
from hwsearch.search.propose import hypervolume_batch
from searchspaces.networks.adapted.blocks import inside
from searchspaces.space import PlanRow, SearchSpace, distinct, matrix

POINTS = 12
"""Latency budgets of the exact front of each network."""
FAR = 1.5
"""What loses so many times more than may be lost on a few samples, or by the sum of what its blocks lose, is not looked at on all
samples."""
FINALISTS = 3
"""Blocks that are looked at on all samples."""

Losses = Callable[[tuple[str, ...]], float]
"""What the network loses without a set of blocks, in floating point, dB."""


@dataclass(frozen=True)
class Block:
    """A block that may go: its name, what the network loses without it in floating point, and the weights that it holds."""

    name: str
    loss_db: float
    weights: int


class Looks:
    """What the network loses without sets of blocks, each asked for once: ``few`` on a ``share`` of the samples, ``rest`` on the
    others."""

    def __init__(self, few: Losses, rest: Losses, share: float, most_db: float) -> None:
        self._few, self._rest, self._share, self._most_db = functools.cache(few), functools.cache(rest), share, most_db

    def __call__(self, names: tuple[str, ...]) -> float:
        """Without ``names``: on all samples, or on a few where that is far too much or those are all."""
        found = self._few(names)
        if found > FAR * self._most_db or self._share == 1:
            return found
        return self._share * found + (1 - self._share) * self._rest(names)

    def blocks(self, weights: Mapping[str, int]) -> list[Block]:
        """Each block left out once, on all samples those that promise most; ``weights``: what each of them holds."""
        known = [Block(name, self._few((name,)), held) for name, held in weights.items()]
        finalists = sorted(known, key=_cost)[:FINALISTS]
        return [replace(block, loss_db=self((block.name,))) if block in finalists else block for block in known]


def _cost(block: Block) -> tuple[float, str]:
    """What a weight that goes costs in quality."""
    return max(block.loss_db, 0.0) / block.weights, block.name


def chain(blocks: Sequence[Block], loss_db: Losses, most_db: float, count: int) -> list[tuple[str, ...]]:
    """Up to ``count`` sets of blocks to leave out, each with one more, in the order of what a weight that goes costs in quality.

    A block inside of one that goes, or around one, is passed over; so is one with which more than ``most_db`` are lost. What
    ``blocks`` lose may be of a few samples: only ``loss_db`` decides.
    """
    found: list[tuple[str, ...]] = []
    gone: tuple[str, ...] = ()
    lost_db = 0.0
    for block in sorted(blocks, key=_cost):
        if len(found) == count:
            break
        if lost_db + block.loss_db > FAR * most_db or any(
            inside(block.name, other) or inside(other, block.name) for other in gone
        ):
            continue
        found_db = loss_db((*gone, block.name))
        if found_db > most_db:
            continue
        gone, lost_db = (*gone, block.name), max(found_db, 0.0)
        found.append(gone)
    return found


@dataclass(frozen=True, eq=False)
class Variant:
    """The network without some of its blocks, with prices and damages of its own.

    Attributes:
        dropped: the blocks; empty: the whole network.
        tables: prices, one table for each way to cut the picture.
        damage: of its choices, against the variant itself in floating point; ``lost_db``: what that loses against the whole.
    """

    dropped: tuple[str, ...]
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
        known: plans that are not offered, and what each loses against the whole network; the prediction is calibrated by them.
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
