"""The price of one layer on a Hexagon under one choice, again: plain Python, written from the model's text."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from hwmodels.device.device import Device
from hwmodels.numbers import Precision
from hwmodels.workload import Tensor, Workload

VECTOR_WORK = {
    "add": "map",
    "mul": "map",
    "unary": "map",
    "pool": "window_tap",
    "concat": "move",
    "slice": "move",
    "repeat": "move",
    "pixel_shuffle": "move",
    "transpose": "move",
    "resize": "resample",
    "softmax": "normalize_function",
    "norm": "normalize",
}


class Parts(NamedTuple):
    """What a layer takes but for its weights, in seconds. ``busy``: what they arrive beside; None on another processor."""

    compute: float
    weights: float
    activations: float
    overhead: float
    busy: float | None
    host: float


def hexagon_twin(target: Device, before: list[Parts], own: Parts) -> dict[str, float]:
    """Terms of a layer behind others."""
    terms = dict(zip(("compute_s", "weight_s", "activation_s", "overhead_s"), own, strict=False))
    if own.busy is None:
        return {**terms, "latency_s": own.compute + own.activations + own.overhead}
    return {**terms, "latency_s": max(own.busy, own.weights - ahead_twin(target, before)) + own.host}


def ahead_twin(target: Device, before: list[Parts]) -> float:
    """How long before a layer its weights may have begun to arrive: a walk through the layers before it.

    Weights arrive one layer's after the other's, none before there is room for them; a layer is done when it has worked and its
    weights are there.
    """
    assert target.npu is not None
    assert target.memory.onchip is not None
    assert target.memory.onchip.bytes is not None
    assert target.memory.dram is not None
    assert target.memory.dram.bytes_per_s is not None
    assert target.npu.weights_ahead is not None
    room_s = target.npu.weights_ahead.value * target.memory.onchip.bytes.value / target.memory.dram.bytes_per_s.value
    now = arrived = 0.0
    for layer in before:
        if layer.busy is None:
            now = arrived = 0.0
            continue
        arrived += layer.weights
        now = max(now + layer.busy, arrived)
        arrived = max(arrived, now - room_s)
    return now - arrived


def hexagon_parts(
    target: Device, workload: Workload, row: int, runs: Precision, per_mac: float, widths: tuple[float, float], moved: int
) -> Parts:
    from class_twins import offchip_twin

    npu, layer = target.npu, workload.layers[row]
    assert npu is not None
    assert npu.passes is not None
    assert npu.vector_bytes_per_s is not None
    assert npu.host_bytes_per_s is not None
    read_bytes, write_bytes = widths
    sources, out = [workload.tensors[i] for i in layer.inputs], workload.tensors[layer.output]
    earlier = {i for before in workload.layers[:row] for i in before.inputs}
    arriving = sum(
        t.elements for i, t in enumerate(workload.tensors) if t.producer < 0 and i in layer.inputs and i not in earlier
    )
    leaving = 0 if out.readers else out.elements
    quantum = npu.channel_pad[str(runs)].value

    def filled(channels: float) -> float:
        return float(ceil(channels / quantum) * quantum)

    def stored(tensor: Tensor, is_flat: bool) -> float:
        return 1.0 if is_flat else filled(tensor.channels) / tensor.channels

    wide_in, wide_out = stored(sources[0], arriving > 0), stored(out, leaving > 0)
    counts = [out.elements if layer.label == "slice" else t.elements for t in sources]
    away = sum(n * offchip_twin(target, workload, i, read_bytes) for i, n in zip(layer.inputs, counts, strict=True)) - arriving
    back = out.elements * offchip_twin(target, workload, layer.output, write_bytes) - leaving
    spilled = away * wide_in * read_bytes + back * wide_out * write_bytes
    written = out.elements * wide_out * write_bytes
    computed = out.elements * wide_out * runs.activation_bits / 8
    taps, pixels = layer.kernel[0] * layer.kernel[1], out.height * out.width
    if pixels == 1:
        whole = 1.0
    elif 1 in (out.height, out.width):
        whole = ceil(pixels / 64) * 64 / pixels
    else:
        whole = ceil(out.height / 8) * ceil(out.width / 8) * 64 / pixels
    channels = sources[0].channels
    is_depthwise = layer.label == "depthwise" or (layer.label == "conv" and layer.groups == channels > 1)
    is_matrix = layer.label in ("conv", "linear") and not is_depthwise
    slower = npu.float_passes.value if runs.is_float else 1.0
    macs = vector_bytes = 0.0
    passes = 1.0
    if is_matrix and channels <= 4:
        macs = pixels * filled(4 * taps) * filled(out.channels)
    elif is_matrix:
        apart = filled(channels / layer.groups) * filled(out.channels / layer.groups) * layer.groups
        macs = pixels * taps * min(apart, filled(channels) * filled(out.channels))
    elif is_depthwise:
        vector_bytes, passes = computed * taps * layer.stride, npu.passes.depthwise_tap.value * slower
    else:
        work = VECTOR_WORK[layer.label]
        gathered = sum(counts) * wide_in * read_bytes
        vector_bytes = {
            "move": max(gathered, written),
            "window_tap": max(gathered, written * taps),
            "normalize_function": out.elements * wide_out * 2,
            "normalize": out.elements * wide_out * 2,
        }.get(work, written)
        named = "picture" if work in ("map", "resample") and channels <= 4 else work
        passes = 1.0 if named == "map" else getattr(npu.passes, named).value
        passes *= 1.0 if work in ("move", "normalize_function", "normalize") else slower
    named_work = "matrix" if is_matrix else "depthwise_tap" if is_depthwise else VECTOR_WORK[layer.label]
    handed = npu.fallback.operators.get(named_work) if npu.fallback is not None else None
    if npu.fallback is not None and handed is not None and str(runs.activations) in handed.tensors:
        wide = npu.fallback.element_bytes.value
        there = out.elements * handed.touches.value * wide / npu.fallback.bytes_per_s.value
        way = (sum(t.elements for t in sources) + out.elements) * wide / npu.host_bytes_per_s.value
        restart = target.overhead.inference_s.value
        return Parts(there, 0.0, way, restart, None, 0.0)
    clamped = layer.finish in ("none", "clamp")
    looked_up = 0.0 if clamped else computed * npu.passes.fused_lookup.value * slower
    compute = macs * per_mac + whole * (vector_bytes * passes + looked_up) / npu.vector_bytes_per_s.value
    assert target.memory.dram is not None
    assert target.memory.dram.bytes_per_s is not None
    dram = target.memory.dram.bytes_per_s.value
    start = target.overhead.layer_s.value * (npu.matrix_start.value if is_matrix else 1.0)
    spill, weights = spilled * npu.strip_spill.value / dram, moved / dram
    host = (arriving * read_bytes + leaving * write_bytes) / npu.host_bytes_per_s.value
    return Parts(compute, weights, spill + host, start, start + compute + spill, host)
