"""Our integer engine as a runtime: the reference that the others are compared with."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from hwsearch.documents.versions import __version__
from hwsearch.formats.running.runtime import Tolerance
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import QuantizedGraph


class EnginePlan:
    """See ``runtime.Runtime``."""

    peak_bytes: int | None = None
    instructions: Mapping[str, int] | None = None

    def __init__(self, qgraph: QuantizedGraph) -> None:
        self.executed, self.tolerance = qgraph, Tolerance()
        self.version = f"hwsearch {__version__}, {integer.path(qgraph)}"

    def run(self, x: Tensor) -> Tensor:
        return integer.run(self.executed, x)


def open_plan(qgraph: QuantizedGraph) -> EnginePlan:
    """Make a network ready to run."""
    return EnginePlan(qgraph)
