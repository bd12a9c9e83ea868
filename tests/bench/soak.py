"""A soak of shared studies: a coordinator and four workers on PostgreSQL, while somebody does what happens to machines.

    python tests/bench/soak.py [--minutes 20] [--workers 4] [--seed 0]

Runs of one job follow each other, each a study of its own, until the time is over. Meanwhile, at moments drawn by ``--seed``,
workers are killed (SIGKILL) or asked to go (SIGTERM) and started again, and the coordinator is killed and goes on by ``resume``.
The server is stopped (SIGSTOP) for 60 s, and restarted in the middle of its work (``pg_ctl -m immediate``: it recovers from its
log). The clock of the server, by which processes give signs of life, is stepped forth and back by libfaketime (Debian's package
``faketime``; without it, that is said and not done). Each measurement is stretched by 0.3 s, so that most processes are in the
middle of one when they are killed.

Checked for every run: its front and its log of evaluations are those of the same run made alone, to the last digit; its study has
exactly one finished trial for each plan of the log; no trial waits or runs. Exit code 1 where one of that does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

PRELOAD = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
STRETCH_S = 0.3
GRACE_S = 10
SILENCE_S = 60.0
NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(4, 4, 3, padding=1), nn.PixelShuffle(2))
"""


@contextmanager
def clock_to_step(file: Path) -> Iterator[bool]:
    """Let a server that is started in the block have a clock that is off by what stands in ``file``; whether that can be done."""
    names = {
        "LD_PRELOAD": str(PRELOAD),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",  # its semaphore would stay taken when a process is killed
    }
    if PRELOAD is not None:
        os.environ.update(names)
    try:
        yield PRELOAD is not None
    finally:
        for name in names:
            os.environ.pop(name, None)


class Process:
    """A child that is started again whenever it was made to end; ``wanted``: until it ended by itself."""

    def __init__(self, name: str, work: Callable[[bool], Any]) -> None:
        self.name, self._work, self.starts = name, work, 0
        self.start()

    def start(self) -> None:
        again, self.starts = self.starts > 0, self.starts + 1
        self.pid = os.fork()
        if self.pid == 0:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
            try:
                self._work(again)
            except BaseException as problem:
                os.write(2, f"{self.name}: {type(problem).__name__}: {problem}\n".encode())
                os._exit(1)
            os._exit(0)

    def ended(self) -> int | None:
        """Exit code of a child that has ended by itself; None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def end(self, sign: signal.Signals) -> None:
        os.kill(self.pid, sign)
        os.waitpid(self.pid, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hwsearch-soak-") as folder:
        return soak(Path(folder), given.minutes * 60, given.workers, random.Random(given.seed))


def soak(folder: Path, length_s: float, workers: int, rng: random.Random) -> int:
    sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")])
    import postgres_server
    import torch
    from shared_studies import small_job, trials

    from hwsearch.documents.progress import Silent
    from hwsearch.documents.url import StorageUrl
    from hwsearch.pipeline import optimize
    from hwsearch.problem.request import Request
    from hwsearch.quality import measurement
    from hwsearch.quant.learn import polish
    from hwsearch.runs.cluster import worker

    torch.set_num_threads(1)
    polish.STEPS = polish.STEPS_OF_BYTES = 2  # what is soaked comes before
    request = replace(small_job(folder, NETWORK), evaluations=120, probes=160, batch=8, cache=False)
    optimize.optimize(request)
    expected = _outcome(folder / "alone")
    print(f"alone: {len(expected[1].splitlines())} plans measured, {len(expected[0])} on the front", flush=True)

    quickly = measurement.Measure.__call__

    def slowly(measure: measurement.Measure, plan: Any) -> Any:
        time.sleep(STRETCH_S)
        return quickly(measure, plan)

    setattr(measurement.Measure, "__call__", slowly)  # noqa: B010 - a method is exchanged on purpose
    begun, done, faults = time.monotonic(), Counter[str](), list[str]()

    def at(share: float) -> bool:
        return time.monotonic() - begun > share * length_s

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:6.0f} s  {text}", flush=True)

    clock = folder / "clock"
    clock.write_text("+0")
    folder.chmod(0o755)  # the server is another user
    with contextlib.ExitStack() as stack:
        with clock_to_step(clock) as stepped:
            server = stack.enter_context(postgres_server.running(durable=True))

        def restart() -> None:
            server.stop()
            with clock_to_step(clock):
                server.start()

        url = StorageUrl.read(server.url)
        planned: list[tuple[float, str, Callable[[], Any]]] = [
            (0.25, f"the server is stopped for {SILENCE_S:.0f} s", lambda: _silence(server)),
            (0.5, "the server is restarted", restart),
        ]
        if stepped:
            planned += [(share, text, partial(clock.write_text, offset)) for share, text, offset in _STEPS]
        else:
            say("no libfaketime: clocks are not stepped")
        planned.sort(key=lambda event: event[0])
        number = 0
        while not at(1.0):
            number += 1
            run, name = folder / f"run-{number}", f"soak-{number}"
            shared = replace(request, storage=url, study=name, grace_s=GRACE_S, run_dir=run)

            def lead(again: bool, shared: Request = shared, run: Path = run) -> None:
                resume = again and (run / "run.json").exists()
                optimize.optimize(replace(shared, resume=resume))

            def help_out(again: bool, name: str = name) -> None:
                worker.work(url, name, {"model": request.model}, idle_s=600, progress=Silent(), tell=lambda text: None)

            leader = Process("coordinator", lead)
            crew = [Process(f"worker {i}", help_out) for i in range(workers)]
            next_kill, next_leader = time.monotonic() + rng.uniform(4, 12), time.monotonic() + rng.uniform(20, 90)
            while (code := leader.ended()) is None:
                time.sleep(0.2)
                while planned and at(planned[0][0]):
                    _, text, event = planned.pop(0)
                    say(text)
                    event()
                    done[text] += 1
                if time.monotonic() > next_kill:
                    sign = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
                    victim = rng.choice(crew)
                    if victim.ended() is None:
                        victim.end(sign)
                        done[f"workers ended by {sign.name}"] += 1
                    victim.start()
                    next_kill = time.monotonic() + rng.uniform(4, 12)
                if time.monotonic() > next_leader:
                    leader.end(signal.SIGKILL)
                    done["coordinators ended by SIGKILL"] += 1
                    leader.start()
                    next_leader = time.monotonic() + rng.uniform(40, 120)
            for member in crew:
                with contextlib.suppress(ChildProcessError, ProcessLookupError):
                    member.end(signal.SIGKILL)
            if code != 0:
                faults.append(f"run {number}: the coordinator ended with {code}")
                say(faults[-1])
                continue
            found = [trial for trial in trials(url, name)]
            finished = [trial for trial in found if trial.state.name == "COMPLETE"]
            states = Counter(trial.state.name for trial in found)
            names = Counter(trial.user_attrs["plan_sha256"] for trial in finished)
            wanted = len(expected[1].splitlines())
            by = {trial.user_attrs["measured"]["worker"] for trial in finished}
            say(f"run {number}: {dict(states)}, measured by {len(by)} processes")
            done["plans finished"] += len(finished)
            done["runs"] += 1
            for holds, what in (
                (_outcome(run) == expected, "front or log differ from those of the run alone"),
                (len(finished) == wanted, f"{len(finished)} finished trials for {wanted} plans"),
                (all(count == 1 for count in names.values()), "a plan was finished twice"),
                (not states.keys() & {"WAITING", "RUNNING"}, "trials wait or run after the end"),
            ):
                if not holds:
                    faults.append(f"run {number}: {what}")
                    say(faults[-1])
    print("\n".join(f"{count:6} {what}" for what, count in sorted(done.items())))
    print("\n".join(faults) or "nothing was lost, nothing counted twice")
    return 1 if faults else 0


_STEPS = (
    (0.35, "the clock is stepped an hour forth", "+3600"),
    (0.65, "the clock is stepped an hour back", "+0"),
    (0.8, "the clock is stepped half an hour back", "-1800"),
)
"""Share of the time, what is said, and how far the clock is off from then on, in s."""


def _outcome(run: Path) -> tuple[list[Any], str]:
    """The front of a run, and its log of evaluations."""
    results = json.loads((run / "results.json").read_text())
    front = [(plan["weight_bits"], plan["activation_bits"], plan["predicted"], plan["measured"]) for plan in results["front"]]
    return front, (run / "evaluations.jsonl").read_text()


def _silence(server: Any) -> None:
    """Stop all processes of the server, and let them go on."""
    pids = server.processes()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)

    def wake() -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    threading.Timer(SILENCE_S, wake).start()


if __name__ == "__main__":
    sys.exit(main())
