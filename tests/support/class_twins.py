"""The price of one layer under one choice, again: plain Python from the device file and the workload, sharing no code with the
compiled kernels. Written from the models' descriptions, one term at a time, without arrays.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from dataflow_twin import dataflow_twin
from hexagon_twin import Parts, hexagon_parts, hexagon_twin
from processor_twins import composed_twin, mcu_twin

from hwmodels.classes.onnxruntime_work import SECONDS, Counted, Same, counted
from hwmodels.device.device import Device
from hwmodels.device.tables import Arena
from hwmodels.numbers import FP16, Precision
from hwmodels.workload import Layer, Tensor, Workload


def wide_is_float(target: Device) -> bool:
    return target.offered.wide == FP16


def native_twin(target: Device, weight_bits: int, activation_bits: int, wide_is_float: bool) -> Precision:
    is_float = wide_is_float and (weight_bits > 8 or activation_bits > 8)
    fit = [
        p
        for p in map(Precision.parse, target.rates)
        if p.weight_bits >= weight_bits and p.activation_bits >= activation_bits and (p.is_float or not is_float)
    ]
    return min(fit, key=lambda p: (p.weight_bits, p.activation_bits, p.is_float))


def tensor_bytes_twin(target: Device, bits: int, is_float: bool) -> float:
    formats = [Precision.parse(key) for key in target.rates]
    widths = [(p.activation_bits, p.is_float) for p in formats if p.activation_bits >= bits and (p.is_float or not is_float)]
    width = min(widths)[0]
    return width / 8 if target.packing.kind == "bits" and width < 8 else ceil(width / 8)


def offchip_twin(target: Device, workload: Workload, tensor: int, bytes_per_element: float) -> float:
    """The share of a tensor that passes the external memory."""
    t = workload.tensors[tensor]
    if target.memory.dram is None:
        return 0.0
    if t.producer < 0 or not t.readers:
        return 1.0
    capacity = target.memory.onchip.bytes.value if target.memory.onchip is not None and target.memory.onchip.bytes else 0.0
    fused = target.npu.fused_bytes.value if target.npu is not None else 0.0
    worst = 0
    for step in range(t.producer, max(t.readers) + 1):
        alive = 0
        for other in workload.tensors:
            until = max(other.readers) if other.readers else len(workload.layers) - 1
            if max(other.producer, 0) <= step <= until:
                alive += other.elements
        worst = max(worst, alive)
    if worst * bytes_per_element <= capacity or t.elements * bytes_per_element <= fused:
        return 0.0
    # A compiler keeps a part in the scratchpad; a cache, and the scratchpad of a documented array, keep all or nothing.
    spills = target.npu is not None and target.npu.array is None
    return 1 - capacity / (worst * bytes_per_element) if spills else 1.0


def weights_twin(target: Device, layer: Layer, channels: int, bits: int, runs: Precision) -> tuple[int, int]:
    """Stored bytes (weights, biases, scales, slopes), moved bytes (weights)."""
    if composed_twin(target, layer):
        plain = target.model_copy(update={"arena": Arena()})
        stored, moved = weights_twin(plain, replace(layer, finish="none"), channels, bits, runs)
        return 2 * stored, 2 * moved
    kind, expanded = target.packing.kind, target.packing.expanded_at_load
    as_float = runs.is_float and (bits > 8 or (kind == "bytes" and not expanded))
    count = layer.weight_count
    if as_float:
        packed = count * {16: 2, 32: 4}[runs.weight_bits]
    elif bits > 8:
        packed = 2 * count
    elif kind == "bytes":
        packed = count
    elif kind == "stream":
        packed = ceil(count * target.packing.stored_bits_per_weight[str(bits)].value / 8)
    else:
        packed = channels * ceil(count // channels * bits / 8)
    per_channel = (4 * channels if layer.finish == "slopes" else 0) + (
        4 * layer.bias_count if as_float else 10 * channels if kind == "stream" else 4 * layer.bias_count + 4 * channels
    )
    moved = max(packed, count * ceil(runs.weight_bits / 8)) if expanded else packed
    return packed + per_channel, moved


def moved_twin(target: Device, layer: Layer, channels: int, bits: int, runs: Precision, read_bytes: float) -> float:
    """Bytes of weights, or of constant operands as wide as what the layer reads, that travel for one picture."""
    weights = weights_twin(target, layer, channels, bits, runs)[1] if layer.weight_count else 0
    return weights + sum(ceil(each.elements * (1 if each.flags else max(read_bytes, 1))) for each in layer.constants)


def terms_twin(
    target: Device, workload: Workload, row: int, weight_bits: int, input_bits: int, output_bits: int, wide_is_float: bool
) -> dict[str, float]:
    layer = workload.layers[row]
    runs = native_twin(target, weight_bits, input_bits, wide_is_float)
    read_bytes = tensor_bytes_twin(target, input_bits, wide_is_float and input_bits > 8)
    write_bytes = tensor_bytes_twin(target, output_bits, wide_is_float and output_bits > 8)
    out = workload.tensors[layer.output]
    sources = [workload.tensors[i] for i in layer.inputs]
    elements = [out.elements] if layer.label == "slice" else [t.elements for t in sources]
    all_bytes = sum(elements) * read_bytes + out.elements * write_bytes
    off_read = sum(
        n * read_bytes * offchip_twin(target, workload, i, read_bytes) for i, n in zip(layer.inputs, elements, strict=True)
    )
    off_bytes = off_read + out.elements * write_bytes * offchip_twin(target, workload, layer.output, write_bytes)
    moved = moved_twin(target, layer, out.channels, weight_bits, runs, read_bytes)

    def speed(name: str) -> float:
        memory = getattr(target.memory, name)
        return memory.bytes_per_s.value if memory is not None and memory.bytes_per_s is not None else float("inf")

    fused = target.kind == "gpu" and _sum_in_convolution(workload, row)
    if fused:
        # Only the other operand is read; the convolution wrote the sum already.
        all_bytes = out.elements * read_bytes
        off_bytes = off_read / 2
    has = {name for name in ("onchip", "dram", "flash") if speed(name) != float("inf")}
    onchip = max(speed("onchip"), speed("dram") if "dram" in has else 0) if "onchip" in has else float("inf")
    inside, outside = all_bytes / onchip, off_bytes / speed("dram")
    unpack = target.unpack_factor(weight_bits, input_bits) if weight_bits < runs.weight_bits else 1.0
    per_mac = unpack / target.rates[str(runs)].value
    overhead = 0.0 if fused else target.overhead.layer_s.value
    depthwise = layer.label == "depthwise" or (layer.label == "conv" and layer.groups == sources[0].channels > 1)
    dense = layer.label in ("conv", "depthwise", "linear") and not depthwise
    taps = layer.kernel[0] * layer.kernel[1]
    pixels = out.height * out.width
    cin, cout = sources[0].channels / layer.groups, out.channels / layer.groups
    compute = 0.0
    match target.kind:
        case "npu" if target.npu is not None and target.npu.passes is not None:
            bits = (weight_bits, input_bits, output_bits)
            before = [_hexagon(target, workload, i, (weight_bits, input_bits, input_bits), wide_is_float) for i in range(row)]
            return hexagon_twin(target, before, _hexagon(target, workload, row, bits, wide_is_float))
        case "npu" if target.npu is not None and target.npu.dataflow is not None:
            return dataflow_twin(
                target,
                workload,
                row,
                runs,
                per_mac,
                (read_bytes, write_bytes),
                _weights_moved(target, workload, weight_bits, runs, read_bytes),
            )
        case "cpu":
            compute = _cpu(target, workload, row, runs, per_mac, depthwise, dense)
            return _processor(target, workload, row, runs, compute, (all_bytes, off_bytes, moved), read_bytes)
        case "gpu":
            gpu = target.gpu
            pad = gpu.channel_pad[str(runs)].value if str(runs) in gpu.channel_pad else 1
            if depthwise:
                slow = gpu.cuda_core_rates.get(str(runs), target.rates[str(runs)]).value
                compute = layer.macs * unpack / min(slow, target.rates[str(runs)].value) / gpu.efficiency.value
            elif dense:
                quantum = min(4, pad) if cin <= 4 else pad
                n, k = ceil(cout / pad) * pad, ceil(cin / quantum) * quantum * taps
                tile_n = min(gpu.tile_n.value, max(n, 32))
                tiles = ceil(pixels / gpu.tile_m.value) * ceil(n / tile_n) * layer.groups
                waves = ceil(tiles / gpu.sm_count.value)
                one_tile_s = gpu.tile_m.value * tile_n * (k + 64) * per_mac * gpu.sm_count.value
                compute = waves * one_tile_s / gpu.efficiency.value
        case "npu":
            compute = _npu(target, layer, runs, per_mac, depthwise, dense, cin, cout, out, sources)
        case "mcu":
            bits = (weight_bits, input_bits, output_bits)
            return mcu_twin(target, workload, row, per_mac, read_bytes, write_bytes, outside, moved, bits)
    if target.kind == "gpu" and runs.is_float and (dense or depthwise):
        ends = [(t, i, read_bytes) for t, i in zip(sources, layer.inputs, strict=True)] + [(out, layer.output, write_bytes)]
        for tensor, index, size in ends:
            if size == 1:  # codes: a kernel of its own reads one format and writes the other
                passed = tensor.elements * (1 + runs.activation_bits / 8)
                outside_s = passed * offchip_twin(target, workload, index, size) / speed("dram")
                overhead += target.overhead.layer_s.value + max(passed / onchip, outside_s)
    if "flash" in has:
        weight = moved / speed("flash")
        together = max(inside, outside, weight)
    elif "dram" in has:
        weight = moved / speed("dram")
        together = max(inside, outside + weight)
    else:
        weight = moved / onchip
        together = max(inside + weight, outside)
    busy = max(compute, together)
    if target.npu is not None and target.npu.takes_turns:
        busy = compute + weight + max(inside, outside)
    return {
        "compute_s": compute,
        "weight_s": weight,
        "activation_s": max(inside, outside),
        "overhead_s": overhead,
        "latency_s": busy + overhead,
    }


def _weights_moved(target: Device, workload: Workload, bits: int, runs: Precision, read_bytes: float) -> list[float]:
    channels = [workload.tensors[each.output].channels for each in workload.layers]
    return [moved_twin(target, each, n, bits, runs, read_bytes) for each, n in zip(workload.layers, channels, strict=True)]


def _hexagon(target: Device, workload: Workload, row: int, bits: tuple[int, int, int], wide_is_float: bool) -> Parts:
    layer = workload.layers[row]
    runs = native_twin(target, bits[0], bits[1], wide_is_float)
    read_bytes, write_bytes = (tensor_bytes_twin(target, each, wide_is_float and each > 8) for each in bits[1:])
    channels = workload.tensors[layer.output].channels
    moved = moved_twin(target, layer, channels, bits[0], runs, read_bytes)
    unpack = target.unpack_factor(bits[0], bits[1]) if bits[0] < runs.weight_bits else 1.0
    per_mac = unpack / target.rates[str(runs)].value
    return hexagon_parts(target, workload, row, runs, per_mac, (read_bytes, write_bytes), moved)


def _sum_in_convolution(workload: Workload, row: int) -> bool:
    """Whether an addition is done by the convolution that makes one of its two operands for it alone."""
    layer = workload.layers[row]
    if layer.label != "add" or len(layer.inputs) != 2 or layer.inputs[0] == layer.inputs[1]:
        return False
    first, second, out = (workload.tensors[i] for i in (*layer.inputs, layer.output))
    if (first.channels, first.height, first.width) != (second.channels, second.height, second.width):
        return False
    made = [workload.layers[t.producer] for t in (first, second) if t.producer >= 0 and t.readers == (row,)]
    return out.elements == first.elements and any(by.label == "conv" and by.finish == "none" for by in made)


def _cpu(target: Device, workload: Workload, row: int, runs: Precision, per_mac: float, depthwise: bool, dense: bool) -> float:
    """Vectors of output channels with their passes over the inputs, and what ONNX Runtime has to do beside (which is compared
    with the graph that it runs: tests of boards), each at its price."""
    kernel, layer, of = target.cpu.kernels[str(runs)], workload.layers[row], _counted(target, workload, runs)
    sources, out = [workload.tensors[i] for i in layer.inputs], workload.tensors[layer.output]
    pixels, taps, lanes = out.height * out.width, layer.kernel[0] * layer.kernel[1], int(kernel.lanes.value)
    macs = 0.0
    if depthwise:
        macs = pixels * (taps + kernel.visit_taps.value) * ceil(out.channels / lanes) * lanes / kernel.depthwise.value
    elif of.sums[row]:
        macs = of.sums[row]
    elif of.products[row]:
        reached = kernel.dense if of.dense[row] and kernel.dense is not None else kernel.product
        macs = (of.products[row] + of.outputs[row] * kernel.visit_depth.value) / reached.value
    elif dense:
        cin, vectors = sources[0].channels / layer.groups, ceil(out.channels / layer.groups / lanes)
        passes = ceil(vectors / kernel.shared_vectors.value)
        if kernel.blocked_inputs and cin < lanes:
            macs = pixels * cin * lanes * vectors * (taps + kernel.visit_taps.value) * layer.groups
        else:
            cin = ceil(cin / lanes) * lanes if kernel.blocked_inputs else cin
            macs = pixels * taps * cin * lanes * (vectors + kernel.pass_vectors.value * passes) * layer.groups
    seconds = 0.0
    for name, count in zip(SECONDS, of.elements[:, row], strict=True):
        value = getattr(kernel, name)
        if value is None:
            twice = 2 * kernel.elementwise_s.value
            value = {"layout_s": 0.0, "transpose_s": kernel.shuffle_s.value, "normalize_s": twice, "softmax_s": twice}[name]
        seconds += float(value) * count
    return macs * per_mac + seconds


def _counted(target: Device, workload: Workload, runs: Precision) -> Counted:
    kernel = target.cpu.kernels[str(runs)]
    return counted(Same(workload), kernel.lanes.value, bool(kernel.blocked_inputs and kernel.layout_s), not runs.is_float)


def _processor(
    target: Device, workload: Workload, row: int, runs: Precision, compute: float, ends: tuple[float, float, float], size: float
) -> dict[str, float]:
    """All terms. ``ends``: bytes of all tensors, of those beyond the last cache, and of weights; ``size``: bytes of a value that
    is read. What is gathered beyond the last cache is written and read again; tensors beyond a core's own cache wait for the
    last one besides."""
    of, kernel, memory = _counted(target, workload, runs), target.cpu.kernels[str(runs)], target.memory
    dram = memory.dram.bytes_per_s.value
    held = memory.onchip.bytes.value if memory.onchip is not None else float("inf")
    if kernel.tap_s.value > 0:
        compute += 2 * max(of.patches[row] * size - held, 0.0) / dram
    through, outside, weights = (ends[0] * (1 - of.idle[row]), ends[1] * (1 - of.idle[row]), ends[2])
    near = 0.0
    if memory.onchip is not None and memory.onchip.bytes_per_s is not None:
        near = max(through - 2**20, 0.0) / max(memory.onchip.bytes_per_s.value, dram)
    call = target.overhead.layer_s.value * of.calls[row]
    return {
        "compute_s": compute,
        "weight_s": weights / dram,
        "activation_s": max(outside / dram, near),
        "overhead_s": call,
        "latency_s": max(compute + near, (outside + weights) / dram) + call,
    }


def _npu(
    target: Device,
    layer: Layer,
    runs: Precision,
    per_mac: float,
    depthwise: bool,
    dense: bool,
    cin: float,
    cout: float,
    out: Tensor,
    sources: list[Tensor],
) -> float:
    npu, name = target.npu, str(runs)
    taps = layer.kernel[0] * layer.kernel[1]
    pixels = out.height * out.width
    pad = npu.channel_pad[name].value if name in npu.channel_pad else 1
    if depthwise:
        return pixels * taps * ceil(out.channels / pad) * pad / npu.depthwise_fill.value * per_mac / npu.efficiency.value
    if dense:
        reads_image = any(t.producer < 0 for t in sources)
        fine = min(pad, npu.image_pad.value) if npu.image_pad is not None and reads_image else pad
        apart = ceil(cin / fine) * fine * ceil(cout / pad) * pad * layer.groups
        macs = pixels * taps * min(apart, ceil(sources[0].channels / fine) * fine * ceil(out.channels / pad) * pad)
        return macs * per_mac / npu.efficiency.value
    return 0.0
