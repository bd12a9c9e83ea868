"""The journal of a refinement: an append-only file of one line a change, mended after a crash, and what its faults mean."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.storages.journal._storage import JournalOperation

from hwmodels.errors import FileError
from hwsearch.documents.reading import parse, whole_lines

_NOTE = JournalOperation.SET_TRIAL_USER_ATTR


def storage(path: Path) -> JournalStorage:
    return JournalStorage(_Journal(str(path), lock_obj=_HeldByCaller(str(path))))


class _Journal(JournalFileBackend):
    """Optuna's journal, flushed to the disk with every trial that begins or ends; what is noted of a trial in between is flushed
    with its end."""

    def __init__(self, path: str, lock_obj: JournalFileOpenLock) -> None:
        super().__init__(path, lock_obj)
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with Path(self._path).open("ab") as file:
            file.write("".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode())
            file.flush()
            if any(log["op_code"] != _NOTE for log in logs):
                os.fsync(file.fileno())


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """What Optuna says of a journal whose lines make no study."""
    try:
        yield
    except (FileError, OSError):
        raise
    except Exception as problem:
        raise FileError(
            f"{path}: it is damaged ({type(problem).__name__}: {str(problem)[:200]})",
            "Move the journal away and go on with --resume: the search is done again, what the log of evaluations holds is kept.",
        ) from problem


class _HeldByCaller(JournalFileOpenLock):
    """No lock file: the run directory's lock keeps others out, and a Ctrl-C amid Optuna's unlocking would surface as OSError."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def mend(path: Path) -> None:
    """Make a journal usable that a killed process left behind: drop the end of a line cut short.

    Raises:
        FileError: a line before the last one is damaged; nothing is changed then.
    """
    if not path.exists():
        return
    advice = "Move the journal away to search again; measured plans are kept in the run's evaluation log."
    kept = whole_lines(path, parse, advice)
    if kept < path.stat().st_size:
        with path.open("r+b") as file:
            file.truncate(kept)


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise FileError(
            f"{path}: the journal cannot be written ({problem.strerror})",
            "Free some space or choose another directory with --out; finished evaluations are kept, continue with --resume.",
        ) from problem
