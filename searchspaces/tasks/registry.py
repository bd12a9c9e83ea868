"""The tasks by name: every module of this folder that has a ``TASK``, and those of packages and plug-ins that have one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from hwmodels.errors import UsageError
from hwmodels.parts.registry import Part, Registry
from searchspaces import tasks
from searchspaces.tasks import fidelity, restoration
from searchspaces.tasks.task import Signature, Task

DEFAULT = "super-resolution"


def _built_in() -> list[Part[type[Task]]]:
    """The ``TASK`` of every module of this folder, the default first."""
    modules = (importlib.import_module(f"{tasks.__name__}.{found.name}") for found in pkgutil.iter_modules(tasks.__path__))
    found = [Part(module.TASK.name, module.TASK, str(module.__file__)) for module in modules if hasattr(module, "TASK")]
    return sorted(found, key=lambda part: (part.name != DEFAULT, part.name))


def _parts_in(name: str, held: object) -> Iterator[tuple[str, type[Task]]]:
    """A task's class, or the one that a module calls ``TASK``."""
    found = getattr(held, "TASK", held)
    if isinstance(found, type) and issubclass(found, Task):
        yield found.name, found


TASKS: Registry[type[Task]] = Registry("task", "hwsearch.tasks", _built_in, _parts_in)


def known() -> Mapping[str, type[Task]]:
    """Every task's class by its name, the default first."""
    return TASKS


def task(name: str) -> type[Task]:
    """Look a task up.

    Raises:
        UsageError: there is none of that name.
    """
    return TASKS.named(name)


def choose(name: str | None, source: Path | None, contract: Signature) -> Task:
    """The task of that name; without a name the one that the samples show: pairs of degraded and clean pictures are restored,
    low pictures alone compared with the floating-point network, everything else is enlarged.

    Raises:
        UsageError: no such task, or a network that enlarges nothing has no degraded pictures to start from.
    """
    if name is None:
        name = DEFAULT
        if source is not None and restoration.is_pairs(source):
            name = restoration.TASK.name
        elif source is not None and fidelity.is_low(source):
            name = fidelity.TASK.name
    if name == DEFAULT and contract.scale == 1 and contract.input_kind == "low":
        raise UsageError(
            "this network returns pictures of the size that it gets: which degradation it undoes is not known",
            "Give pairs with --images: a folder with low/ and high/, or a CSV file of two columns, degraded and clean. "
            f"Other tasks: --task {', '.join(other for other in known() if other not in (DEFAULT, restoration.TASK.name))}.",
        )
    return task(name)(contract)
