"""Who has what for which operator: the engine, the simulation, every rule, every exporter, every reader.

Each part keeps its own table (``searchspaces.ops.table.OpTable``) beside its code and names it where it is registered; here they
stand side by side, those of packages and plug-ins with the others, for `hwsearch networks --operations` and for the test that
nothing is missing without a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from searchspaces.ops.registry import operators
from searchspaces.ops.table import OpTable


def tables() -> Mapping[str, OpTable[Any]]:
    """Column -> table; imports every part."""
    from hwsearch.formats.reading.readers import READERS
    from hwsearch.formats.writing.exporters import EXPORTERS
    from hwsearch.quant.engine.rules import RULE_TABLES
    from hwsearch.quant.engine.simulate import SIMULATED
    from hwsearch.quant.engine.steps import STEPS

    found: dict[str, OpTable[Any]] = {"engine": STEPS, "simulation": SIMULATED}
    found |= {f"rule {name}": table for name, table in RULE_TABLES.items()}
    found |= {f"export {name}": info.operators for name, info in EXPORTERS.items()}
    return found | {f"read {name}": info.operators for name, info in READERS.items()}


def matrix() -> dict[str, dict[str, str]]:
    """Operator's kind -> column -> "" where it has it, else the reason why not."""
    columns = tables()
    return {
        kind: {name: "" if table.get(cls) is not None else table.reason(cls) or "" for name, table in columns.items()}
        for kind, cls in operators().items()
    }
