"""The run directory: where a run keeps its configuration, journal, plans and report, and how it survives being stopped.

Assumptions: one process at a time uses a directory (an exclusive ``flock``, released by the system even after kill -9);
documents are written whole or not at all (see ``files``); ``run.json`` is written first, so a directory without it holds no work.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from hwmodels.errors import FileError, HwsearchError, UsageError
from hwmodels.parts import plugins
from hwsearch.documents import earlier, reading
from hwsearch.documents.configuration import SCHEMA, Configuration, Leg, Legs
from hwsearch.documents.files import DISK_FULL, file_error, jsonable, write_json
from hwsearch.documents.versions import versions
from hwsearch.runs import on_disk
from hwsearch.runs.interrupted import Interrupted
from hwsearch.runs.on_disk import NOT_COMPARED
from hwsearch.runs.run import Run
from searchspaces.data.scale import scale_text

if TYPE_CHECKING:
    from hwsearch.documents.results import Results
    from hwsearch.problem.pictures import Pictures
    from hwsearch.problem.pose import Problem
    from hwsearch.problem.request import Request

LOCK = ".lock"


def provenance_of(problem: Problem, photos: Pictures) -> dict[str, Any]:
    """What decides a measurement beside the request: versions, and digests of weights, device and pictures."""
    from searchspaces.networks.weights import state_sha256

    return {
        "versions": versions(),
        "weights_sha256": problem.network.weights_sha256,
        "state_sha256": state_sha256(problem.network.module),
        "device_sha256": problem.device.device_sha256,
        "pictures_sha256": photos.sha256,
    }


def check_empty(path: Path | None) -> None:
    """Refuse a folder that holds something; asked before a network is looked at, too, so that nobody waits for it.

    Raises:
        FileError: it does, or it cannot be looked into.
    """
    if path is None or not path.exists():
        return
    try:
        taken = any(path.iterdir())
    except OSError as error:
        raise file_error(error, path) from error
    if taken:
        known = (path / on_disk.RUN).exists()
        hint = f"Go on with --resume {path}, or choose" if known else "Choose"
        raise FileError(f"{path} is not empty", f"{hint} another folder with --out.")


class RunDirectory:
    """A run's folder, locked while this object is open. Use it as a context manager.

    On Ctrl-C the block ends with ``Interrupted``; on a full disk with ``FileError``.
    """

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        self.path, self._lock = path, lock

    @classmethod
    def create(cls, path: Path | None = None, label: str = "run", now: datetime | None = None) -> RunDirectory:
        """Make and lock a new run directory; never one that holds something.

        Args:
            path: where; ``None`` is ``./runs/LABEL-YYYYmmdd-HHMMSS``, with ``-2``, ``-3``, ... where that name is taken.
            label: what the run is about, such as ``fsrcnn-x2-jetson``.
        Raises:
            FileError: the place cannot be written to or is not empty.
        """
        if path is None:
            name = re.sub(r"[^\w.]+", "-", label).strip("-.") or "run"
            stamp = (now or datetime.now()).strftime("%Y%m%d-%H%M%S")
            path = _make_unique(Path("runs").absolute() / f"{name}-{stamp}")
        else:
            path = path.absolute()
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise file_error(error, path) from error
            check_empty(path)
        return cls(path, _acquire(path))

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Lock an existing run directory to go on with it.

        Raises:
            FileError: there is no run, or another process works on it.
        """
        path = path.absolute()
        on_disk.configuration(path)
        return cls(path, _acquire(path))

    @classmethod
    def lock(cls, path: Path) -> RunDirectory:
        """Lock a folder, whatever it holds.

        Raises:
            FileError: another process works on it, or it cannot be written to.
        """
        return cls(path.absolute(), _acquire(path.absolute()))

    @classmethod
    def start(cls, request: Request, problem: Problem, photos: Pictures) -> RunDirectory:
        """The directory of a new run with its ``run.json`` written, or of the run to go on with, checked to be the same.

        Raises:
            FileError: the place cannot be used.
            UsageError: the run to go on with was started differently.
        """
        network, device = problem.network, problem.device
        provenance = {"created": datetime.now(UTC).isoformat(timespec="seconds"), **provenance_of(problem, photos)}
        if request.resume:
            if request.run_dir is None:
                raise UsageError("there is no run to go on with", "Give its folder: --resume RUN.")
            run = cls.open(request.run_dir)
        else:
            run = cls.create(request.run_dir, f"{network.name}-x{scale_text(network.scale)}-{device.name}")
        try:
            if request.resume:
                run.check_same(request, provenance)
                run.go_on()
            else:
                run.write_configuration(request, provenance)
            run.plans_dir.mkdir(exist_ok=True)
            run.crops_dir.mkdir(exist_ok=True)
        except OSError as error:
            run.close()
            raise file_error(error, run.path) from error
        except BaseException:
            run.close()
            raise
        return run

    def finish(self, results: Results) -> Results:
        """Write the plans and ``results.json``; the results, which now stand here."""
        for plan in results.front:
            write_json(self.plans_dir / f"{plan.name}.json", plan)
        write_json(self.results_path, results)
        return results.placed(self.path)

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        if isinstance(error, KeyboardInterrupt) and not isinstance(error, Interrupted):
            raise Interrupted(self.path, self._model()) from error
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise file_error(error, self.path) from error

    def _model(self) -> str | None:
        """The file of code that is the network, where the configuration says so."""
        try:
            return Run(self.path).model
        except HwsearchError:
            return None

    def close(self) -> None:
        """Let other processes use the directory."""
        self._lock.close()

    @property
    def plans_dir(self) -> Path:
        return self.path / on_disk.PLANS

    @property
    def crops_dir(self) -> Path:
        return self.path / on_disk.CROPS

    @property
    def journal_path(self) -> Path:
        """Optuna's journal of the search."""
        return self.path / on_disk.JOURNAL

    @property
    def evaluations_path(self) -> Path:
        """Every simulated plan, one JSON line each."""
        return self.path / on_disk.EVALUATIONS

    @property
    def clock_path(self) -> Path:
        """How long the run has taken, over all its legs."""
        return self.path / on_disk.CLOCK

    @property
    def damage_path(self) -> Path:
        """The damage tables of all proxies."""
        return self.path / on_disk.DAMAGE

    @property
    def configuration_path(self) -> Path:
        return self.path / on_disk.RUN

    @property
    def results_path(self) -> Path:
        return self.path / on_disk.RESULTS

    def read(self) -> Run:
        """What stands in the directory now."""
        return Run(self.path)

    def write_configuration(self, request: Any, provenance: Mapping[str, Any]) -> None:
        """Write ``run.json``: what was asked (a dataclass or mapping) and what it was asked of (versions, hashes)."""
        used = {"plugins": plugins.record()} if plugins.in_use() else {}
        document = {"schema_version": SCHEMA, "request": jsonable(request), "provenance": jsonable(provenance), **used}
        write_json(self.configuration_path, document)

    def check_same(self, request: Any, provenance: Mapping[str, Any] | None = None) -> None:
        """``check_request`` for this directory."""
        check_request(self.path, request, provenance)

    def go_on(self) -> None:
        """Write down that the run is gone on with, and under which versions."""
        leg = Leg(created=datetime.now(UTC).isoformat(timespec="seconds"), versions=versions())
        write_json(self.path / on_disk.LEGS, Legs(legs=[*Run(self.path).legs, leg]))


def check_request(
    path: Path, request: Any, provenance: Mapping[str, Any] | None = None, saved: Configuration | None = None
) -> None:
    """Refuse to go on with the run in ``path`` where it was started differently.

    Args:
        request: compared field by field, apart from ``NOT_COMPARED``, and from fields that say nothing and that the version which
            started the run did not have.
        saved: how it was started; by default, what its ``run.json`` says.
        provenance: the hashes (keys that end in ``sha256``) are compared too; versions may differ.
    Raises:
        UsageError: something differs; every difference is listed.
    """
    saved, asked = saved or on_disk.configuration(path), jsonable(request)
    on_disk.ask_for_plugins(saved, path)
    before = earlier.with_request(saved.request)
    keys = {*before, *(key for key, value in asked.items() if value)} - set(NOT_COMPARED)
    pairs = [(key, before.get(key), asked.get(key)) for key in sorted(keys)]
    on_disk.refuse_changes(path, pairs + on_disk.hashes(saved, provenance or {}))


def _make_unique(wanted: Path) -> Path:
    path, number = wanted, 1
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            return path
        except FileExistsError:
            if not path.is_dir():
                raise FileError(f"{path.parent} is not a folder", "Choose another place with --out.") from None
            number += 1
            path = wanted.with_name(f"{wanted.name}-{number}")
        except OSError as error:
            raise file_error(error, path) from error


def _acquire(path: Path) -> IO[bytes]:
    """Lock a folder that this process is going to write in: nothing in it may lead out of it."""
    try:
        for name in (LOCK, *on_disk.ENTRIES):
            reading.refuse_link(path / name)
        # Not truncated, and not through a link that was put there since.
        handle = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        lock = os.fdopen(handle, "rb")
    except OSError as error:
        raise file_error(error, path) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise FileError(f"another process works in {path}", "Wait for it, stop it, or choose another folder.") from error
        raise file_error(error, path) from error
    return lock
