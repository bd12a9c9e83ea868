"""ncnn's int8 calibration table: what its tool ``ncnn2int8`` reads beside a converted network.

One line a layer: ``LAYER_param_0`` and one multiplier per output channel (``1 / scale``: ncnn rounds ``w * multiplier``), then
``LAYER`` and the multiplier of its input. Layers are called as in the file of the "float" exporter. Numbers have nine digits,
which keep single precision. The input is taken as 0..1.

ncnn quantizes the inputs of convolutions only, symmetrically to -127..127, and computes everything between in floating point;
the quality that an export states is measured with every tensor in int8. Lines that name no layer are ignored by ncnn; the last
one carries the origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwsearch.documents.files import write_bytes
from hwsearch.formats.sidecar.table import provenance
from hwsearch.formats.writing.check import check
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph


def table(qgraph: QuantizedGraph, metadata: Mapping[str, Any] | None = None) -> str:
    """The table as text."""
    weights, inputs = [], []
    for node in qgraph.graph.convs:
        layer = qgraph.layers[node.name]
        if isinstance(layer, LayerIntegers):
            weights.append(f"{node.name}_param_0 " + " ".join(f"{1 / float(s):.9g}" for s in layer.scale))
            inputs.append(f"{node.name} {1 / qgraph.formats[node.inputs[0]].scale:.9g}")
    facts = ";".join(f"{key}={value}" for key, value in provenance(qgraph, metadata).items())
    origin = "#" + "_".join(facts.split())[:254]  # one word: the reader takes a word of at most 255 letters for a name
    return "\n".join([*weights, *inputs, f"{origin} 0"]) + "\n"


def export(qgraph: QuantizedGraph, path: str | Path, *, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write the table, whole or not at all.

    Raises:
        FileError: the network has values that make no correct file (see ``check``), or ``path`` cannot be written.
    """
    check(qgraph)
    return write_bytes(Path(path), table(qgraph, metadata).encode())
