"""What a sum of damages leaves out, learned from measured plans.

Choices interact: layers dampen each other's noise, a detail is lost but once. No pair of choices stands out for that (on VDSR
all twenty layers share in it), so what a plan loses beyond its sum is taken from plans like it: a Gaussian process over the
measured plans (kriging; Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, eq. 2.25). Two plans are alike
when the same decisions make the same share of their noise, and when they make as much of it. A plan unlike all measured ones
keeps its sum, times what such sums miss on the whole.

The exact solver goes on minimising the sum. Which of its plans promise most, and what is told of a plan before it is measured,
is by this prediction: to pick what promises most by the sum is to pick what the sum is most wrong about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from hwsearch.quality.damage import Damage, loss_of_noise
from hwsearch.search.exact import exact
from hwsearch.search.exact.exact import noise_of_loss
from hwsearch.search.predict.refit import refit
from searchspaces.space import PlanRow, matrix

if TYPE_CHECKING:
    from hwmodels.pricing.table import CostTable
    from searchspaces.space import SearchSpace

ALIKE_SHARES, ALIKE_LEVEL = 0.5, 1.0
"""Length scales: of the distance between the square roots of the shares (1.41 where no decision makes noise in both plans), and
of the logarithm of all noise. These and the deviations below are those, of a few, by which whole searches for VDSR, FSRCNN and
ABPN best told their next plans."""
LOCAL, COMMON = 0.5, 0.5
"""Standard deviations, in the logarithm of noise, of what plans that are alike share, and of what all plans share."""
OWN = 0.1
"""The same of what no other plan tells of a plan."""
MOVES, CLOSE = 6, 0.97
"""How often a budget on quality is moved at most, and what share of it a plan may leave unused."""
FLOOR_DB = 0.02
"""Logarithms are taken of noise plus that of this loss: of two losses near 0, neither is a multiple of the other."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Losses of plans by a damage table, corrected by measured plans like them.

    Attributes:
        damage: the table.
        roots: ``float64[P, D]``, square roots of the shares that decisions have in the noise of the measured plans, as the table
            sums it.
        level: ``float64[P]``, logarithms of that noise plus the floor.
        weights: ``float64[P]``: what is left out of a plan is its covariance with the measured plans times these.
    """

    damage: Damage
    roots: np.ndarray
    level: np.ndarray
    weights: np.ndarray

    def loss_db(self, plans: np.ndarray) -> np.ndarray:
        """Predicted PSNR loss ``float64[N]`` in dB of plans ``int[N, D]``."""
        roots, level = _features(self.damage, plans)
        left_out = _covariance(roots, level, self.roots, self.level) @ self.weights
        noise = np.exp(level + left_out) - _floor(self.damage)
        return loss_of_noise(np.maximum(noise, 0.0), self.damage.float_mse)


def calibrate(damage: Damage, plans: np.ndarray, losses_db: np.ndarray) -> Prediction:
    """What measured plans ``int8[P, D]`` and their losses ``float64[P]`` make of a proxy's table: the sum of its entries,
    refitted, and what is left out of it."""
    return learn(refit(damage, plans, losses_db), plans, losses_db)


def alone(damage: Damage) -> Prediction:
    """The sum of the table, where no plan tells what it leaves out."""
    return learn(damage, np.empty((0, len(damage.noise)), dtype=np.int64), np.empty(0))


def learn(damage: Damage, plans: np.ndarray, losses_db: np.ndarray) -> Prediction:
    """What ``damage`` leaves out of plans ``int8[P, D]`` that lose ``losses_db float64[P]``, those that it was calibrated by (see
    ``refit``); a plan that gains counts as without loss. Without plans, the sum stands."""
    plans = np.asarray(plans, dtype=np.int64).reshape(-1, len(damage.noise))
    measured = np.array([noise_of_loss(loss, damage.float_mse) for loss in losses_db])
    roots, level = _features(damage, plans)
    left_out = np.log(measured + _floor(damage)) - level
    covariance = _covariance(roots, level, roots, level) + OWN**2 * np.eye(len(plans))
    weights = cho_solve(cho_factor(covariance), left_out) if len(plans) else left_out
    return Prediction(damage, roots, level, weights)


def within_budgets(table: CostTable, prediction: Prediction, space: SearchSpace, budgets: Mapping[str, float]) -> list[PlanRow]:
    """Exact plans for budgets, each once. The solver knows sums of damage alone; so a budget on quality is moved by
    what the sum leaves out of the plan on it, and solved for again, until the prediction for that plan is close below it."""
    damage, found = prediction.damage, list[PlanRow]()
    asked, wanted = dict(budgets), budgets.get("loss", 0.0)
    most = float(loss_of_noise(damage.noise.max(axis=1).sum(), damage.float_mse))
    for _ in range(MOVES):
        plans = exact.within_budgets(table, damage, space, asked)
        fresh = [plan for plan in plans if plan not in found]
        found += fresh
        if not fresh or wanted <= 0:
            break
        sums = damage.loss_db(matrix(plans))
        told = float(prediction.loss_db(matrix(plans))[np.argmax(sums)])
        if told <= 0 or CLOSE * wanted <= told <= wanted:
            break
        # From the plan's own sum where it must go, which excludes it.
        bound = float(sums.max()) if told > wanted else asked["loss"]
        asked["loss"] = min(bound * wanted / told, most)
    return found


def _floor(damage: Damage) -> float:
    return noise_of_loss(FLOOR_DB, damage.float_mse)


def _features(damage: Damage, plans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Square roots of the shares in a plan's noise ``float64[N, D]``, all 0 where it makes none, and the logarithm of that noise
    ``float64[N]``."""
    each = damage.noise_of_choices(plans)
    total = each.sum(axis=1)
    roots = np.sqrt(np.divide(each, total[:, None], out=np.zeros_like(each), where=total[:, None] > 0))
    return roots, np.log(total + _floor(damage))


def _covariance(roots: np.ndarray, level: np.ndarray, others: np.ndarray, other_level: np.ndarray) -> np.ndarray:
    """Of what is left out of plans and of others: ``float64[N, M]``."""
    apart = np.square(roots).sum(axis=1)[:, None] + np.square(others).sum(axis=1) - 2 * roots @ others.T
    louder = level[:, None] - other_level
    found: np.ndarray = LOCAL**2 * np.exp(-apart / (2 * ALIKE_SHARES**2) - louder**2 / (2 * ALIKE_LEVEL**2)) + COMMON**2
    return found
