"""Runs whose plans several processes measure, in a real PostgreSQL server; and the guide's examples of them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import postgres_server
import pytest
import yaml
from optuna.trial import TrialState
from PIL import Image
from shared_studies import child, exists, small_job, trials, until

from hwmodels.errors import MismatchError, UsageError
from hwsearch.cli import main
from hwsearch.documents import versions
from hwsearch.documents.files import jsonable
from hwsearch.documents.progress import Silent
from hwsearch.documents.url import StorageUrl
from hwsearch.pipeline import optimize
from hwsearch.problem.pictures import choose_pictures
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from hwsearch.quality import measurement
from hwsearch.quality.evaluate import Score
from hwsearch.quant.learn import polish
from hwsearch.runs.cluster import same_study, worker
from hwsearch.runs.on_disk import NOT_COMPARED
from hwsearch.runs.run import Run
from searchspaces.data import pictures
from searchspaces.space import PlanRow

REASON = postgres_server.missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"NOT RUN: shared studies: {REASON}")
if REASON is None:
    from hwsearch.runs.cluster.study import SharedStudy


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
    request = replace(small_job(folder, NETWORK), evaluations=24, probes=12, batch=6)
    optimize.optimize(request)
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
    run, name, holding, go = tmp_path / "run", "four", tmp_path / "holding", tmp_path / "go"
    holding.mkdir()
    request = replace(alone.request, storage=url, study=name, grace_s=2, run_dir=run)

    def measured_by() -> Counter[int]:
        if not exists(url, name):
            return Counter()
        done = [trial.user_attrs["measured"]["worker"] for trial in trials(url, name) if trial.state == TrialState.COMPLETE]
        return Counter(int(who.rpartition(":")[2]) for who in done)

    def pausing(work: Callable[[], object], plans: int) -> None:
        """Work that, after the plan which all compare and ``plans`` more, holds the next one until everybody may go on: whoever
        starts late finds plans left, and who is killed is killed while holding one."""
        quickly, free = measurement.Measure.__call__, iter(range(1 + plans))

        def slowly(measure: measurement.Measure, plan: PlanRow) -> Score:
            if next(free, None) is None:
                (holding / str(os.getpid())).touch()
                until(go.exists, 240)
            return quickly(measure, plan)

        monkeypatch.setattr(measurement.Measure, "__call__", slowly)
        work()

    def survivor() -> None:
        pausing(lambda: join(alone, url, name), 0)

    def victim() -> None:
        pausing(lambda: join(alone, url, name), 1)

    def lead() -> None:
        pausing(lambda: optimize.optimize(request), 0)

    with child(lead) as leader, child(victim) as one, child(victim) as two, child(survivor), child(survivor):
        until(lambda: len(list(holding.iterdir())) == 5, 240)
        assert {who for who, plans in measured_by().items() if plans == 1} == {one, two}
        for killed in (one, two):
            os.kill(killed, signal.SIGKILL)
        go.touch()
        until(lambda: os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None)
    assert front(run) == front(alone.run)
    assert (run / "evaluations.jsonl").read_text() == (alone.run / "evaluations.jsonl").read_text()
    finished = [trial for trial in trials(url, name) if trial.state == TrialState.COMPLETE]
    wanted = len((run / "evaluations.jsonl").read_text().splitlines())
    assert len(finished) == len({trial.user_attrs["plan_sha256"] for trial in finished}) == wanted
    assert len(measured_by()) == 5
    assert not any(trial.state in (TrialState.WAITING, TrialState.RUNNING) for trial in trials(url, name))
    everything = "".join(file.read_text(errors="replace") for file in run.rglob("*") if file.is_file())
    out, err = capfd.readouterr()
    assert "geheim" not in everything + out + err
    assert json.loads((run / "run.json").read_text())["request"]["storage"] == url


def example(heading: str, language: str) -> str:
    """The first block of ``language`` under a heading of the guide."""
    guide = (Path(__file__).parents[4] / "docs" / "cluster.md").read_text()
    return guide.split(f"## {heading}\n")[1].split(f"```{language}\n")[1].split("```")[0]


@pytest.mark.parametrize("where", ["Slurm", "Kubernetes"])
def test_the_guides_example_joins_a_study(
    where: str, alone: Job, server: postgres_server.Server, url: StorageUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is written, but for the address, the study and this network; ``srun`` starts what it is given, a pod what its
    container says."""
    quickly = measurement.Measure.__call__
    own_plans = iter(range(4))

    def slowly(measure: measurement.Measure, plan: PlanRow) -> Score:
        """Measures a few plans and leaves the others until somebody else has measured one, however long that takes to start."""
        if next(own_plans, None) is None:
            until((tmp_path / "joined").exists, 240)
        return quickly(measure, plan)

    def measured_by() -> set[str]:
        done = [trial for trial in trials(url, where) if trial.state == TrialState.COMPLETE]
        return {trial.user_attrs["measured"]["worker"] for trial in done}

    monkeypatch.setattr(measurement.Measure, "__call__", slowly)
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
    with child(lambda: optimize.optimize(request)) as leader:
        other = subprocess.Popen(command, env=bare)
        until(lambda: exists(url, where))
        until(lambda: len(measured_by()) == 2, 240)
        (tmp_path / "joined").touch()
        until(lambda: os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None)
        assert other.wait(60) == 0
    assert front(tmp_path / "run") == front(alone.run)


def test_a_worker_that_would_measure_something_else_is_refused(
    alone: Job, url: StorageUrl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By name: weights, pictures, versions; and a machine that computes differently, by a plan that both measure."""
    request = replace(alone.request, run_dir=None)
    problem = pose(request)
    photos = choose_pictures(request, problem.network)
    loss = measurement.prepare(problem, photos, request.seed)(problem.space.uniform(4, 8)).loss_db
    study = SharedStudy.create(url, "other", ("loss_db", "latency_s", "memory_bytes"))
    about = {
        "request": {key: value for key, value in jsonable(request).items() if key not in NOT_COMPARED},
        "identity": same_study.of(request, problem, photos),
        "grace_s": 60,
        "check": {"plan": list(problem.space.uniform(4, 8)), "loss_db": loss},
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
    study.describe({**about, "check": {**about["check"], "loss_db": loss + 0.5}})
    with pytest.raises(MismatchError, match=r"dB there, and"):
        join(alone, url, "other")
    monkeypatch.setattr(versions, "versions", lambda: {"hwsearch": "0.0.1"})
    assert main(words) == 5
    said = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "hwsearch" in said
    assert "0.0.1 here" in said


def test_a_study_is_reproduced_from_its_run_json_alone(alone: Job, tmp_path: Path) -> None:
    fields = Run(alone.run).same({"model": alone.request.model})
    again = optimize.optimize(Request(**fields, run_dir=tmp_path / "again"))
    assert again.run_dir is not None
    assert front(again.run_dir) == front(alone.run)
    ours, theirs = (Run(run).configuration.provenance for run in (again.run_dir, alone.run))
    assert {key: value for key, value in ours.items() if key != "created"} == {
        key: value for key, value in theirs.items() if key != "created"
    }
