"""The coordinator of a shared study: publishes the plans that a run wants measured, measures along with the workers, collects.

What a run finds does not depend on who measured: plans are wanted in batches that no measurement of their own batch can change,
and scores are given in the order of the batch. A plan is published once, known by its hash; only where its trial failed, as a
worker died or gave up, is it published again. A coordinator that was killed goes on with ``--resume`` and the same study: what
others finished meanwhile is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from optuna.trial import TrialState

from hwmodels.pricing.table import CostTable
from hwsearch.documents.files import jsonable
from hwsearch.documents.url import StorageUrl
from hwsearch.problem.pictures import Pictures
from hwsearch.problem.pose import Problem
from hwsearch.problem.request import Request
from hwsearch.quality.evaluate import Score
from hwsearch.runs.cluster import same_study, worker
from hwsearch.runs.cluster.study import SharedStudy
from hwsearch.runs.on_disk import NOT_COMPARED
from hwsearch.search.exact.alternatives import lower_all
from hwsearch.search.pareto import PRICES
from hwsearch.search.propose.moves import Encoding
from hwsearch.search.propose.samplers import OBJECTIVES
from searchspaces.space import PlanRow, matrix


def connect(request: Request, problem: Problem, photos: Pictures) -> SharedStudy:
    """The study that a request names, made where there is none.

    Raises:
        FileError: the database cannot be used.
        MismatchError: the study measures something else.
    """
    assert request.storage is not None
    assert request.study is not None
    study = SharedStudy.create(StorageUrl.read(request.storage), request.study, OBJECTIVES)
    if (known := study.problem) is not None:
        same_study.refuse(study.name, known["identity"], same_study.of(request, problem, photos))
    return study


class Coordinator:
    """Plans -> scores in the same order, measured by every process of a study.

    Making one opens the study to workers: it says what is measured in it, and what one plan loses.

    Args:
        tables: prices, one for each way to cut the picture; a trial has that of the fastest.
        measure: what this process measures plans with.
    Raises:
        MismatchError: the study was opened before, and that plan loses something else now.
    """

    def __init__(
        self,
        study: SharedStudy,
        request: Request,
        problem: Problem,
        photos: Pictures,
        tables: Sequence[CostTable],
        measure: Callable[[PlanRow], Score],
    ) -> None:
        space = problem.space
        self._study, self._measure, self._grace_s = study, measure, request.grace_s
        self._encoding = Encoding(space)
        self._costs = lower_all(tables, np.zeros(space.allowed.shape), space, {})
        self._scores: dict[str, Score] = {}
        self._looked_s = 0.0
        if (known := study.problem) is not None:
            example = known["check"]
            same_study.check(study.name, example, space, measure)
        else:
            plan = space.uniform(space.weight_bits[0], space.activation_bits[0])
            example = {"plan": list(plan), "loss_db": measure(plan).loss_db}
        asked = {key: value for key, value in jsonable(request).items() if key not in NOT_COMPARED}
        same = same_study.of(request, problem, photos)
        study.describe({"request": asked, "identity": same, "grace_s": self._grace_s, "check": example})
        study.finished = False
        self._trials = study.known()

    def __call__(self, plans: Sequence[PlanRow]) -> Iterator[Score]:
        """Have plans measured. Each score is given as soon as it and those before it are known.

        Raises:
            FileError: the database is gone.
        """
        wanted = {plan.digest: plan for plan in plans}
        for name, plan in wanted.items():
            if name not in self._trials:
                self._publish(name, plan)
        pause_s = worker.POLL_S[0]
        for name in wanted:
            while name not in self._scores:
                measured = worker.measure_next(self._study, self._encoding.space, self._measure, self._grace_s)
                if self._collect(wanted) or measured:
                    pause_s = worker.POLL_S[0]
                else:
                    time.sleep(pause_s)
                    pause_s = min(2 * pause_s, worker.POLL_S[1])
            yield self._scores[name]

    def finish(self) -> None:
        """Let the workers go, and give this process's connection back."""
        self._study.finished = True
        self._study.close()

    def _publish(self, name: str, plan: PlanRow) -> None:
        costs = self._costs.costs(matrix([plan]))
        facts = {objective: float(costs[objective][0]) for objective in PRICES}
        self._trials[name] = self._study.publish(plan, self._encoding.parameters(plan), self._encoding.distributions, **facts)

    def _collect(self, wanted: dict[str, PlanRow]) -> bool:
        """Read what has been finished, and publish again what failed; whether there was any of it."""
        if time.monotonic() - self._looked_s > self._grace_s / worker.SIGNS:
            self._study.fail_silent(self._grace_s)
            self._looked_s = time.monotonic()
        missing = {self._trials[name]: name for name in wanted if name not in self._scores}
        news = False
        for trial, state in self._study.states(list(missing)).items():
            name = missing[trial]
            if state == TrialState.COMPLETE:
                self._scores[name] = self._study.score(trial)
                news = True
            elif state == TrialState.FAIL:
                self._publish(name, wanted[name])
                news = True
        return news
