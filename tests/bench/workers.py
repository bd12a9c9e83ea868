"""What a second process brings: ``python tests/bench/workers.py WEIGHTS [--network vdsr] [--scale 2] [--plans 24] [--side 128]``.

The coordinator alone, then with one ``hwsearch worker`` beside it, has the same random plans measured; each process has one
thread. Small pictures (``--side``, at least 128 pixels) make evaluations short, which is the harder case for a queue. Printed:
evaluations a second by the clock, processor time per evaluation, and the share of the time that processes measured instead of
waiting for the queue or for each other. On a machine that does other work the clock says little; the speed-up in processor time
is 2 x (time per evaluation alone / together) x (share together / share alone), which assumes that each process has a core.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")])

import optuna
import postgres_server
import torch
from PIL import Image

from hwsearch.documents.url import StorageUrl
from hwsearch.problem.pictures import Pictures, choose_pictures
from hwsearch.problem.pose import Problem, pose
from hwsearch.problem.request import Request
from hwsearch.quality.measurement import Measure, prepare
from hwsearch.runs.cluster import coordinator
from hwsearch.search import tiling_options
from hwsearch.search.propose import random_plans
from searchspaces.data import pictures


@dataclass(frozen=True)
class Measured:
    """``rate``: evaluations a second; ``cpu_s``: median processor seconds of one (the first of a process also round weights);
    ``share`` of all processes' time spent measuring."""

    rate: float
    cpu_s: float
    share: float


def photos(folder: Path, side: int) -> Path:
    """Three shipped photos, cut to squares."""
    for i, photo in enumerate(pictures.shipped()[:3]):
        Image.fromarray(photo.rgb[:side, :side]).save(folder / f"{i}.png")
    return folder


def start_worker(address: str, study: str) -> subprocess.Popen[str]:
    """A worker that is ready to measure."""
    command = [sys.executable, "-m", "hwsearch", "worker", "--storage", address, "--study", study]
    environment = {**os.environ, "PGPASSWORD": postgres_server.PASSWORD, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    while "measuring for the study" not in (line := process.stderr.readline()):
        assert line, "the worker ended before it began"
    return process


def measure(
    url: StorageUrl, workers: int, request: Request, problem: Problem, chosen: Pictures, own: Measure, plans: int
) -> Measured:
    """Have random plans measured by the coordinator and ``workers`` more."""
    request = replace(request, storage=url, study=f"{workers} workers")
    tables = tiling_options.left_open(problem, request, {}).tables
    study = coordinator.connect(request, problem, chosen)
    lead = coordinator.Coordinator(study, request, problem, chosen, tables, own)
    processes = [start_worker(url, study.name) for _ in range(workers)]
    wanted = random_plans.sample(problem.space, plans, seed=1)
    begun = time.monotonic()
    for _ in lead(wanted):
        pass
    took_s = time.monotonic() - begun
    lead.finish()
    for process in processes:
        process.communicate()
    address = url.replace("postgresql", "postgresql+psycopg", 1)
    storage = optuna.storages.RDBStorage(address, engine_kwargs={"connect_args": dict(url.secrets)})
    spent = [trial.user_attrs["measured"] for trial in optuna.load_study(study_name=study.name, storage=storage).trials]
    return Measured(
        rate=len(spent) / took_s,
        cpu_s=median(each["cpu_seconds"] for each in spent),
        share=sum(each["seconds"] for each in spent) / (took_s * (1 + workers)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--network", default="vdsr")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--plans", type=int, default=24)
    parser.add_argument("--side", type=int, default=128)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, postgres_server.running(durable=True) as server:
        request = Request(
            network=given.network, weights=given.weights.resolve(), scale=given.scale, images=photos(Path(folder), given.side)
        )
        problem = pose(request)
        chosen = choose_pictures(request, problem.network)
        own = prepare(problem, chosen, request.seed)
        found = []
        for workers in (0, 1):
            print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
            found.append(measure(StorageUrl.read(server.url), workers, request, problem, chosen, own, given.plans))
            now = found[-1]
            share = f"{100 * now.share:.0f} % of the time spent measuring"
            print(f"{1 + workers} processes: {now.rate:.2f}/s, {now.cpu_s:.2f} CPU s each, {share}", flush=True)
    alone, two = found
    by_cpu = 2 * alone.cpu_s / two.cpu_s * two.share / alone.share
    print(f"speed-up {two.rate / alone.rate:.2f} by the clock, {by_cpu:.2f} in processor time")


if __name__ == "__main__":
    main()
