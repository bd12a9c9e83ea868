"""One run for several devices: every device has a complete run directory of its own, and what does not depend on a device is
measured once (see ``shared``).

    RUN/targets.json        what was asked, and the devices in order
    RUN/jetson-orin-nano/   a run directory like any other
    RUN/stm32h743/          ...

A stopped run goes on with the device at which it stopped; devices that were finished are read back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hwmodels.device import catalogue
from hwmodels.errors import BudgetError, UsageError
from hwmodels.parts import plugins
from hwsearch.documents import reading
from hwsearch.documents.configuration import SCHEMA
from hwsearch.documents.files import jsonable, write_json
from hwsearch.documents.progress import Progress, Silent
from hwsearch.documents.recommended import of_budget
from hwsearch.documents.results import Results
from hwsearch.pipeline import optimize as pipeline
from hwsearch.problem import complexity
from hwsearch.problem.network import load_network
from hwsearch.problem.pose import pose
from hwsearch.problem.request import AUTO, Request
from hwsearch.quality.measurement_cache import MeasurementCache
from hwsearch.report import document as one
from hwsearch.runs import directory, on_disk
from hwsearch.runs.interrupted import Interrupted
from hwsearch.runs.run import Run
from hwsearch.search.posed import ways_within
from searchspaces.data.scale import Scale, scale_text

PER_DEVICE = ("target", "run_dir", "resume", "command")
"""Fields of a request that are not the same for all devices, or say where and how."""


@dataclass(frozen=True, eq=False)
class Runs:
    """Finished runs of one network, by device in the order asked for; ``folder`` holds them all."""

    folder: Path
    results: Mapping[str, Results]


def optimize(targets: Sequence[str], request: Request, progress: Progress | None = None) -> Runs:
    """``pipeline.optimize`` for each of ``targets``; ``request.run_dir`` is the folder of all.

    Raises:
        UsageError: a device is named twice, the run to go on with was started differently, or a search is to decide about
            blocks or branches.
        BudgetError: the budgets are out of reach on one of the devices; nothing is measured then.
        HwsearchError: as ``pipeline.optimize``.
    """
    progress = progress or Silent()
    for option, asked, what in (("--drop", request.dropped, "blocks to drop"), ("--branches", request.branches, "branches")):
        if AUTO[0] in asked:
            raise UsageError(f"{option} auto searches for one device", f"Give one --target, or name the {what}.")
    names = _names(targets)
    if not request.resume:
        directory.check_empty(request.run_dir)
        request = replace(complexity.settled(replace(request, target=targets[0]), progress), target=request.target)
    requests = {name: replace(request, target=target) for name, target in names.items()}
    if request.resume and request.run_dir is not None:
        places = {name: request.run_dir / name for name in names}
        if all(Run(place).is_finished for place in places.values()):
            return Runs(request.run_dir, {n: pipeline.optimize(replace(requests[n], run_dir=p)) for n, p in places.items()})
    network = load_network(request)
    with progress.stage("lowering the network to every device", len(requests)) as stage:
        spaces = []
        for name, own in requests.items():
            problem = pose(own, network)
            try:
                ways_within(problem, own)
            except BudgetError as error:
                raise BudgetError(f"{name}: {error.message}", f"{error.hint} Or leave this device out.") from error
            spaces.append(problem.space)
            stage.advance()
    shared = MeasurementCache(network, spaces)
    with _folder(request, names, network.name, network.scale) as run:
        results = {}
        for name, own in requests.items():
            place = run.path / name
            reading.refuse_link(place)
            resume = (place / on_disk.RUN).is_file()
            try:
                results[name] = pipeline.optimize(replace(own, run_dir=place, resume=resume), progress, shared)
            except Interrupted as stopped:
                raise Interrupted(run.path, stopped.model) from stopped
    return Runs(run.path, results)


def _names(targets: Sequence[str]) -> dict[str, str]:
    """Device name -> target as it was given."""
    names: dict[str, str] = {}
    for target in targets:
        name = catalogue.load(target).name
        if name in names:
            raise UsageError(f"--target {target} and --target {names[name]} are one device, {name}", "Name every device once.")
        names[name] = target
    return names


def _folder(request: Request, names: Mapping[str, str], network: str, scale: Scale) -> directory.RunDirectory:
    """The folder of all runs, locked: a new one, or the one to go on with."""
    if request.resume and request.run_dir is not None:
        return directory.RunDirectory.lock(request.run_dir)
    run = directory.RunDirectory.create(request.run_dir, f"{network}-x{scale_text(scale)}-{len(names)}-targets")
    asked = {key: value for key, value in jsonable(request).items() if key not in PER_DEVICE}
    used = {"plugins": plugins.record()} if plugins.in_use() else {}
    write_json(run.path / on_disk.TARGETS, {"schema_version": SCHEMA, "request": asked, "targets": dict(names), **used})
    return run


def saved(path: Path, targets: Sequence[str], given: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The targets of the run in ``path`` and the fields of its request, as ``Request`` takes them.

    Args:
        targets, given: what was given again; it must say the same.
    Raises:
        FileError: there is no such run.
        UsageError: something is given differently.
    """
    document = on_disk.targets(path)
    before = document.targets
    if targets and list(_names(targets)) != list(before):
        raise UsageError(f"{path} was started for {', '.join(before)}", "Resume without --target, or start a new run.")
    return list(before.values()), on_disk.same_fields(document, path, given)


def names_in(path: Path) -> list[str]:
    """The devices of the runs in ``path``, in the order asked for.

    Raises:
        FileError: there are none.
    """
    return list(on_disk.targets(path).targets)


def load(path: Path) -> Runs:
    """The finished runs in ``path``.

    Raises:
        FileError: there are none, or one is not finished.
    """
    return Runs(path, {name: Run(reading.inside(path, name, "a device")).results for name in names_in(path)})


def document(runs: Runs) -> dict[str, Any]:
    """All runs for machines: the table across devices, and each run as ``optimize`` prints it for one."""
    return {
        "run_dir": str(runs.folder),
        "table": [{"target": name, **one.entry(of_budget(own), own)} for name, own in runs.results.items()],
        "targets": {name: one.document(own) for name, own in runs.results.items()},
    }
