"""The price of one layer under one choice, again: plain Python from the device file and the workload, sharing no code with the
compiled kernels. Written from the models' descriptions, one term at a time, without arrays.
"""

from __future__ import annotations

from math import ceil

from hwmodels.device import Device
from hwmodels.precision import Precision
from hwmodels.workload import CONV_OPS, Layer, Tensor, Workload


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


def offchip_twin(target: Device, workload: Workload, tensor: int, bytes_per_element: float) -> bool:
    """Whether a tensor passes the external memory."""
    t = workload.tensors[tensor]
    if target.memory.dram is None:
        return False
    if t.producer < 0 or not t.readers:
        return True
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
    return worst * bytes_per_element > capacity and t.elements * bytes_per_element > fused


def weights_twin(target: Device, layer: Layer, channels: int, bits: int, runs: Precision) -> tuple[int, int]:
    """Stored bytes (weights, biases, scales, slopes), moved bytes (weights)."""
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
    per_channel = (4 * channels if layer.activation == "prelu" else 0) + (
        4 * layer.bias_count if as_float else 10 * channels if kind == "stream" else 4 * layer.bias_count + 4 * channels
    )
    moved = max(packed, count * ceil(runs.weight_bits / 8)) if expanded else packed
    return packed + per_channel, moved


def terms_twin(
    target: Device, workload: Workload, row: int, weight_bits: int, input_bits: int, output_bits: int, wide_is_float: bool
) -> dict[str, float]:
    layer = workload.layers[row]
    runs = native_twin(target, weight_bits, input_bits, wide_is_float)
    read_bytes = tensor_bytes_twin(target, input_bits, wide_is_float and input_bits > 8)
    write_bytes = tensor_bytes_twin(target, output_bits, wide_is_float and output_bits > 8)
    out = workload.tensors[layer.output]
    sources = [workload.tensors[i] for i in layer.inputs]
    elements = [out.elements] if layer.op == "slice" else [t.elements for t in sources]
    all_bytes = sum(elements) * read_bytes + out.elements * write_bytes
    off_bytes = sum(
        n * read_bytes for i, n in zip(layer.inputs, elements, strict=True) if offchip_twin(target, workload, i, read_bytes)
    ) + (out.elements * write_bytes if offchip_twin(target, workload, layer.output, write_bytes) else 0.0)
    moved = weights_twin(target, layer, out.channels, weight_bits, runs)[1] if layer.weight_count else 0

    def speed(name: str) -> float:
        memory = getattr(target.memory, name)
        return memory.bytes_per_s.value if memory is not None and memory.bytes_per_s is not None else float("inf")

    has = {name for name in ("onchip", "dram", "flash") if speed(name) != float("inf")}
    onchip = max(speed("onchip"), speed("dram") if "dram" in has else 0) if "onchip" in has else float("inf")
    inside, outside = all_bytes / onchip, off_bytes / speed("dram")
    unpack = target.unpack_factor(weight_bits, input_bits) if weight_bits < runs.weight_bits else 1.0
    per_mac = unpack / target.rates[str(runs)].value
    overhead = target.overhead.layer_s.value
    depthwise = layer.op == "depthwise" or (layer.op == "conv" and layer.groups == sources[0].channels > 1)
    dense = layer.op in CONV_OPS and not depthwise
    taps = layer.kernel[0] * layer.kernel[1]
    pixels = out.height * out.width
    cin, cout = sources[0].channels / layer.groups, out.channels / layer.groups
    compute = 0.0
    match target.kind:
        case "cpu":
            compute = layer.macs * per_mac / target.cpu.efficiency.value
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
                one_tile_s = gpu.tile_m.value * tile_n * k * per_mac * gpu.sm_count.value
                compute = waves * one_tile_s / gpu.efficiency.value
        case "npu":
            compute = _npu(target, layer, runs, per_mac, depthwise, dense, cin, cout, out)
        case "mcu":
            mcu = target.mcu
            clock, cycles = mcu.clock_hz.value, mcu.cycles_per_mac
            kind = "linear" if layer.op == "linear" else "depthwise" if depthwise else "pointwise" if taps == 1 else "conv"
            compute = layer.macs * per_mac * getattr(cycles, kind).value / cycles.conv.value
            requants = {"add": sum(elements) + out.elements, "mul": sum(elements) + out.elements, "unary": 2 * out.elements}
            compute += requants.get(layer.op, out.elements if dense or depthwise or layer.op == "pool" else 0) * (
                mcu.cycles_per_output_requant.value / clock
            )
            if dense and layer.op == "conv" and taps > 1:
                compute += sum(elements) * read_bytes * mcu.cycles_per_input_byte_im2col.value / clock
            overhead += mcu.cycles_per_layer.value / clock
            activation = outside
            if layer.op in ("concat", "slice", "repeat", "pixel_shuffle", "resize", "pool"):
                stated = speed("onchip")
                activation += all_bytes / (stated if stated != float("inf") else 2 * clock)
            home = "flash" if "flash" in has else "dram" if "dram" in has else "onchip"
            weight = moved / speed(home)
            latency = compute + weight + activation + overhead
            return {
                "compute_s": compute,
                "weight_s": weight,
                "activation_s": activation,
                "overhead_s": overhead,
                "latency_s": latency,
            }
    if "flash" in has:
        weight = moved / speed("flash")
        together = max(inside, outside, weight)
    elif "dram" in has:
        weight = moved / speed("dram")
        together = max(inside, outside + weight)
    else:
        weight = moved / onchip
        together = max(inside + weight, outside)
    return {
        "compute_s": compute,
        "weight_s": weight,
        "activation_s": max(inside, outside),
        "overhead_s": overhead,
        "latency_s": max(compute, together) + overhead,
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
) -> float:
    npu, name = target.npu, str(runs)
    taps = layer.kernel[0] * layer.kernel[1]
    pixels = out.height * out.width
    pad = npu.channel_pad[name].value if name in npu.channel_pad else 1
    if depthwise:
        return pixels * taps * ceil(out.channels / pad) * pad * 4 * per_mac / npu.efficiency.value
    if dense:
        macs = pixels * taps * ceil(cin / pad) * pad * ceil(cout / pad) * pad * layer.groups
        return macs * per_mac / npu.efficiency.value
    return 0.0
