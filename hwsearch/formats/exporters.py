"""Handing plans to the runtimes that ship them; one file a format.

An exporter is a function ``export(qgraph, path, *, metadata, ...) -> Path`` in a file of its own, in the folder of its format.
The folder's ``offers.py`` names it, by which it is found, and says what the format can hold. What it cannot hold is promoted
before the exporter sees it (``promote``), and the export says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwmodels.errors import UsageError
from hwmodels.parts.registry import Part, Registry, instances
from hwsearch.formats.capability import Holds

if TYPE_CHECKING:
    from hwsearch.formats.promote import Promotion
    from hwsearch.quant.graph import QuantizedGraph
    from searchspaces.ir.graph import Graph
    from searchspaces.ops.table import OpTable


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
        module, _, name = self.table.partition(":")
        found: OpTable[Any] = getattr(import_module(module), name)
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
        from hwsearch.formats.promote import promote

        return promote(qgraph, self.holds)

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
        """
        self.refuse(qgraph.graph)
        promotion = self.promote(qgraph)
        facts = {**(metadata or {}), **({"promoted": promotion.summary} if promotion.changes else {})}
        function: Callable[..., Path] = import_module(self.module).export if isinstance(self.module, str) else self.module
        arguments = {**self.arguments, **({"size": size} if self.sized else {})}
        return function(promotion.qgraph, path, metadata=facts, **arguments)


def _built_in() -> list[Part[ExporterInfo]]:
    """The ``EXPORTERS`` of every folder beside this file, as its ``offers.py`` names them."""
    found = []
    for file in Path(__file__).parent.glob("*/offers.py"):
        module = import_module(f"{__package__}.{file.parent.name}.offers")
        found += [Part(info.name, info, str(file)) for info in module.EXPORTERS]
    return sorted(found, key=lambda part: (part.value.place, part.name))


EXPORTERS: Registry[ExporterInfo] = Registry(
    "exporter", "hwsearch.exporters", _built_in, instances(ExporterInfo, lambda info: info.name)
)


def exporter(name: str) -> ExporterInfo:
    """The exporter called ``name``.

    Raises:
        UsageError: there is none; the message has the closest names.
    """
    return EXPORTERS.named(name)
