"""A study shared by many processes, in a real PostgreSQL server that this module starts."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import postgres_server
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState
from PIL import Image
from random_tables import chain

from hwmodels.errors import FileError, MismatchError, UsageError
from hwsearch import identity, measuring, pipeline, store, worker
from hwsearch.cli import main
from hwsearch.evaluate import Score
from hwsearch.problem import Request
from hwsearch.progress import Silent
from hwsearch.quant import polish
from hwsearch.search.propose import Encoding
from hwsearch.storage_url import StorageUrl
from searchspaces import pictures

REASON = postgres_server.missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"NOT RUN: shared studies: {REASON}")
if REASON is None:
    from hwsearch.search.shared_study import SharedStudy

OBJECTIVES = ("psnr_loss_db", "latency_s", "memory_bytes")
SPACE = chain(4, 0)[2]
ENCODING = Encoding(SPACE)


@pytest.fixture(scope="module")
def server() -> Iterator[postgres_server.Server]:
    with postgres_server.running() as running:
        yield running


@pytest.fixture
def url(server: postgres_server.Server) -> StorageUrl:
    return StorageUrl.read(server.url)


@contextmanager
def child(work: Callable[[], Any]) -> Iterator[int]:
    """A process that does ``work``; it is gone when the block ends."""
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException as problem:
            os.write(2, f"{type(problem).__name__}: {problem}\n".encode())
            os._exit(1)
        os._exit(0)
    try:
        yield process
    finally:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def publish(study: SharedStudy, count: int) -> list[int]:
    plans = np.unique(SPACE.random(np.random.default_rng(0), 2 * count), axis=0)[:count]
    facts = {"latency_s": 1.0, "memory_bytes": 2.0}
    return [study.publish(plan, ENCODING.parameters(plan), ENCODING.distributions, **facts) for plan in plans]


def trials(url: StorageUrl, name: str) -> list[FrozenTrial]:
    """As Optuna reads them, with nothing of ours."""
    address = url.replace("postgresql", "postgresql+psycopg", 1)
    storage = optuna.storages.RDBStorage(address, engine_kwargs={"connect_args": dict(url.secrets)})
    return optuna.load_study(study_name=name, storage=storage).get_trials()


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


def test_a_plan_goes_to_one_process_only(url: StorageUrl) -> None:
    """Four processes empty a queue together: each plan is measured once, with the score of its own plan."""
    study = SharedStudy.create(url, "once", OBJECTIVES)
    identities = publish(study, 40)
    assert publish(study, 40) == identities

    def work() -> None:
        own = SharedStudy.find(url, "once")
        assert own is not None
        while worker.measure_next(own, lambda plan: Score(0.0, float(plan.sum()), 0.0), 60):
            pass

    with child(work), child(work), child(work), child(work):
        until(lambda: set(study.states(identities).values()) == {TrialState.COMPLETE})
    found = trials(url, "once")
    assert len(found) == len({trial.user_attrs["plan_sha256"] for trial in found}) == 40
    assert [trial.values[0] for trial in found] == [float(ENCODING.plan(trial.params).sum()) for trial in found]
    assert len({trial.user_attrs["measured"]["worker"] for trial in found}) > 1


def test_a_process_that_dies_fails_its_trial_and_one_that_was_slow_is_too_late(url: StorageUrl) -> None:
    study = SharedStudy.create(url, "dead", OBJECTIVES)
    identities = publish(study, 2)

    def take_and_hang() -> None:
        own = SharedStudy.find(url, "dead")
        assert own is not None
        worker.measure_next(own, lambda plan: time.sleep(600), 1000)  # type: ignore[arg-type,return-value]

    with child(take_and_hang):
        until(lambda: TrialState.RUNNING in study.states(identities).values())
    slow = study.take()
    assert slow is not None
    assert set(study.states(identities).values()) == {TrialState.RUNNING}
    study.fail_silent(grace_s=60)
    assert set(study.states(identities).values()) == {TrialState.RUNNING}
    time.sleep(2.1)
    study.fail_silent(grace_s=1)
    assert set(study.states(identities).values()) == {TrialState.FAIL}
    assert study.known() == {}
    assert not study.tell(slow, Score(0.0, 1.0, 0.0), [1.0, 1.0, 1.0])
    assert set(study.states(identities).values()) == {TrialState.FAIL}


def test_signs_of_life_keep_a_trial(url: StorageUrl) -> None:
    study = SharedStudy.create(url, "alive", OBJECTIVES)
    publish(study, 1)
    trial = study.take()
    assert trial is not None
    with study.alive(trial, 0.2):
        time.sleep(2.5)
        study.fail_silent(grace_s=1)
    assert study.tell(trial, Score(30.0, 1.5, 0.25), [1.5, 1.0, 1.0])
    assert study.score(trial.trial) == Score(30.0, 1.5, 0.25)


def test_a_database_that_comes_back_is_waited_for(server: postgres_server.Server, url: StorageUrl) -> None:
    study = SharedStudy.create(url, "away", OBJECTIVES)
    publish(study, 1)
    server.stop()
    with child(lambda: (time.sleep(1.0), server.start())):
        assert worker.measure_next(study, lambda plan: Score(0.0, 1.0, 0.0), 60)
    assert [trial.state for trial in trials(url, "away")] == [TrialState.COMPLETE]


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


# Whole runs

NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    head, tail = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    with torch.no_grad():
        for layer in (head, tail):
            layer.weight.mul_(0.2)
            layer.bias.zero_()
        head.weight[0, 0, 1, 1] = 1.0
        tail.weight[:, 0, 1, 1] = 1.0
    return nn.Sequential(head, nn.ReLU(), tail, nn.PixelShuffle(2))
"""


@dataclass(frozen=True)
class Job:
    """A small run that nobody shared: its folder, what was asked, and where it ran."""

    folder: Path
    request: Request

    @property
    def run(self) -> Path:
        assert self.request.run_dir is not None
        return self.request.run_dir


@pytest.fixture(scope="module", autouse=True)
def hardly_polished() -> Iterator[None]:
    """Runs here are about who measures; polishing the chosen plans afterwards is most of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(polish, "STEPS", 2)
        patch.setattr(polish, "STEPS_OF_BYTES", 2)
        yield


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("job")
    (folder / "net.py").write_text(NETWORK)
    (folder / "photos").mkdir()
    for i, photo in enumerate(pictures.shipped()[:3]):
        Image.fromarray(photo.rgb[:136, :144]).save(folder / "photos" / f"{i}.png")
    request = Request(
        model=f"{folder / 'net.py'}:build",
        scale=2,
        target="stm32h743",
        input_size=(24, 32),
        images=folder / "photos",
        weight_bits=(4, 8),
        evaluations=24,
        probes=12,
        batch=6,
        run_dir=folder / "alone",
        command="hwsearch optimize",
    )
    pipeline.optimize(request)
    return Job(folder, request)


def front(run: Path) -> list[Any]:
    results = json.loads((run / "results.json").read_text())
    return [(plan["weight_bits"], plan["activation_bits"], plan["predicted"], plan["measured"]) for plan in results["front"]]


def join(job: Job, url: StorageUrl, name: str, **own: Any) -> worker.Tally:
    given = {"model": job.request.model} | own
    return worker.work(url, name, given, idle_s=60, progress=Silent(), tell=lambda text: None)


def test_four_workers_two_killed_and_the_run_ends_as_if_it_had_been_alone(
    alone: Job, url: StorageUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    quickly = measuring.Measuring.__call__

    def slowly(measure: measuring.Measuring, plan: np.ndarray) -> Score:
        time.sleep(0.2)
        return quickly(measure, plan)

    monkeypatch.setattr(measuring.Measuring, "__call__", slowly)
    run, name = tmp_path / "run", "four"
    request = replace(alone.request, storage=url, study=name, grace_s=2, run_dir=run)

    def measured_by() -> Counter[str]:
        study = SharedStudy.find(url, name)
        if study is None:
            return Counter()
        done = [trial.user_attrs["measured"]["worker"] for trial in trials(url, name) if trial.state == TrialState.COMPLETE]
        return Counter(int(who.rpartition(":")[2]) for who in done)

    def work() -> None:
        join(alone, url, name)

    with child(lambda: pipeline.optimize(request)) as leader, child(work) as one, child(work) as two, child(work), child(work):
        for victim in (one, two):
            until(lambda victim=victim: measured_by()[victim] >= 1)  # type: ignore[misc]
            os.kill(victim, signal.SIGKILL)
        until(lambda: os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None)
    assert front(run) == front(alone.run)
    assert (run / "evaluations.jsonl").read_text() == (alone.run / "evaluations.jsonl").read_text()
    finished = [trial for trial in trials(url, name) if trial.state == TrialState.COMPLETE]
    wanted = len((run / "evaluations.jsonl").read_text().splitlines())
    assert len(finished) == len({trial.user_attrs["plan_sha256"] for trial in finished}) == wanted
    assert len(measured_by()) >= 4
    assert not any(trial.state in (TrialState.WAITING, TrialState.RUNNING) for trial in trials(url, name))
    everything = "".join(file.read_text(errors="replace") for file in run.rglob("*") if file.is_file())
    out, err = capfd.readouterr()
    assert "geheim" not in everything + out + err
    assert json.loads((run / "run.json").read_text())["request"]["storage"] == url


def example(heading: str, language: str) -> str:
    """The first block of ``language`` under a heading of the guide."""
    guide = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
    return guide.split(f"## {heading}\n")[1].split(f"```{language}\n")[1].split("```")[0]


@pytest.mark.parametrize("where", ["Slurm", "Kubernetes"])
def test_the_guides_example_joins_a_study(
    where: str, alone: Job, server: postgres_server.Server, url: StorageUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is written, but for the address, the study and this network; ``srun`` starts what it is given, a pod what its
    container says."""
    quickly = measuring.Measuring.__call__

    def slowly(measure: measuring.Measuring, plan: np.ndarray) -> Score:
        """Leaves the other the time to start, and plans to measure."""
        time.sleep(0.0 if (tmp_path / "joined").exists() else 2.0)
        return quickly(measure, plan)

    def measured_by() -> set[str]:
        done = [trial for trial in trials(url, where) if trial.state == TrialState.COMPLETE]
        return {trial.user_attrs["measured"]["worker"] for trial in done}

    monkeypatch.setattr(measuring.Measuring, "__call__", slowly)
    request = replace(alone.request, storage=url, study=where, run_dir=tmp_path / "run")
    own = ["--model", str(alone.request.model)]
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, command in (("srun", f'exec "$@" {shlex.join(own)}'), ("hwsearch", f'exec {sys.executable} -m hwsearch "$@"')):
        (programs / name).write_text(f"#!/bin/sh\n{command}\n")
        (programs / name).chmod(0o755)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    bare |= {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    text = example(where, {"Slurm": "bash", "Kubernetes": "yaml"}[where]).replace("vdsr-night", where)
    for theirs in ("postgresql://search@db.example/search", "postgresql://search@postgres/search"):
        text = text.replace(theirs, server.address)
    if where == "Slurm":
        (tmp_path / "job.sh").write_text(text)
        (tmp_path / ".pgpass").write_text(f"127.0.0.1:{server.port}:*:{postgres_server.USER}:{postgres_server.PASSWORD}\n")
        (tmp_path / ".pgpass").chmod(0o600)
        command = ["bash", "-e", str(tmp_path / "job.sh")]
    else:
        (container,) = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
        secrets = {"password": postgres_server.PASSWORD}
        for entry in container["env"]:
            bare[entry["name"]] = entry.get("value") or secrets[entry["valueFrom"]["secretKeyRef"]["key"]]
        command = [*container["command"], *own]
    with child(lambda: pipeline.optimize(request)) as leader:
        other = subprocess.Popen(command, env=bare)
        until(lambda: SharedStudy.find(url, where) is not None)
        until(lambda: len(measured_by()) == 2)
        (tmp_path / "joined").touch()
        until(lambda: os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None)
        assert other.wait(60) == 0
    assert front(tmp_path / "run") == front(alone.run)


def test_a_worker_that_would_measure_something_else_is_refused(
    alone: Job, url: StorageUrl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By name: weights, pictures, versions; and a machine that computes differently, by a plan that both measure."""
    request = replace(alone.request, run_dir=None)
    problem = pipeline.pose(request)
    photos = pipeline.choose_pictures(request, problem.network)
    loss = measuring.prepare(problem, photos, request.seed)(problem.space.uniform(4, 8)).psnr_loss_db
    study = SharedStudy.create(url, "other", OBJECTIVES)
    about = {
        "request": {key: value for key, value in store.jsonable(request).items() if key not in store.NOT_COMPARED},
        "identity": identity.of(request, problem, photos),
        "grace_s": 60,
        "check": {"plan": problem.space.uniform(4, 8).tolist(), "psnr_loss_db": loss},
    }
    study.describe(about)
    study.finished = True
    words = ["worker", "--storage", url, "--study", "other", "--quiet", "--json"]
    monkeypatch.setenv("PGPASSWORD", url.secrets["password"])
    assert main([*words, "--model", str(alone.request.model)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ended"], told["measured"]) == ("finished", 0)

    with pytest.raises(UsageError, match="from a file"):
        worker.work(url, "other", {}, idle_s=0, progress=Silent(), tell=lambda text: None)
    (tmp_path / "net.py").write_text(NETWORK.replace("manual_seed(0)", "manual_seed(1)"))
    with pytest.raises(MismatchError, match="state_sha256"):
        join(alone, url, "other", model=f"{tmp_path / 'net.py'}:build")
    for i in range(3):
        Image.fromarray(pictures.shipped()[i].rgb[8:144, :144]).save(tmp_path / f"{i}.png")
    with pytest.raises(MismatchError, match="pictures_sha256"):
        join(alone, url, "other", images=tmp_path)
    study.describe({**about, "check": {**about["check"], "psnr_loss_db": loss + 0.5}})
    with pytest.raises(MismatchError, match=r"dB there, and"):
        join(alone, url, "other")
    monkeypatch.setattr(store, "versions", lambda: {"hwsearch": "0.0.1"})
    assert main(words) == 5
    said = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "hwsearch" in said
    assert "0.0.1 here" in said


def test_a_study_is_reproduced_from_its_run_json_alone(alone: Job, tmp_path: Path) -> None:
    fields = store.saved_request(alone.run, {})
    again = pipeline.optimize(Request(**fields, run_dir=tmp_path / "again"))
    assert again.run_dir is not None
    assert front(again.run_dir) == front(alone.run)
    ours, theirs = (store.configuration(run)["provenance"] for run in (again.run_dir, alone.run))
    assert {key: value for key, value in ours.items() if key != "created"} == {
        key: value for key, value in theirs.items() if key != "created"
    }
