"""The run directory: where a run keeps its configuration, journal, plans and report, and how it survives being stopped.

Assumptions: one process at a time uses a directory (an exclusive ``flock``, released by the system even after kill -9);
documents are written whole or not at all (see ``files``); ``run.json`` is written first, so a directory without it holds no work.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from hwmodels.errors import FileError, UsageError
from hwsearch.documents import earlier
from hwsearch.documents.files import DISK_FULL, file_error, jsonable, read_json, write_json
from hwsearch.documents.versions import versions

if TYPE_CHECKING:
    from hwsearch.documents.results import Results
    from hwsearch.problem.pose import Pictures, Problem, Request
    from searchspaces.networks.registry import LoadedNetwork

SCHEMA = 1
SHARING = ("storage", "study", "grace_s")
"""Fields of a request that say who measures: each time anew."""
NOT_COMPARED = ("run_dir", "resume", "command", *SHARING)
"""Fields of a request that say where and how, not what."""
RUN, TARGETS, EVALUATIONS, DAMAGE = "run.json", "targets.json", "evaluations.jsonl", "damage.json"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while a run directory was in use; what was finished is on disk in ``run_dir``."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(str(run_dir))
        self.run_dir = run_dir


def provenance_of(problem: Problem, photos: Pictures) -> dict[str, Any]:
    """What decides a measurement beside the request: versions, and digests of weights, device and pictures."""
    return {
        "versions": versions(),
        "weights_sha256": problem.network.weights_sha256,
        "state_sha256": _state_digest(problem.network),
        "device_sha256": problem.device.device_sha256,
        "pictures_sha256": photos.sha256,
    }


class RunDirectory:
    """A run's folder, locked while this object is open. Use it as a context manager.

    On Ctrl-C the block ends with ``Interrupted``; on a full disk with ``FileError``.
    """

    def __init__(self, path: Path, lock: IO[str]) -> None:
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
                taken = any(path.iterdir())
            except OSError as error:
                raise file_error(error, path) from error
            if taken:
                known = (path / "run.json").exists()
                hint = f"Go on with --resume {path}, or choose" if known else "Choose"
                raise FileError(f"{path} is not empty", f"{hint} another folder with --out.")
        return cls(path, _acquire(path))

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Lock an existing run directory to go on with it.

        Raises:
            FileError: there is no run, or another process works on it.
        """
        path = path.absolute()
        configuration(path)
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
            run = cls.create(request.run_dir, f"{network.name}-x{network.scale}-{device.name}")
        try:
            if request.resume:
                run.check_same(request, provenance)
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

    def finish(self, results: Results) -> None:
        """Write the plans and ``results.json``."""
        for plan in results.front:
            write_json(self.plans_dir / f"{plan.name}.json", plan)
        write_json(self.results_path, results)
        results.placed(self.path)

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        if isinstance(error, KeyboardInterrupt) and not isinstance(error, Interrupted):
            raise Interrupted(self.path) from error
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise file_error(error, self.path) from error

    def close(self) -> None:
        """Let other processes use the directory."""
        self._lock.close()

    @property
    def plans_dir(self) -> Path:
        return self.path / "plans"

    @property
    def crops_dir(self) -> Path:
        return self.path / "crops"

    @property
    def journal_path(self) -> Path:
        """Optuna's journal of the search."""
        return self.path / "journal.log"

    @property
    def evaluations_path(self) -> Path:
        """Every measured plan, one JSON line each."""
        return self.path / EVALUATIONS

    @property
    def damage_path(self) -> Path:
        """The damage tables of all proxies."""
        return self.path / DAMAGE

    @property
    def configuration_path(self) -> Path:
        return self.path / "run.json"

    @property
    def results_path(self) -> Path:
        return self.path / "results.json"

    def write_configuration(self, request: Any, provenance: Mapping[str, Any]) -> None:
        """Write ``run.json``: what was asked (a dataclass or mapping) and what it was asked of (versions, hashes)."""
        document = {"schema_version": SCHEMA, "request": jsonable(request), "provenance": jsonable(provenance)}
        write_json(self.configuration_path, document)

    def check_same(self, request: Any, provenance: Mapping[str, Any] | None = None) -> None:
        """Refuse to go on with a run that was started differently.

        Args:
            request: compared field by field, apart from ``NOT_COMPARED``.
            provenance: the hashes (keys that end in ``sha256``) are compared too; versions may differ.
        Raises:
            UsageError: something differs; every difference is listed.
        """
        saved, asked = configuration(self.path), jsonable(request)
        before = earlier.with_methods(saved["request"])
        pairs = [(key, before.get(key), asked.get(key)) for key in sorted(set(before) | set(asked)) if key not in NOT_COMPARED]
        _refuse_changes(self.path, pairs + _hashes(saved, provenance or {}))


def configuration(path: Path, name: str = RUN) -> dict[str, Any]:
    """``run.json`` of a run directory: ``schema_version``, ``request``, ``provenance``; or the document ``name`` of that form.

    Raises:
        FileError: there is none, or it is of another version.
    """
    if not (path / name).is_file() and (path / TARGETS).is_file():
        runs = sorted(str(found.parent) for found in path.glob(f"*/{RUN}"))
        raise FileError(f"{path} holds the runs of several devices", f"Give one of them: {', '.join(runs)}.")
    if not (path / name).is_file():
        what = f"holds no {name}" if path.is_dir() else "does not exist"
        raise FileError(f"{path} {what}", "Give the folder of an earlier `hwsearch optimize`, or start a new run.")
    document = read_json(path / name, "the configuration of a run")
    if document.get("schema_version") != SCHEMA or not isinstance(document.get("request"), dict):
        raise FileError(f"{path / name} is not a run of this version", f"Expected schema_version {SCHEMA}.")
    return document


def _hashes(saved: Mapping[str, Any], provenance: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Each hash that a configuration and ``provenance`` both have: its name, and its value then and now."""
    before, now = saved.get("provenance", {}), jsonable(provenance)
    return [(key, before[key], now[key]) for key in sorted(set(before) & set(now)) if key.endswith("sha256")]


def check_unchanged(path: Path, provenance: Mapping[str, Any]) -> None:
    """Refuse to say more about the run in ``path`` when weights, device or pictures are not what they were.

    Raises:
        FileError: a hash differs; every one is listed.
    """
    changed = [key.removesuffix("_sha256") for key, before, now in _hashes(configuration(path), provenance) if before != now]
    if changed:
        raise FileError(
            f"{path}: changed since the run: {', '.join(changed)}",
            "Put them back as they were, or run `hwsearch optimize` again.",
        )


def saved_request(path: Path, given: Mapping[str, Any], name: str = RUN) -> dict[str, Any]:
    """The fields of the request that started the run in ``path``, as ``Request`` takes them, without those of ``SHARING``.

    Args:
        given: fields that were given again; they must say the same.
        name: the document that holds it.
    Raises:
        FileError: there is no such run.
        UsageError: a field is given differently; every such field is listed.
    """
    saved = request_fields(configuration(path, name)["request"])
    _refuse_changes(path, [(key, jsonable(saved.get(key)), jsonable(value)) for key, value in given.items()])
    return saved


def request_fields(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request as ``Request`` takes them, from JSON; without where it ran and who measured."""
    fields = {key: value for key, value in earlier.with_methods(saved).items() if key not in ("run_dir", "resume", *SHARING)}
    for key in ("weights", "images"):
        fields[key] = None if fields.get(key) is None else Path(fields[key])
    for key in ("input_size", "weight_bits", "activation_bits"):
        fields[key] = None if fields.get(key) is None else tuple(fields[key])
    fields["methods"] = tuple(fields["methods"])
    return fields


def load_results(path: Path) -> Results:
    """``results.json`` of the run directory ``path``.

    Raises:
        FileError: there is none (the run did not finish), or it is not of this version.
    """
    from pydantic import ValidationError

    from hwsearch.documents.results import Results

    file = path / "results.json"
    if not file.is_file():
        configuration(path)
        raise FileError(f"{path} has no results yet", f"Finish the run with `hwsearch optimize --resume {path}`.")
    try:
        return Results.model_validate(read_json(file, "the results of a run")).placed(path)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise FileError(f"{file}: {where}: {first['msg']}", "It was written by another version, or changed by hand.") from None


def _refuse_changes(path: Path, pairs: list[tuple[str, Any, Any]]) -> None:
    changed = [f"  - {key}: was {old!r}, is {new!r}" for key, old, new in pairs if old != new]
    if changed:
        lines = "\n".join(changed)
        raise UsageError(f"{path} was started differently:\n{lines}", "Resume with the same choices, or start a new run.")


def _state_digest(network: LoadedNetwork) -> str:
    """Digest of the numbers in a network, wherever they come from: a module that draws its own is another one every time."""
    digest = hashlib.sha256()
    for name, values in network.module.state_dict().items():
        digest.update(f"{name}{tuple(values.shape)}".encode())
        digest.update(values.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


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


def _acquire(path: Path) -> IO[str]:
    try:
        lock = (path / ".lock").open("w")
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
