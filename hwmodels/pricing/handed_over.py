"""How long another processor takes for a layer that a runtime hands to it (``npu.fallback`` of a device file)."""

from __future__ import annotations

from hwmodels.device.sections.fallback import Fallback, Unheld, WorkKey
from hwmodels.workload import Contract, Layer, Map, Move, Reduce, Workload


def seconds(fallback: Fallback, unheld: Unheld, workload: Workload, layer: Layer) -> float:
    """Of the other processor alone, without the way there and back."""
    count = workload.tensors[layer.output].elements
    if isinstance(layer.work, Contract):
        count = layer.work.macs
    elif isinstance(layer.work, Reduce) and not layer.work.keeps:
        count = workload.tensors[layer.inputs[0]].elements
    return unheld.touches.value * count * fallback.element_bytes.value / fallback.bytes_per_s.value


def kind(layer: Layer) -> WorkKey:
    """Under which name a device file has what a layer costs elsewhere."""
    match layer.work:
        case Contract():
            return "depthwise_tap" if layer.channelwise else "matrix"
        case Map():
            return "map"
        case Reduce(keeps=True, function=function):
            return "normalize_function" if function == "function" else "normalize"
        case Reduce():
            return "window_tap"
        case Move(how="resize"):
            return "resample"
    return "move"
