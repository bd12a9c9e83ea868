"""The plan as comma-separated values (RFC 4180): one line a layer. Every line names the plan, so that tables can be joined."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwsearch.documents.files import write_bytes
from hwsearch.formats.sidecar.table import layer_row, provenance
from hwsearch.formats.writing.check import check
from hwsearch.quant.network.graph import QuantizedGraph

FACTS = ("plan", "plan_key", "hwsearch_version", "promoted")
"""What is said of the origin; empty where it is not known."""
COLUMNS = (
    *("name", "input", "shape", "groups", "activation", "weight_bits", "weight_type", "weight_bytes"),
    *("input_bits", "output_bits", *FACTS),
)


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet computes instead of showing it."""


def cell(value: Any) -> Any:
    """Text as a spreadsheet shows it: an apostrophe before what it would take for a formula. Numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def export(qgraph: QuantizedGraph, path: str | Path, *, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write the table, whole or not at all.

    Raises:
        FileError: the network has values that make no correct file (see ``check``), or ``path`` cannot be written.
    """
    check(qgraph)
    facts = provenance(qgraph, metadata)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    for node in qgraph.graph.convs:
        row = layer_row(qgraph, node)
        shape = "x".join(map(str, row["shape"]))
        cells = {**row, "shape": shape, **{key: facts.get(key, "") for key in FACTS}}
        writer.writerow({key: cell(value) for key, value in cells.items()})
    return write_bytes(Path(path), text.getvalue().encode())
