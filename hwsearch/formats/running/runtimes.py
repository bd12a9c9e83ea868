"""Who can run a plan's integers: our engine, and the runtimes that ship plans; one file each.

A runtime is a module with ``open_plan(qgraph) -> Runtime`` in the folder of its format. The folder's ``offers.py`` names it, and
the commands `validate` and `upscale` then know it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hwmodels.errors import UsageError
from hwmodels.parts.registry import Part, Registry, instances
from hwsearch.formats.found import offered

if TYPE_CHECKING:
    from hwsearch.formats.running.runtime import Runtime
    from hwsearch.quant.network.graph import QuantizedGraph


@dataclass(frozen=True)
class RuntimeInfo:
    """One runtime. ``module``: its ``open_plan``, or the module that has it, imported when it is first used; ``package`` must be
    importable, ``extra`` installs it; ``arguments`` are passed to ``open_plan``; ``place``: where it is listed."""

    name: str
    summary: str
    module: str | Callable[..., Runtime]
    package: str = "hwsearch"
    extra: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    place: int = 0

    def check_installed(self, needed: str = "", otherwise: str = "") -> None:
        """Raise ``UsageError`` where it is not installed, with what to do next. ``needed``: what for; ``otherwise``: what can be
        done without it."""
        if find_spec(self.package) is None:
            remedy = f'Install it with: pip install "hwsearch[{self.extra}]"'
            said = f"{self.name} is not installed"
            raise UsageError(f"{needed}, and {said}" if needed else said, f"{remedy}. {otherwise}" if otherwise else remedy)

    def open_plan(self, qgraph: QuantizedGraph) -> Runtime:
        """Make a quantized network ready to run there.

        Raises:
            UsageError: the runtime is not installed.
            FileError: it cannot execute this network.
        """
        self.check_installed()
        opener: Callable[..., Runtime] = import_module(self.module).open_plan if isinstance(self.module, str) else self.module
        return opener(qgraph, **self.arguments)


OURS = RuntimeInfo("engine", "ours", "hwsearch.formats.running.engine", place=1)


def built_in() -> list[Part[RuntimeInfo]]:
    """Our engine, and the ``RUNTIMES`` of every format's folder, as its ``offers.py`` names them."""
    found = [Part(OURS.name, OURS, __file__)]
    found += [Part(info.name, info, file) for info, file in offered("RUNTIMES")]
    return sorted(found, key=lambda part: (part.value.place, part.name))


RUNTIMES: Registry[RuntimeInfo] = Registry(
    "runtime", "hwsearch.runtimes", built_in, instances(RuntimeInfo, lambda info: info.name)
)


def runtime(name: str) -> RuntimeInfo:
    """The runtime called ``name``.

    Raises:
        UsageError: there is none; the message has the closest names.
    """
    return RUNTIMES.named(name)
