"""What tests of shared studies have in common: processes, and the study as Optuna reads it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from PIL import Image

from hwsearch.documents.url import StorageUrl
from hwsearch.problem.request import Request
from searchspaces.data import pictures


def small_job(folder: Path, network: str) -> Request:
    """What a run in ``folder / "alone"`` asks: few small pictures, and ``network``, the source of a file with ``build``."""
    (folder / "net.py").write_text(network)
    (folder / "photos").mkdir()
    for i, photo in enumerate(pictures.shipped()[:3]):
        Image.fromarray(photo.rgb[:136, :144]).save(folder / "photos" / f"{i}.png")
    return Request(
        model=f"{folder / 'net.py'}:build",
        scale=2,
        target="stm32h743",
        input_size=(24, 32),
        images=folder / "photos",
        force=True,
        weight_bits=(4, 8),
        run_dir=folder / "alone",
        command="hwsearch optimize",
    )


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


def exists(url: StorageUrl, name: str) -> bool:
    from hwsearch.runs.cluster.study import SharedStudy  # needs the driver, which tests ask for first

    study = SharedStudy.find(url, name)
    if study is not None:
        study.close()
    return study is not None


def trials(url: StorageUrl, name: str) -> list[FrozenTrial]:
    """As Optuna reads them, with nothing of ours."""
    address = url.replace("postgresql", "postgresql+psycopg", 1)
    storage = optuna.storages.RDBStorage(address, engine_kwargs={"connect_args": dict(url.secrets)})
    try:
        return optuna.load_study(study_name=name, storage=storage).get_trials()
    finally:  # tests ask ten times a second, and a server has a hundred connections
        storage.remove_session()
        storage.engine.dispose()
