"""Configuration for coremltools: which weights of a converted network are stored in 4 or 8 bits, constant by constant.

``coremltools.optimize.coreml.OptimizationConfig.from_yaml`` reads the file; ``linear_quantize_weights`` applies it to a model
that coremltools converted from the same PyTorch module, whose weights it calls after the module with underscores for dots
(``constant_names``). It quantizes symmetrically per output channel such that the largest weight is the largest code; weights of
a plan that do not reach that far are rounded once more, which promotion anticipates (``Holds.stretched``). 4 bits need iOS 18.
Core ML calibrates 8-bit activations itself; the plan's are not in the file. Layers in half precision have no entry and stay as
they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwsearch.documents.files import write_bytes
from hwsearch.formats.sidecar.table import provenance
from hwsearch.formats.writing.check import check
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph


def constant_names(layer: str) -> tuple[str, str]:
    """What coremltools calls the weight of a layer, in a model of single and of half precision."""
    name = re.sub(r"\W", "_", f"{layer}_weight")
    name = name if name[0].isalpha() else f"op_{name}"
    return name, f"{name}_to_fp16"


def text(qgraph: QuantizedGraph, metadata: Mapping[str, Any] | None = None) -> str:
    """The configuration as YAML; the origin stands in comments."""
    lines = [f"# {key}: {' '.join(value.split())}" for key, value in provenance(qgraph, metadata).items()]
    lines += ["config_type: OpLinearQuantizerConfig", "op_name_configs:"]
    for node in qgraph.graph.convs:
        layer = qgraph.layers[node.name]
        if isinstance(layer, LayerIntegers):
            entry = {"mode": "linear_symmetric", "dtype": f"int{layer.bits}", "granularity": "per_channel", "weight_threshold": 0}
            lines += [f"  {name}: {json.dumps(entry)}" for name in constant_names(node.name)]
    if lines[-1] == "op_name_configs:":
        lines[-1] = "op_name_configs: {}"
    return "\n".join(lines) + "\n"


def export(qgraph: QuantizedGraph, path: str | Path, *, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write the configuration, whole or not at all.

    Raises:
        FileError: the network has values that make no correct file (see ``check``), or ``path`` cannot be written.
    """
    check(qgraph)
    return write_bytes(Path(path), text(qgraph, metadata).encode())
