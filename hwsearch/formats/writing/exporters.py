"""Handing plans to the runtimes that ship them; one file a format.

An exporter is a function ``export(qgraph, path, *, metadata, ...) -> Path`` in a file of its own, in the folder of its format.
The folder's ``offers.py`` names it, by which it is found, and says what the format can hold. What it cannot hold is promoted
before the exporter sees it (``promote``), and the export says so.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwmodels.errors import FileError, UsageError
from hwmodels.numbers import format_of
from hwmodels.parts.elsewhere import advice, given
from hwmodels.parts.registry import Part, Registry, instances
from hwsearch.formats.found import named, offered
from hwsearch.formats.writing.capability import Holds

if TYPE_CHECKING:
    from hwmodels.device.device import Device
    from hwmodels.workload import Workload
    from hwsearch.formats.writing.promote import Promotion
    from hwsearch.quant.network.graph import QuantizedGraph
    from searchspaces.ir.graph import Graph
    from searchspaces.ops.table import OpTable

CHECK = "check_exporter"


@dataclass(frozen=True)
class Handed:
    """A file that was written, for the commands that run it.

    Attributes:
        file: the file or folder; ``plan`` is the plan that it was made of.
        device: what it is for; None where that is not known.
        input: name of the network's input; ``size``: (height, width) of the picture that goes in; ``channels`` of it.
    """

    file: Path
    plan: Path
    device: Device | None
    input: str
    size: tuple[int, int]
    channels: int

    @property
    def name(self) -> str:
        """The file as a shell takes it."""
        return shlex.quote(str(self.file))

    @property
    def stem(self) -> str:
        """The file's name without the ending of its format; the whole name where it has none. Other dots belong to the name."""
        info = by_ending(self.file)
        return self.file.name.removesuffix(info.suffix) if info is not None else self.file.name

    def beside(self, suffix: str, stem: str | None = None) -> str:
        """Another file of the same name, or of the given one, as a shell takes it."""
        return shlex.quote(str(self.file.with_name((self.stem if stem is None else stem) + suffix)))

    def device_is(self, *runtimes: str) -> bool:
        """Whether the device's runtime is one of these, by how its name begins."""
        return self.device is not None and self.device.runtime.startswith(runtimes)


@dataclass(frozen=True)
class ExporterInfo:
    """One export format. ``module``: the function, or the module that has it as ``export``, imported when it is first used;
    ``place``: where among the built-in exporters it is listed."""

    name: str
    summary: str
    suffix: str
    module: str | Callable[..., Path]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    holds: Holds = field(default_factory=Holds)
    table: str | OpTable[Any] = ""
    """The table of operators that the format has, or where it is: "MODULE:NAME". Empty: every operator, as far as is known."""
    sized: bool = False
    """The format fixes the size of the picture; ``export`` then takes ``size``, (height, width)."""
    folder: bool = False
    """What is written is a folder."""
    place: int = 0
    serves: tuple[str, ...] = ()
    """Runtimes that read the format, as device files begin their names: the format is what devices with them are handed."""
    written: str = ""
    """What the format holds for a layer where that differs from the network (``hwmodels.workload.Written``), which is priced:
    "MODULE:NAME". Empty: the layers as they are."""
    check: str = ""
    """What raises ``UsageError`` where the format cannot hold a quantized network although it has its operators, as
    "MODULE:NAME". Empty: nothing does."""
    constants: str = ""
    """The number format in which constant operands stand, which is priced; empty: that of the tensors beside them."""
    commands: str | Callable[[Handed], list[str]] = ""
    """What runs the file on its device, or where that is: "MODULE:NAME". Empty: nothing runs it, it is a table for people."""

    def named(self, file: Path) -> Path:
        """The file to write where ``file`` is asked for: with the format's ending where it has none, since tools go by it. What
        stands behind a dot and begins with a digit is no ending ("plan-v1.2")."""
        ending = file.suffix[1:]
        return file if self.folder or (ending and not ending[0].isdigit()) else file.with_name(file.name + self.suffix)

    def runs_on(self, device: Device) -> bool:
        """Whether the format is what the runtime of the device reads."""
        return any(device.runtime.startswith(name) for name in self.serves)

    def next_commands(self, handed: Handed) -> list[str]:
        """Command lines that take the file to its device, in order; lines that begin with # say what a person must do."""
        if not self.commands:
            return []
        if not isinstance(self.commands, str):
            return self.commands(handed)
        found: list[str] = named(self.commands)(handed)
        return found

    @property
    def operators(self) -> OpTable[Any]:
        """What the format has for each operator, or why not."""
        from searchspaces.ops.base import Op
        from searchspaces.ops.table import OpTable

        if isinstance(self.table, OpTable):
            return self.table
        if not self.table:
            everything: OpTable[Any] = OpTable(self.name)
            everything.put(self.module, Op)
            return everything
        found: OpTable[Any] = named(self.table)
        return found

    def refuse(self, graph: Graph) -> None:
        """Raise ``UsageError`` where the format has no way to write an operator of the network, whatever its widths."""
        missing = self.operators.missing(node.op for node in graph.nodes)
        if missing:
            raise UsageError(
                f"{graph.name or 'this network'} cannot be exported to {self.name}:\n"
                + "\n".join(f"  - {line}" for line in missing),
                "`hwsearch networks --operations` tells which formats have an operator.",
            )

    def promote(self, qgraph: QuantizedGraph) -> Promotion:
        """``qgraph`` as this format can hold it, and what had to change.

        Raises:
            UsageError: it cannot be held at all.
        """
        from hwsearch.formats.writing.promote import promote

        found = promote(qgraph, self.holds)
        if self.check:
            named(self.check)(found.qgraph)
        return found

    def __call__(
        self,
        qgraph: QuantizedGraph,
        path: str | Path,
        *,
        metadata: Mapping[str, Any] | None = None,
        size: tuple[int, int] | None = None,
    ) -> Path:
        """Write ``qgraph`` to ``path``, promoted where it must be; the file's metadata say what was.

        Args:
            size: (height, width) of the picture that goes in, for formats that fix it.
        Raises:
            UsageError: the format has no form for an operator.
            FileError: it cannot be written, or the exporter's function, which may be somebody else's, wrote nothing.
        """
        self.refuse(qgraph.graph)
        promotion = self.promote(qgraph)
        facts = {**(metadata or {}), **({"promoted": promotion.summary} if promotion.changes else {})}
        function: Callable[..., Path] = import_module(self.module).export if isinstance(self.module, str) else self.module
        arguments = {**self.arguments, **({"size": size} if self.sized else {})}
        written = given(function(promotion.qgraph, path, metadata=facts, **arguments), Path, f"the exporter {self.name}", CHECK)
        if not written.exists():
            raise FileError(f"the exporter {self.name} said that it wrote {written}, and it is not there", advice(CHECK))
        return written


def _built_in() -> list[Part[ExporterInfo]]:
    """The ``EXPORTERS`` of every format's folder, as its ``offers.py`` names them."""
    found = []
    found += [Part(info.name, info, file) for info, file in offered("EXPORTERS")]
    return sorted(found, key=lambda part: (part.value.place, part.name))


EXPORTERS: Registry[ExporterInfo] = Registry(
    "exporter", "hwsearch.exporters", _built_in, instances(ExporterInfo, lambda info: info.name)
)


def for_device(device: Device) -> list[ExporterInfo]:
    """The formats that a device's runtime reads, the best first; empty where none is made for it."""
    return [info for info in EXPORTERS.values() if info.runs_on(device)]


def shipped(workload: Workload, device: Device) -> Workload:
    """A network's workload, priced on a device as the file holds it that the device is handed."""
    info = next(iter(for_device(device)), None)
    if info is None:
        return workload
    each = format_of(info.constants).whole_bytes if info.constants else 0
    return replace(workload, written=named(info.written) if info.written else None, number_bytes=each)


def by_ending(file: Path) -> ExporterInfo | None:
    """The format whose files end as this one does, the longest such ending; None where there is none."""
    found = [info for info in EXPORTERS.values() if info.suffix and file.name.endswith(info.suffix)]
    return max(found, key=lambda info: len(info.suffix), default=None)


def exporter(name: str) -> ExporterInfo:
    """The exporter called ``name``.

    Raises:
        UsageError: there is none; the message has the closest names.
    """
    return EXPORTERS.named(name)
