"""A study that many processes share, in a real PostgreSQL server."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import numpy as np
import postgres_server
import pytest
import sqlalchemy
from optuna.trial import TrialState
from random_tables import chain
from shared_studies import child, trials, until

from hwmodels.errors import FileError, UsageError
from hwsearch.documents.progress import Silent
from hwsearch.documents.url import StorageUrl
from hwsearch.quality.evaluate import Score
from hwsearch.runs.cluster import worker
from hwsearch.search.propose.moves import Encoding
from searchspaces.space import PlanRow

REASON = postgres_server.missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"NOT RUN: shared studies: {REASON}")
if REASON is None:
    from hwsearch.runs.cluster.study import SharedStudy

OBJECTIVES = ("loss_db", "latency_s", "memory_bytes")
SPACE = chain(4, 0)[2]
ENCODING = Encoding(SPACE)


def publish(study: SharedStudy, count: int) -> list[int]:
    rows = np.unique(SPACE.random(np.random.default_rng(0), 2 * count), axis=0)[:count]
    plans = [*map(SPACE.row, rows)]
    facts = {"latency_s": 1.0, "memory_bytes": 2.0}
    return [study.publish(plan, ENCODING.parameters(plan), ENCODING.distributions, **facts) for plan in plans]


def test_many_may_open_an_empty_database_at_once(server: postgres_server.Server, url: StorageUrl) -> None:
    import psycopg

    with psycopg.connect(server.address, autocommit=True, **url.secrets) as connection:
        connection.execute("CREATE DATABASE empty")
    fresh = StorageUrl.read(server.url.replace("/postgres", "/empty"))

    def open_it() -> None:
        assert SharedStudy.find(fresh, "absent") is None
        SharedStudy.create(fresh, "same", OBJECTIVES)

    with child(open_it) as one, child(open_it) as two, child(open_it) as three, child(open_it) as four:
        for process in (one, two, three, four):
            ended = os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
            assert ended is not None
            assert ended.si_status == 0
    assert SharedStudy.find(fresh, "same") is not None


# The queue


def test_a_plan_goes_to_one_process_only(url: StorageUrl, tmp_path: Path) -> None:
    """Four processes empty a queue together, once each holds a plan: each plan is measured once, with the score of its own
    plan."""
    study = SharedStudy.create(url, "once", OBJECTIVES)
    identities = publish(study, 40)
    assert publish(study, 40) == identities

    def score(plan: PlanRow) -> Score:
        (tmp_path / str(os.getpid())).touch()
        until(lambda: len(list(tmp_path.iterdir())) == 4)
        return Score(0.0, float(sum(plan)), 0.0)

    def work() -> None:
        own = SharedStudy.find(url, "once")
        assert own is not None
        while worker.measure_next(own, SPACE, score, 60):
            pass

    with child(work), child(work), child(work), child(work):
        until(lambda: set(study.states(identities).values()) == {TrialState.COMPLETE})
    found = trials(url, "once")
    assert len(found) == len({trial.user_attrs["plan_sha256"] for trial in found}) == 40
    assert [trial.values[0] for trial in found] == [float(sum(ENCODING.plan(trial.params))) for trial in found]
    assert len({trial.user_attrs["measured"]["worker"] for trial in found}) == 4


def test_a_process_that_dies_fails_its_trial_and_one_that_was_slow_is_too_late(url: StorageUrl) -> None:
    study = SharedStudy.create(url, "dead", OBJECTIVES)
    identities = publish(study, 2)

    def take_and_hang() -> None:
        own = SharedStudy.find(url, "dead")
        assert own is not None
        worker.measure_next(own, SPACE, lambda plan: time.sleep(600), 1000)  # type: ignore[arg-type,return-value]

    with child(take_and_hang):
        until(lambda: TrialState.RUNNING in study.states(identities).values())
    slow = study.take()
    assert slow is not None
    assert set(study.states(identities).values()) == {TrialState.RUNNING}
    study.fail_silent(grace_s=60)
    assert set(study.states(identities).values()) == {TrialState.RUNNING}

    def failed() -> bool:
        study.fail_silent(grace_s=1)
        return set(study.states(identities).values()) == {TrialState.FAIL}

    begun = time.monotonic()
    until(failed)
    assert time.monotonic() - begun > 1
    assert study.known() == {}
    assert not study.tell(slow, Score(0.0, 1.0, 0.0), [1.0, 1.0, 1.0])
    assert set(study.states(identities).values()) == {TrialState.FAIL}


def test_signs_of_life_keep_a_trial(url: StorageUrl) -> None:
    study = SharedStudy.create(url, "alive", OBJECTIVES)
    publish(study, 1)
    trial = study.take()
    assert trial is not None
    with study.alive(trial, 0.2):
        for _ in range(8):
            time.sleep(0.4)
            study.fail_silent(grace_s=1)
    assert study.tell(trial, Score(30.0, 1.5, 0.25), [1.5, 1.0, 1.0])
    assert study.score(trial.trial) == Score(30.0, 1.5, 0.25)


@pytest.mark.parametrize("step", ["+ interval '1 hour'", "- interval '1 hour'"])
def test_a_step_of_the_clock_kills_nobody_and_hides_no_death(url: StorageUrl, step: str) -> None:
    """The signs of life of a dead process and of a living one, moved as if the server's clock had been."""
    study = SharedStudy.create(url, f"clock {step}", OBJECTIVES)
    publish(study, 2)
    dead, living = study.take(), study.take()
    assert dead is not None
    assert living is not None
    with study.alive(living, 0.1):
        study.fail_silent(grace_s=1)
        with study._storage.engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"update trial_heartbeats set heartbeat = heartbeat {step}"))
        until(lambda: study.fail_silent(grace_s=1) or study.states([dead.trial])[dead.trial] == TrialState.FAIL, 20)
        assert study.states([living.trial])[living.trial] == TrialState.RUNNING


def test_a_database_that_comes_back_is_waited_for(server: postgres_server.Server, url: StorageUrl) -> None:
    study = SharedStudy.create(url, "away", OBJECTIVES)
    publish(study, 1)
    server.stop()
    with child(lambda: (time.sleep(1.0), server.start())):
        assert worker.measure_next(study, SPACE, lambda plan: Score(0.0, 1.0, 0.0), 60)
    assert [trial.state for trial in trials(url, "away")] == [TrialState.COMPLETE]


def test_a_worker_that_comes_before_its_database_waits_for_it(server: postgres_server.Server, url: StorageUrl) -> None:
    told: list[str] = []
    server.stop()
    with child(lambda: (time.sleep(1.5), server.start())), pytest.raises(UsageError, match="no study early"):
        worker.work(url, "early", {}, idle_s=6, progress=Silent(), tell=told.append)
    assert ["does not answer" in line for line in told] == [True, False]  # and then the study is waited for
    assert all(server.address in line for line in told)


def test_a_worker_ends_with_what_is_wrong_with_its_database(server: postgres_server.Server) -> None:
    """One that does not come is waited for; one that refuses this user is not."""
    absent = StorageUrl.read(server.url.replace(str(server.port), "1"))
    with pytest.raises(FileError, match="refused"):
        worker.work(absent, "x", {}, idle_s=0.5, progress=Silent(), tell=print)
    refusing = StorageUrl.read(server.url.replace("geheim", "geraten"))
    with pytest.raises(FileError, match="password"):
        worker.work(refusing, "x", {}, idle_s=1e6, progress=Silent(), tell=print)


def test_connections_are_given_back(server: postgres_server.Server, url: StorageUrl) -> None:
    """Counted by the server, while the collector of circles of references, which would hide a forgotten one, is off."""
    import psycopg

    with psycopg.connect(server.address, autocommit=True, **url.secrets) as connection:

        def connected() -> int:
            row = connection.execute("select count(*) from pg_stat_activity where client_port is not null").fetchone()
            assert row is not None
            return int(row[0])

        before = connected()
        gc.disable()
        try:
            for i in range(4):
                assert SharedStudy.find(url, f"absent {i}") is None
                with SharedStudy.create(url, "given back", OBJECTIVES) as study:
                    assert connected() > before
                    assert study.problem is None
                with pytest.raises(UsageError, match="no study"):  # described by nobody
                    worker.work(url, "given back", {}, idle_s=0, progress=Silent(), tell=print)
        finally:
            gc.enable()
        until(lambda: connected() <= before)  # the server notices a closed connection a moment later


@pytest.mark.parametrize("change", ["password", "port", "database"])
def test_a_database_that_cannot_be_used(server: postgres_server.Server, change: str) -> None:
    text = {
        "password": server.url.replace("geheim", "geraten"),
        "port": server.url.replace(str(server.port), "1"),
        "database": server.url.replace("/postgres", "/absent"),
    }[change]
    with pytest.raises(FileError) as refused:
        SharedStudy.find(StorageUrl.read(text), "x")
    assert "42" not in str(refused.value).replace(str(server.port), "")
    assert server.address[:20] in refused.value.message
