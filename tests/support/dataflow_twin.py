"""The price of one layer on a chip on which all layers lie side by side, again: plain Python, one term at a time.

Written from the model's description; shares no code with it.
"""

from __future__ import annotations

from math import ceil, sqrt

from hwmodels.device.device import Device
from hwmodels.numbers import Precision
from hwmodels.workload import Layer, Workload

WEIGHING, WINDOWS = ("conv", "depthwise", "linear"), ("conv", "depthwise")


def dataflow_twin(
    target: Device,
    workload: Workload,
    row: int,
    runs: Precision,
    per_mac: float,
    tensor_bytes: tuple[float, float],
    weights: list[float],
) -> dict[str, float]:
    """``tensor_bytes``: of what is read and written. ``weights``: bytes of every layer's."""
    npu, layer = target.npu, workload.layers[row]
    flow = npu.dataflow
    computes = [_macs(target, workload, each, str(runs)) * per_mac / npu.efficiency.value for each in workload.layers]
    peak = max(rate.value for rate in target.rates.values())
    byte = flow.macs_per_byte.value / peak
    widths = [max(_written(workload, each), _received(workload, each)) for each in workload.layers]
    array = sum(computes) + sum(_written(workload, each) for each in workload.layers) * tensor_bytes[0] * byte
    link = max(widths) * tensor_bytes[0] / flow.connection_bytes_per_s.value
    shown = (sqrt(array**2 + link**2) - link) / array if array > 0 else 1.0
    compute, activation = computes[row] * shown, _written(workload, layer) * tensor_bytes[1] * byte * shown
    if row == widths.index(max(widths)):
        sent = max(_received(workload, layer) * tensor_bytes[0], _written(workload, layer) * tensor_bytes[1])
        activation += sent / flow.connection_bytes_per_s.value
    room = [each.label in WEIGHING or each.reduces for each in workload.layers]
    parts = ceil((sum(weights) + sum(room) * flow.layer_bytes.value) / flow.capacity_bytes.value)
    loading = weights[row] / target.memory.dram.bytes_per_s.value if parts > 1 else 0.0
    change = parts * flow.context_s.value / sum(room) if parts > 1 and room[row] else 0.0
    overhead = change + target.overhead.layer_s.value
    return {
        "compute_s": compute,
        "weight_s": loading,
        "activation_s": activation,
        "overhead_s": overhead,
        "latency_s": compute + activation + loading + overhead,
    }


def _macs(target: Device, workload: Workload, layer: Layer, runs: str) -> float:
    npu = target.npu
    pad = npu.channel_pad[runs].value if runs in npu.channel_pad else 1
    source, out = workload.tensors[layer.inputs[0]], workload.tensors[layer.output]
    taps, pixels = layer.kernel[0] * layer.kernel[1], out.height * out.width
    if layer.label == "depthwise" or (layer.label == "conv" and layer.groups == source.channels > 1):
        return pixels * taps * ceil(out.channels / pad) * pad / npu.depthwise_fill.value
    if layer.label not in WEIGHING:
        return 0.0
    apart = ceil(source.channels / layer.groups / pad) * ceil(out.channels / layer.groups / pad) * layer.groups
    together = ceil(source.channels / pad) * ceil(out.channels / pad)
    macs = pixels * taps * min(apart, together) * pad**2
    return macs / (npu.dataflow.pointwise_fill.value if taps == 1 else 1.0)


def _written(workload: Workload, layer: Layer) -> int:
    return workload.tensors[layer.output].elements if layer.moves("resize") or not layer.moves() else 0


def _received(workload: Workload, layer: Layer) -> int:
    return sum(workload.tensors[i].elements for i in layer.inputs) if layer.label in WINDOWS else 0
