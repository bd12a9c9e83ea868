"""The names of what stands in a run directory, and what it says of how the run was started: of a run for one device, for several,
and of a search that decides about blocks."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hwmodels.errors import FileError, UsageError
from hwmodels.parts import plugins
from hwsearch.documents import earlier, reading
from hwsearch.documents.configuration import SCHEMA, Configuration, Rewritings, Targets
from hwsearch.documents.files import jsonable
from searchspaces.networks import own_code

if TYPE_CHECKING:
    from hwsearch.problem.request import Request

RUN, TARGETS, BLOCKS = "run.json", "targets.json", "blocks.json"
RESULTS, LEGS, CLOCK = "results.json", "legs.json", "clock.json"
EVALUATIONS, DAMAGE, JOURNAL = "evaluations.jsonl", "damage.json", "journal.log"
PLANS, CROPS, REPORT = "plans", "crops", "report.html"
ENTRIES = (RUN, TARGETS, BLOCKS, RESULTS, LEGS, CLOCK, EVALUATIONS, DAMAGE, JOURNAL, PLANS, CROPS, REPORT)
"""What stands in a run directory."""
SHARING = ("storage", "study", "grace_s")
"""Fields of a request that say who measures: each time anew."""
NOT_COMPARED = ("run_dir", "resume", "command", "force", "cache", *SHARING)
"""Fields of a request that say where and how, not what."""
C = TypeVar("C", bound=Configuration)


def configuration(path: Path) -> Configuration:
    """``run.json`` of the run directory ``path``.

    Raises:
        FileError: there is none, or it is damaged or of another version.
    """
    if not (path / RUN).is_file() and (path / TARGETS).is_file():
        runs = sorted(str(found.parent) for found in path.glob(f"*/{RUN}"))
        raise FileError(f"{path} holds the runs of several devices", f"Give one of them: {', '.join(runs)}.")
    if not (path / RUN).is_file() and (path / BLOCKS).is_file():
        runs = [str(path / name) for name, network in blocks(path).networks.items() if network.evaluations]
        raise FileError(f"{path} holds the runs of a network with and without blocks", f"Give one of them: {', '.join(runs)}.")
    return _document(path, RUN, Configuration)


def blocks(path: Path) -> Rewritings:
    """``blocks.json`` of a run that decides about blocks, in the folder ``path``; ``FileError`` as for ``configuration``."""
    return _document(path, BLOCKS, Rewritings)


def targets(path: Path) -> Targets:
    """``targets.json`` of a run for several devices, in the folder ``path``; ``FileError`` as for ``configuration``."""
    return _document(path, TARGETS, Targets)


def _document(path: Path, name: str, kind: type[C]) -> C:
    if not (path / name).is_file():
        what = f"holds no {name}" if path.is_dir() else "does not exist"
        raise FileError(f"{path} {what}", "Give the folder of an earlier `hwsearch optimize`, or start a new run.")
    file = reading.inside(path, name, "the configuration")
    return reading.read(file, kind, "the configuration of a run", f"Expected schema_version {SCHEMA}. {reading.CHANGED}")


def request_of(saved: Mapping[str, Any], path: Path) -> Request:
    """A request that stands as JSON in the file ``path``, without where it ran and who measured.

    Raises:
        FileError: fields that are unknown, of another type or out of bounds.
    """
    from hwsearch.problem.request import Request

    given = {key: value for key, value in earlier.with_request(saved).items() if key not in ("run_dir", "resume", *SHARING)}
    unknown = sorted(given.keys() - {field.name for field in fields(Request)})
    if unknown:
        raise FileError(f"{path} asks for {', '.join(unknown)[:200]}, which this version does not know", reading.CHANGED)
    return reading.checked(given, Request, path, "the configuration of a run")


def same_fields(saved: Configuration, path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a saved request (see ``Run.same``); ``path``: the run's folder."""
    ask_for_plugins(saved, path)
    file = path / (TARGETS if isinstance(saved, Targets) else BLOCKS if isinstance(saved, Rewritings) else RUN)
    request = request_of(saved.request, file)
    names = earlier.with_request(saved.request).keys() - {"run_dir", "resume", *SHARING}
    before = {field.name: getattr(request, field.name) for field in fields(request) if field.name in names}
    refuse_changes(path, [(key, jsonable(before.get(key)), jsonable(value)) for key, value in given.items()])
    if before.get("model") is not None and "model" not in given:
        raise not_named(path, before["model"])
    return before


def not_named(path: Path, model: str, what: str = "run") -> UsageError:
    """Nothing is executed, nor opened outside a run, because the run, or a plan on its own, names it."""
    hint = f"If you trust that file, name it yourself: --model {shlex.quote(model)}"
    if own_code.OwnCode.read(model) is not None:
        return UsageError(
            f"{path}: the network of this {what} is code, {model}, and code that a {what} names is not executed", hint
        )
    return UsageError(
        f"{path}: the network of this {what} lies outside it, {model}, and files that a {what} names are not opened", hint
    )


def ask_for_plugins(saved: Configuration, path: Path) -> None:
    """Raises UsageError where a plug-in that the run in ``path`` was made with is not in use, or has changed."""
    plugins.ask([used.model_dump() for used in saved.plugins], path)


def hashes(saved: Configuration, provenance: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Each hash that a configuration and ``provenance`` both have: its name, and its value then and now. Runs of code by earlier
    versions have an empty one of their weights."""
    before, now = saved.provenance, jsonable(provenance)
    return [
        (key, before[key], now[key]) for key in sorted(set(before) & set(now)) if key.endswith("sha256") and before[key] != ""
    ]


def refuse_changes(path: Path, pairs: list[tuple[str, Any, Any]]) -> None:
    """Raise UsageError where the second and third of one of ``pairs`` differ: a run in ``path`` that was started differently."""
    changed = [f"  - {key}: was {old!r}, is {new!r}" for key, old, new in pairs if old != new]
    if changed:
        lines = "\n".join(changed)
        raise UsageError(f"{path} was started differently:\n{lines}", "Resume with the same choices, or start a new run.")
