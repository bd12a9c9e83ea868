"""A worker: joins a study, makes sure that it would measure the same as the coordinator, and measures until nothing is left.

What it needs to know stands in the study: the coordinator's request, and what must be the same (see ``same_study``). Code is
never taken from there: where the network is somebody's own, or plug-ins are in use, the worker is told the files.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hwmodels.errors import UsageError
from hwmodels.parts import plugins
from hwsearch.documents import versions
from hwsearch.documents.progress import STEPS, Progress, follow
from hwsearch.documents.url import StorageUrl
from hwsearch.problem.pictures import choose_pictures
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from hwsearch.quality import measurement
from hwsearch.quality.evaluate import Score
from hwsearch.runs.cluster import connection, same_study
from hwsearch.runs.cluster.study import SharedStudy
from hwsearch.runs.on_disk import request_of
from hwsearch.search.pareto import PRICES
from searchspaces.data.scale import network_text
from searchspaces.space import PlanRow, SearchSpace

POLL_S = (0.1, 1.0)
"""Pause of an idle process: the first, and the longest."""
SIGNS = 5
"""Signs of life in the time after which silence means death."""


@dataclass(frozen=True)
class Tally:
    """What a worker did: plans measured, seconds spent on them, and why it stopped: "finished" or "idle"."""

    study: str
    measured: int
    seconds: float
    ended: str


def work(
    url: StorageUrl, name: str, own: Mapping[str, Any], *, idle_s: float, progress: Progress, tell: Callable[[str], None]
) -> Tally:
    """Measure plans of the study ``name`` until it is finished, or nothing has come for ``idle_s`` seconds.

    Args:
        own: fields of the request that differ on this machine: ``model``, ``weights``, ``images``, ``target``.
        tell: receives a sentence for the person at the terminal.
    Raises:
        FileError: the database does not answer within that time, or it, or a file that the study names, cannot be used.
        MismatchError: this worker would measure something else; every difference is listed.
        UsageError: the study does not come into being, or its network is a file that was not given.
    """
    with _appear(url, name, idle_s, tell) as study:
        return _work(study, own, idle_s, progress, tell)


def _work(
    study: SharedStudy,
    own: Mapping[str, Any],
    idle_s: float,
    progress: Progress,
    tell: Callable[[str], None],
) -> Tally:
    """``work`` for a study that has appeared."""
    name = study.name
    about = study.problem or {}
    same_study.refuse(name, about["identity"], {"versions": versions.versions(), "plugins": plugins.record()})
    request = _request(name, about["request"], own)
    with progress.stage("preparing to measure", STEPS) as stage:
        problem = pose(request)
        photos = choose_pictures(request, problem.network)
        same_study.refuse(name, about["identity"], same_study.of(request, problem, photos))
        measure = measurement.prepare(problem, photos, request.seed, progress=follow(stage, STEPS), methods=request.methods)
        same_study.check(name, about["check"], problem.space, measure)
    tell(f"measuring for the study {name}: {network_text(problem.network.name, problem.network.scale)}")
    grace_s = about["grace_s"]
    measured, seconds, pause_s, last = 0, 0.0, POLL_S[0], time.monotonic()
    while True:
        begun = time.monotonic()
        if measure_next(study, problem.space, measure, grace_s):
            last, pause_s = time.monotonic(), POLL_S[0]
            measured, seconds = measured + 1, seconds + last - begun
        elif study.finished:
            return Tally(name, measured, seconds, "finished")
        elif begun - last > idle_s:
            return Tally(name, measured, seconds, "idle")
        else:
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_S[1])


def measure_next(study: SharedStudy, space: SearchSpace, measure: Callable[[PlanRow], Score], grace_s: float) -> bool:
    """Take a plan from the queue, measure it and tell the study; False where nothing waits. A plan that cannot be measured here
    is left to others.

    Args:
        space: what the study's plans are choices in.
        grace_s: silence after which this process is taken for dead.
    """
    job = study.take()
    if job is None:
        return False
    with study.alive(job, grace_s / SIGNS):
        begun, cpu_begun = time.monotonic(), time.process_time()
        try:
            score = measure(space.row(job.choices))
        except BaseException:
            study.give_up(job)
            raise
        values = [score.loss_db, *(job.facts[name] for name in PRICES)]
        spent = {"seconds": time.monotonic() - begun, "cpu_seconds": time.process_time() - cpu_begun}
        study.tell(job, score, values, worker=f"{platform.node()}:{os.getpid()}", **spent)
    return True


def _appear(url: StorageUrl, name: str, patience_s: float, tell: Callable[[str], None]) -> SharedStudy:
    """The study, once its server answers and its coordinator has described it."""
    deadline, pause_s = time.monotonic() + patience_s, POLL_S[0]
    waiting_for = ""
    while True:
        at_end = time.monotonic() > deadline
        if at_end or connection.answers(url):  # at the end its own error says what is wrong
            study = SharedStudy.find(url, name)
            if study is not None and study.problem is not None:
                return study
            if study is not None:
                study.close()
            missing = f"the study {name} is not described yet"
        else:
            missing = "the database does not answer"
        if at_end:
            raise UsageError(
                f"there is no study {name} in {url}",
                f"Start it: hwsearch optimize --storage {url} --study {name} ..., or wait longer with --idle.",
            )
        if missing != waiting_for:
            waiting_for = missing
            tell(f"{url}: {missing}; waiting for up to {patience_s:.0f} s")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, POLL_S[1])


def _request(study: str, saved: Mapping[str, Any], own: Mapping[str, Any]) -> Request:
    if saved.get("model") is not None and "model" not in own:
        raise UsageError(
            f"the study {study} measures a network from a file, {saved['model']}",
            "Code named by a database is not run: give the file that you trust with --model.",
        )
    return replace(request_of(saved, Path(f"the study {study}")), **own)
