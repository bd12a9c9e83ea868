"""The damage tables of a search, and how well each of them ranks random plans that were measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwsearch.documents.progress import Progress
from hwsearch.documents.results import ProxyCheck
from hwsearch.quality import chosen_proxy
from hwsearch.quality.damage import Damage
from hwsearch.quality.log import EvaluationLog
from hwsearch.search import correlation
from hwsearch.search.propose import random_plans
from searchspaces.space import PlanRow, SearchSpace, matrix


@dataclass(frozen=True, eq=False)
class CheckedProxies:
    """Proxy -> damage of each choice, and its check by the random plans ``probes``, whose measured losses are ``losses_db``
    (``float64[P]``)."""

    damages: Mapping[str, Damage]
    checks: list[ProxyCheck]
    probes: list[PlanRow]
    losses_db: np.ndarray

    @property
    def best(self) -> Damage:
        """That of the proxy which ranks the probes best."""
        return self.damages[chosen_proxy.best(self.checks, self.damages)]


def check(
    damages: Mapping[str, Damage], space: SearchSpace, log: EvaluationLog, count: int, seed: int, progress: Progress
) -> CheckedProxies:
    """Measure ``count`` random plans, and say how well each proxy ranks them."""
    plans = random_plans.sample(space, count, seed=seed)
    with progress.stage("checking the proxies on random plans", len(plans)) as stage:
        measured = np.empty(len(plans))
        for i, score in enumerate(log(plans)):
            measured[i] = score.loss_db
            stage.advance()
    checks = [beside(name, damage.loss_db(matrix(plans)), measured, damage.seconds) for name, damage in damages.items()]
    return CheckedProxies(damages, checks, plans, measured)


def beside(name: str, predicted_db: np.ndarray, simulated_db: np.ndarray, seconds: float = 0.0) -> ProxyCheck:
    """What ``name`` predicted of plans beside their simulated losses, ``float64[P]`` each; ``seconds``: what that took."""
    return ProxyCheck(
        name=name,
        spearman=correlation.spearman(predicted_db, simulated_db),
        seconds=seconds,
        predicted_db=predicted_db.tolist(),
        simulated_db=simulated_db.tolist(),
    )
