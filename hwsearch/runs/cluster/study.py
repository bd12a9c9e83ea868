"""A study that many processes share: an Optuna study in PostgreSQL, at once the queue of plans to measure and their record.

One process, the coordinator, publishes plans as waiting trials; any process takes one, measures it and tells what it measured.
Every step is one transaction of a few statements, however many layers a plan has: publish it with all its parameters, take it,
tell its score. The database hands a waiting trial to one process only (``SELECT ... FOR UPDATE SKIP LOCKED``,
https://www.postgresql.org/docs/current/sql-select.html); with it goes the first sign of life, so there is no moment at which a
process could die unseen. Trials that give no sign of life for the grace period fail, and the coordinator publishes their plans
again. A process that was only slow is told that its trial has failed, and what it measured is dropped: no plan is finished twice.

Assumptions: PostgreSQL (SQLite locks no rows); the tables of Optuna 5, which Optuna's own tools read as any other study.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from hwsearch.documents import earlier
from hwsearch.documents.url import StorageUrl
from hwsearch.quality.evaluate import Score
from hwsearch.runs.cluster.connection import AWAY, cause, close, database_errors, opened, unusable
from hwsearch.search.silenced import quiet_optuna
from searchspaces.space import PlanRow

PATIENCE_S = 300.0
"""How long a database may be away before work that needs it is given up."""
_PROBLEM, _FINISHED = "hwsearch", "finished"
_PLAN, _CHOICES, _MEASURED = "plan_sha256", "choices", "measured"
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, eq=False)
class Job:
    """A plan to measure: its trial, its choices, and what is known of it without measuring."""

    trial: int
    choices: tuple[int, ...]
    facts: Mapping[str, Any]


class SharedStudy:
    """A study in a database. ``close``, or the end of a ``with`` block, gives this process's connection back: a server
    has only so many, and Optuna's storage holds on to its own in a circle of references."""

    def __init__(self, url: StorageUrl, storage: RDBStorage, study: optuna.Study) -> None:
        self.url, self.name = url, study.study_name
        self._storage, self._study, self._id = storage, study, study._study_id
        self._silent: dict[int, tuple[str, float]] = {}  # of running trials: the last sign of life, and the silence since, in s
        self._looked_s = time.monotonic()

    @classmethod
    def create(cls, url: StorageUrl, name: str, objectives: Sequence[str]) -> SharedStudy:
        """The study of that name, made where there is none; all ``objectives`` are minimised.

        Raises:
            FileError: the database cannot be used.
        """
        with database_errors(url), quiet_optuna():
            storage = opened(url)
            study = optuna.create_study(
                storage=storage, study_name=name, directions=["minimize"] * len(objectives), load_if_exists=True
            )
            if study.metric_names != list(objectives):
                study.set_metric_names(list(objectives))
            return cls(url, storage, study)

    @classmethod
    def find(cls, url: StorageUrl, name: str) -> SharedStudy | None:
        """The study of that name, or None where it does not exist (yet).

        Raises:
            FileError: the database cannot be used.
        """
        with database_errors(url), quiet_optuna():
            storage = opened(url)
            try:
                return cls(url, storage, optuna.load_study(storage=storage, study_name=name))
            except KeyError:
                close(storage)
                return None

    def close(self) -> None:
        """Give the connections back."""
        close(self._storage)

    def __enter__(self) -> SharedStudy:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    # What the study is about

    @property
    def problem(self) -> Mapping[str, Any] | None:
        """What ``describe`` said; None before."""
        return self._call(lambda: self._study.user_attrs).get(_PROBLEM)

    def describe(self, problem: Mapping[str, Any]) -> None:
        """Say what is measured here, so that others can join."""
        self._call(lambda: self._study.set_user_attr(_PROBLEM, dict(problem)))

    @property
    def finished(self) -> bool:
        """Whether no more plans will be published."""
        return bool(self._call(lambda: self._study.user_attrs).get(_FINISHED))

    @finished.setter
    def finished(self, value: bool) -> None:
        self._call(lambda: self._study.set_user_attr(_FINISHED, value))

    # The coordinator's side

    def publish(
        self, plan: PlanRow, parameters: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], **facts: float
    ) -> int:
        """Add a plan to the queue, with ``facts`` that are known without measuring; the trial's identity. A plan that
        is finished or on its way keeps the trial that it has."""
        name = plan.digest
        attributes = {_PLAN: name, _CHOICES: list(plan), **facts}

        def add() -> int:
            with Session(self._storage.engine) as session, session.begin():
                session.execute(select(models.StudyModel).where(models.StudyModel.study_id == self._id).with_for_update())
                known = session.execute(self._live.where(models.TrialUserAttributeModel.value_json == json.dumps(name))).first()
                if known is not None:
                    return int(known.trial_id)
                count = select(sqlalchemy.func.count()).where(models.TrialModel.study_id == self._id)
                trial = models.TrialModel(study_id=self._id, number=session.scalar(count), state=TrialState.WAITING)
                session.add(trial)
                session.flush()
                chosen = [
                    {
                        "trial_id": trial.trial_id,
                        "param_name": name,
                        "param_value": distributions[name].to_internal_repr(value),
                        "distribution_json": distribution_to_json(distributions[name]),
                    }
                    for name, value in parameters.items()
                ]
                if chosen:
                    session.execute(sqlalchemy.insert(models.TrialParamModel), chosen)
                session.add_all(_attributes(int(trial.trial_id), attributes))
                return int(trial.trial_id)

        return self._call(add)

    def known(self) -> dict[str, int]:
        """Hash of every plan that is finished, or on its way -> the trial's identity."""
        return {json.loads(name): trial for trial, name in self._rows(self._live)}

    @property
    def _live(self) -> sqlalchemy.Select[Any]:
        """Trials that have not failed, and the hashes of their plans."""
        attribute, live = models.TrialUserAttributeModel, (TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE)
        return (
            select(models.TrialModel.trial_id, attribute.value_json)
            .join(attribute, attribute.trial_id == models.TrialModel.trial_id)
            .where(models.TrialModel.study_id == self._id, models.TrialModel.state.in_(live), attribute.key == _PLAN)
        )

    def states(self, trials: Sequence[int]) -> dict[int, TrialState]:
        """Where trials stand."""
        query = select(models.TrialModel.trial_id, models.TrialModel.state).where(models.TrialModel.trial_id.in_(trials))
        return dict(self._rows(query))

    def score(self, trial: int) -> Score:
        """What was measured in a finished trial."""
        attribute = models.TrialUserAttributeModel
        query = select(attribute.value_json).where(attribute.trial_id == trial, attribute.key == _MEASURED)
        return Score(**earlier.with_quality(json.loads(self._rows(query)[0][0])["score"]))

    def fail_silent(self, grace_s: float) -> None:
        """Fail the trials of processes that have given no sign of life for ``grace_s`` seconds; to be called several times in it.

        Silence is counted on this process's own steady clock, from look to look: a sign of life only has to differ from the one
        before, so it does not matter when somebody steps a machine's clock. Between two looks that lie far apart, as the database
        was away, nobody could give a sign: they count as half of the grace.
        """
        running, sign = models.TrialModel, models.TrialHeartbeatModel
        query = (
            select(running.trial_id, sign.heartbeat)
            .join(sign, sign.trial_id == running.trial_id)
            .where(running.study_id == self._id, running.state == TrialState.RUNNING)
        )
        signs, now_s = {int(trial): str(seen) for trial, seen in self._rows(query)}, time.monotonic()
        passed_s = min(now_s - self._looked_s, grace_s / 2)
        self._looked_s = now_s
        before = self._silent
        self._silent = {
            trial: (seen, before[trial][1] + passed_s if before.get(trial, ("", 0.0))[0] == seen else 0.0)
            for trial, seen in signs.items()
        }
        for trial, (_, silent_s) in self._silent.items():
            if silent_s > grace_s:
                with suppress(UpdateFinishedTrialError):
                    self._call(lambda trial=trial: self._storage.set_trial_state_values(trial, TrialState.FAIL))  # type: ignore[misc]

    # Everyone's side

    def take(self) -> Job | None:
        """A waiting plan that is from now on this process's to measure; None where nothing waits."""
        attribute = models.TrialUserAttributeModel
        waiting = (
            select(models.TrialModel)
            .where(models.TrialModel.study_id == self._id, models.TrialModel.state == TrialState.WAITING)
            .order_by(models.TrialModel.trial_id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )

        def claim() -> Job | None:
            with Session(self._storage.engine) as session, session.begin():
                trial = session.scalars(waiting).first()
                if trial is None:
                    return None
                trial.state, trial.datetime_start = TrialState.RUNNING, datetime.now()
                session.add(models.TrialHeartbeatModel(trial_id=trial.trial_id))
                rows = session.execute(select(attribute.key, attribute.value_json).where(attribute.trial_id == trial.trial_id))
                facts = {key: json.loads(value) for key, value in rows}
                return Job(int(trial.trial_id), tuple(facts.pop(_CHOICES)), facts)

        return self._call(claim)

    def tell(self, job: Job, score: Score, values: Sequence[float], **how: Any) -> bool:
        """Finish a trial: what was measured, ``values`` of the objectives, and ``how``. False where it is no longer ours."""
        query = select(models.TrialModel).where(models.TrialModel.trial_id == job.trial).with_for_update()

        def finish() -> bool:
            with Session(self._storage.engine) as session, session.begin():
                trial = session.scalars(query).one()
                if trial.state != TrialState.RUNNING:
                    return False
                for objective, value in enumerate(values):
                    stored, kind = models.TrialValueModel.value_to_stored_repr(value)
                    row = {"trial_id": job.trial, "objective": objective, "value": stored, "value_type": kind}
                    session.add(models.TrialValueModel(**row))
                session.add_all(_attributes(job.trial, {_MEASURED: {"score": asdict(score), **how}}))
                trial.state, trial.datetime_complete = TrialState.COMPLETE, datetime.now()
                return True

        return self._call(finish)

    def give_up(self, job: Job) -> None:
        """Leave a trial to others; at once, or where the database is away, when the grace period has passed."""
        with suppress(UpdateFinishedTrialError, SQLAlchemyError, StorageInternalError):
            self._storage.set_trial_state_values(job.trial, TrialState.FAIL)

    @contextmanager
    def alive(self, job: Job, interval_s: float) -> Iterator[None]:
        """Signs of life for a trial while the block runs. A database that does not answer is asked again at the next interval."""
        stopped = threading.Event()

        def beat() -> None:
            while not stopped.wait(interval_s):
                with suppress(SQLAlchemyError, StorageInternalError):
                    self._storage.record_heartbeat(job.trial)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def _rows(self, query: sqlalchemy.Select[Any]) -> list[Any]:
        def read() -> list[Any]:
            with Session(self._storage.engine) as session:
                return list(session.execute(query))

        return self._call(read)

    def _call(self, transaction: Callable[[], _Answer]) -> _Answer:
        """Run one transaction, again and again while the database is away."""
        deadline, pause_s = time.monotonic() + PATIENCE_S, 0.5
        while True:
            try:
                return transaction()
            except (SQLAlchemyError, StorageInternalError) as problem:
                if time.monotonic() > deadline or not isinstance(cause(problem), AWAY):
                    raise unusable(self.url, problem) from None
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 15.0)


def _attributes(trial: int, values: Mapping[str, Any]) -> list[models.TrialUserAttributeModel]:
    return [
        models.TrialUserAttributeModel(trial_id=trial, key=key, value_json=json.dumps(value)) for key, value in values.items()
    ]
