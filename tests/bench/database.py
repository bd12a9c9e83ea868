"""How far one PostgreSQL server carries a shared study: ``python tests/bench/database.py [--layers 20] [--plans 60]``.

Workers whose evaluations cost nothing empty a queue as fast as the database lets them. Printed for each number of workers:
evaluations a second, and processor time of the server and of the workers per evaluation. Server and workers share this machine's
cores, so the rate measured here ends where they are busy; what the server alone would carry follows from its processor time.

Assumptions of the extrapolation: the server's time per evaluation stays what it is with most workers here (nobody waits for rows:
a claim skips rows that others hold); its cores are its own; the disk keeps up with one flush for several commits at a time, as
PostgreSQL does under load; the network is not the limit. A worker whose evaluation takes T seconds asks 1/T times a second.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")])

import numpy as np
import postgres_server
from random_tables import chain

from hwsearch.documents.url import StorageUrl
from hwsearch.quality.evaluate import Score
from hwsearch.runs.cluster import worker
from hwsearch.runs.cluster.study import SharedStudy
from hwsearch.search.evolve import OBJECTIVES
from hwsearch.search.propose.moves import Encoding
from searchspaces.space import SearchSpace

EVALUATION_S = (0.1, 1.0, 10.0)


def drain(url: StorageUrl, name: str, space: SearchSpace, start: float) -> float:
    """Measure until nothing waits, from ``start`` on the clock; the processor time that it took."""
    study = SharedStudy.find(url, name)
    assert study is not None
    study.finished  # noqa: B018 - the connection is made before the clock runs
    time.sleep(max(0.0, start - time.time()))
    begun = time.process_time()
    while worker.measure_next(study, space, lambda plan: Score(0.0, 1.0, 0.0), 60):
        pass
    return time.process_time() - begun


def measure(server: postgres_server.Server, workers: int, layers: int, plans: int) -> tuple[float, float, float, float]:
    """Publications and evaluations a second; processor seconds per evaluation, of the server and of the workers."""
    space = chain(layers, 0)[2]
    encoding, url, name = Encoding(space), StorageUrl.read(server.url), f"{workers} workers"
    study = SharedStudy.create(url, name, OBJECTIVES)
    wanted = [*map(space.row, space.random(np.random.default_rng(0), max(plans, plans * workers // 2)))]
    begun = time.monotonic()
    facts = {"latency_s": 1.0, "memory_bytes": 1.0}
    trials = [study.publish(plan, encoding.parameters(plan), encoding.distributions, **facts) for plan in wanted]
    published = len(trials) / (time.monotonic() - begun)
    start = time.time() + 2.0 + 0.5 * workers  # connecting is not what is measured
    reader, writer = os.pipe()
    processes = []
    for _ in range(workers):
        if (process := os.fork()) == 0:
            os.write(writer, f"{drain(url, name, space, start)}\n".encode())
            os._exit(0)
        processes.append(process)
    os.close(writer)
    time.sleep(max(0.0, start - time.time()))
    server_s = server.cpu_seconds()
    for process in processes:
        os.waitpid(process, 0)
    took, count = time.time() - start, len(trials)
    time.sleep(0.3)  # the server's processes of these workers end
    with os.fdopen(reader) as told:
        own_s = sum(map(float, told))
    return published, count / took, (server.cpu_seconds() - server_s) / count, own_s / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--plans", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    given = parser.parse_args()
    with postgres_server.running(durable=True) as server:
        print(f"{given.layers} layers; load of this machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print("workers  published/s  evaluations/s  server ms/evaluation  worker ms/evaluation")
        for workers in given.workers:
            published, rate, server_s, own_s = measure(server, workers, given.layers, given.plans)
            print(f"{workers:7d}  {published:11.0f}  {rate:13.0f}  {1e3 * server_s:20.2f}  {1e3 * own_s:20.2f}", flush=True)
    print(f"\none server core carries {1 / server_s:.0f} evaluations/s (extrapolated: 1 / {1e3 * server_s:.2f} ms)")
    for evaluation_s in EVALUATION_S:
        print(f"  evaluations of {evaluation_s:g} s: {evaluation_s / server_s:.0f} workers a server core")


if __name__ == "__main__":
    main()
