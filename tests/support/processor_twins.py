"""The price of one layer on a microcontroller and on a general-purpose processor, again: plain Python, one term at a time.

Written from the models' descriptions; shares no code with the compiled kernels.
"""

from __future__ import annotations

from math import ceil

from hwmodels.device.device import Device
from hwmodels.workload import Layer, Workload


def composed_twin(target: Device, layer: Layer) -> bool:
    """Whether a layer runs as two convolutions and their maximum."""
    return bool(target.arena.composes_slopes and layer.weight_count and layer.finish in ("slopes", "slope"))


def _is_depthwise(workload: Workload, layer: Layer) -> bool:
    channels = workload.tensors[layer.inputs[0]].channels
    return layer.label == "depthwise" or (layer.label == "conv" and layer.groups == channels > 1)


def _read_elements(workload: Workload, layer: Layer) -> int:
    if layer.label == "slice":
        return workload.tensors[layer.output].elements
    return sum(workload.tensors[i].elements for i in layer.inputs)


def own_twin(target: Device, workload: Workload, layer: Layer, bits: tuple[int, int, int]) -> float | None:
    """Cycles of a layer that is no convolution, where the file has them: what is done to elements, and to values, rows and
    stretches of codes beside them."""
    mcu, out = target.mcu, workload.tensors[layer.output]
    assert mcu is not None
    source, n = workload.tensors[layer.inputs[0]], out.elements
    read = [workload.tensors[i] for i in layer.inputs]
    found: list[dict[str, float]] = []
    match layer.label:
        case "add":
            if any(t.elements != n for t in read):
                found.append({"add_repeated": n})
            found.append({"add": n})
        case "mul":
            found.append({"mul": n})
        case "unary":
            bend = layer.work.function  # type: ignore[union-attr]
            if bend == "slopes":
                found.append({"real": n})
            elif bits[1] > 8 and bend in ("clamp", "slope"):
                found.append({"bend": n})
            found.append({"unary": n})
        case "pool":
            found += [{"mean": n, "mean_value": source.elements}, {"pool": n}]
        case "concat" | "slice" | "resize":
            stretches = sum(t.height * t.width for t in read) if layer.label == "concat" else out.height * out.width
            if layer.label == "resize":
                stretches = source.height * out.width + out.height - source.height
            whole_words = n / stretches * (2 if max(bits[1:]) > 8 else 1) % 4 == 0
            found += [] if whole_words else [{layer.label: n, "run": stretches, "unaligned": n}]
            found += [{layer.label: n, "run": stretches}, {layer.label: n}]
        case "repeat":
            found += [{"repeat": n, "repeat_value": source.elements}, {"repeat": n}]
        case "pixel_shuffle":
            found += [{"shuffle": n, "shuffle_run": out.height * out.width}, {"shuffle": n}]
    for parts in found:
        cycles = {key: mcu.cycles_per_element.get(key) for key in parts}
        if mcu.wide is not None and (bits[1] > 8 or (bits[2] > 8 and layer.label != "unary")):
            cycles |= {key: mcu.wide.cycles_per_element[key] for key in parts if key in mcu.wide.cycles_per_element}
        if None not in cycles.values():
            made = sum(cycles[key].value * times for key, times in parts.items())  # type: ignore[union-attr]
            if layer.label in ("concat", "slice", "repeat", "pixel_shuffle", "resize") and max(bits[1:]) > 8:
                # Wide codes never move faster.
                narrow = own_twin(target, workload, layer, (bits[0], 8, 8))
                assert narrow is not None
                made = max(made, narrow)
            return made
    return None


def mcu_twin(
    target: Device,
    workload: Workload,
    row: int,
    s_per_mac: float,
    read_bytes: float,
    write_bytes: float,
    outside_s: float,
    weight_bytes: int,
    bits: tuple[int, int, int],
) -> dict[str, float]:
    """All terms of a layer. ``outside_s``: seconds of its feature maps in external RAM; ``weight_bytes``: its weights once;
    ``bits``: of weights, input and output."""
    mcu, layer = target.mcu, workload.layers[row]
    assert mcu is not None
    clock, cycles, lanes, requant = mcu.clock_hz.value, mcu.cycles_per_mac, mcu.lanes.value, mcu.cycles_per_output_requant.value
    side_by_side = mcu.depthwise_lanes.value if mcu.depthwise_lanes else lanes
    window, pixel = mcu.cycles_per_depthwise_output, mcu.cycles_per_depthwise_pixel
    if mcu.wide is not None and bits[1] > 8:
        cycles, lanes, side_by_side = mcu.wide.cycles_per_mac, 1.0, 1.0
        pixel = mcu.wide.cycles_per_depthwise_pixel
    if mcu.wide is not None and max(bits[1:]) > 8:
        requant, window = mcu.wide.cycles_per_output_requant.value, mcu.wide.cycles_per_depthwise_output
    patch_cycles = mcu.cycles_per_im2col_byte.value
    unpacking = mcu.cycles_per_unpacked_weight.get(str(bits[0]))
    own = own_twin(target, workload, layer, bits)
    source, out = workload.tensors[layer.inputs[0]], workload.tensors[layer.output]
    pixels, taps, cin = out.height * out.width, layer.kernel[0] * layer.kernel[1], source.channels / layer.groups
    depthwise = _is_depthwise(workload, layer)
    dense = layer.label == "conv" and not depthwise
    read = _read_elements(workload, layer)

    macs = requants = patches = 0.0
    outputs = out.elements
    one_mac = cycles.conv.value
    if layer.label == "linear":
        macs, one_mac = layer.macs * ceil(cin / lanes) * lanes / cin, cycles.linear.value
    elif depthwise:
        macs, one_mac = pixels * taps * ceil(out.channels / side_by_side) * side_by_side, cycles.depthwise.value
        requant = window.value if window else requant
        outputs = macs / taps if window else outputs
    elif dense:
        inner = ceil(taps * cin / lanes) * lanes if patch_cycles else taps * ceil(cin / lanes) * lanes
        macs = pixels * out.channels * inner
        if taps == 1:
            one_mac = cycles.pointwise.value
    if taps > 1 and (dense or (depthwise and mcu.gathers_depthwise)):
        patches = pixels * taps * source.channels * read_bytes * patch_cycles
        patches += pixels * layer.kernel[0] * mcu.cycles_per_im2col_row.value
    if depthwise:
        patches += pixels * pixel.value
    unpacked = layer.weight_count * unpacking.value if unpacking else 0.0
    elements = (own or 0.0) / clock
    if layer.label in ("conv", "depthwise", "linear") or (layer.label == "pool" and own is None):
        requants = outputs
    elif layer.label in ("add", "mul", "unary") and own is None:
        requants = read + out.elements
    calls = 1
    if composed_twin(target, layer):
        macs, patches, requants, calls, unpacked = 2 * macs, 2 * patches, 3 * requants, 3, 2 * unpacked

    compute = macs * s_per_mac * one_mac / cycles.conv.value
    compute += (requants * requant + patches + unpacked) / clock
    if layer.label in ("add", "mul", "unary", "pool"):
        compute += elements
    called = mcu.cycles_per_call if own is not None and mcu.cycles_per_call else mcu.cycles_per_layer
    overhead = calls * (called.value / clock + target.overhead.layer_s.value)
    speeds = {
        name: memory.bytes_per_s.value
        for name in ("onchip", "dram", "flash")
        if (memory := getattr(target.memory, name)) is not None and memory.bytes_per_s is not None
    }
    activation = outside_s
    if layer.label in ("concat", "slice", "repeat", "pixel_shuffle", "resize"):
        activation += elements
    if own is None and layer.label in ("concat", "slice", "repeat", "pixel_shuffle", "resize", "pool"):
        activation += (read * read_bytes + out.elements * write_bytes) / speeds.get("onchip", 2 * clock)
    home = next(name for name in ("flash", "dram", "onchip") if name in speeds)
    reread = dense and not unpacked and weight_bytes > mcu.weight_cache_bytes.value
    again = ceil(pixels / mcu.pixels_per_pass.value) if reread else 1
    weight = weight_bytes * again / speeds[home]
    return {
        "compute_s": compute,
        "weight_s": weight,
        "activation_s": activation,
        "overhead_s": overhead,
        "latency_s": compute + weight + activation + overhead,
    }
