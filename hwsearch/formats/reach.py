"""How far the pixels of a network see: what must stand around a tile, and in which steps tiles may be cut."""

from __future__ import annotations

import math

from searchspaces.ir.graph import Graph, pair


def receptive_radius(graph: Graph) -> int | None:
    """How many input pixels in every direction an output pixel can see; None if it sees the whole picture (pooling)."""
    reach: dict[str, float] = {}
    unit: dict[str, float] = {}
    for node in graph.nodes:
        if node.op == "pool":
            return None
        reach[node.name] = max((reach[name] for name in node.inputs), default=0.0)
        unit[node.name] = unit[node.inputs[0]] if node.inputs else 1.0
        attrs = node.attrs
        if node.op == "conv":
            shape = node.weights["weight"].shape[2:]
            dilation, stride = (max(pair(attrs[k])) for k in ("dilation", "stride"))
            # With uneven padding one side sees more; the whole window bounds both.
            window = max(*attrs["padding"], *(dilation * (k - 1) - min(attrs["padding"]) for k in shape))
            reach[node.name] += unit[node.name] * window
            unit[node.name] *= stride
        elif node.op == "pixel_shuffle":
            unit[node.name] /= attrs["factor"]
        elif node.op == "resize":
            reach[node.name] += {"nearest": 1, "bilinear": 2, "bicubic": 3}[attrs["mode"]] * unit[node.name]
            unit[node.name] /= attrs["factor"]
    return math.ceil(reach[graph.output.name])


def coarsest_step(graph: Graph) -> int:
    """Input pixels to which tiles must be aligned: the largest product of strides on any path, 1 without strides."""
    unit: dict[str, float] = {}
    for node in graph.nodes:
        unit[node.name] = unit[node.inputs[0]] if node.inputs else 1.0
        if node.op == "conv":
            unit[node.name] *= max(pair(node.attrs["stride"]))
        elif node.op in ("pixel_shuffle", "resize"):
            unit[node.name] /= node.attrs["factor"]
    return max(1, math.ceil(max(unit.values())))
