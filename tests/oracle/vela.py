"""Agreement with Vela, Arm's compiler for Ethos-U: estimates by the maker of the hardware, not silicon.

Networks and single layers as they were compiled, in fifteen systems (an accelerator with its clock, memories and memory mode).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from words import make_layer

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.device import Device, Quantity
from hwmodels.device.tables import Memories, Memory
from hwmodels.numbers import Int
from hwmodels.workload import Layer, Tensor, Workload
from oracle import Row

SOURCE = "ethos-u-vela 5.2.0 (a compiler's estimate)"
OPS = {
    "conv2d": "conv",
    "deconv2d": "conv",
    "dwconv2d": "depthwise",
    "add": "add",
    "concat": "concat",
    "depth_to_space": "pixel_shuffle",
}


class Uniform:
    """One weight width and one tensor width."""

    def __init__(self, workload: Workload, activation_bits: int, weight_bits: int = 8) -> None:
        self.weight_bits, self.activation_bits = (weight_bits,), (activation_bits,)
        self.weight_formats, self.tensor_formats = (Int(weight_bits),), (Int(activation_bits),)
        self.layer_names = tuple(workload.layers[i].name for i in workload.weighted)
        self.group_names = workload.group_names


@cache
def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def systems(shared: Path) -> dict[str, Device]:
    """The devices of the compiled systems, by the name that the figures use."""
    found = _read(shared / "oracle" / "vela_networks.json")
    return {c["id"]: system(c, found["system_definitions"]) for c in found["configs"]}


def system(config: dict[str, str], definitions: dict[str, dict[str, str]]) -> Device:
    """A shipped device with the clock, the memories and the memory mode of one compiled system."""
    base = catalogue.load(config["accelerator"])
    text = definitions[config["system_config"]]
    mode, clock = config["memory_mode"], float(text["core_clock"])
    assert base.npu is not None
    assert base.npu.clock_hz is not None
    bus = 8 if "u55" in config["accelerator"] else 16

    def memory(name: str, capacity: float | None) -> Memory:
        def number(key: str, default: float = 1.0) -> float:
            return float(text.get(f"{name}_{key}", default))

        ports = number("ports_used")
        values = {
            "bytes": capacity,
            "bytes_per_s": bus * number("clock_scale") * ports * clock,
            "burst_bytes": number("burst_length"),
            "read_latency_s": number("read_latency") / clock,
            "write_latency_s": number("write_latency") / clock,
            "outstanding_reads": number("max_reads") * ports,
            "outstanding_writes": number("max_writes") * ports or None,
        }
        return Memory(**{k: Quantity(value=float(v)) for k, v in values.items() if v is not None})

    capacity = {"Dedicated_Sram_384KB": 384 * 1024.0, "Dedicated_Sram_512KB": 512 * 1024.0}.get(mode, 4096 * 1024.0)
    other = memory(text["axi1_port"], None)
    memories = Memories(
        onchip=memory("Sram", capacity),
        dram=other if mode.startswith("Dedicated") else None,
        flash=other if mode == "Shared_Sram" else None,
    )
    rates = {k: Quantity(value=q.value * clock / base.npu.clock_hz.value) for k, q in base.rates.items()}
    assert base.npu.array is not None
    array = base.npu.array.model_copy(update={"reference_onchip_bytes": Quantity(value=capacity)})
    npu = base.npu.model_copy(update={"clock_hz": Quantity(value=clock), "array": array})
    return base.model_copy(update={"memory": memories, "rates": rates, "npu": npu})


def network(found: dict[str, Any]) -> Workload:
    """A compiled network as a workload: tensors of one width, same padding."""
    height, width, channels = found["input"]
    sizes: list[tuple[int, int, int]] = [(height, width, channels)]
    index, layers = {"input": 0}, []
    for given in found["layers"]:
        inputs = tuple(index[name] for name in given.get("inputs", [layers[-1].name if layers else "input"]))
        h, w, c = sizes[inputs[0]]
        op, kernel, stride = given["op"], given.get("k", 1), given.get("stride", 1)
        out = given.get("cout", c)
        if op == "deconv2d":
            h, w = h * stride, w * stride
        elif op == "depth_to_space":
            h, w, out = h * given["block"], w * given["block"], c // given["block"] ** 2
        elif op == "concat":
            out = sum(sizes[i][2] for i in inputs)
        elif op in ("conv2d", "dwconv2d"):
            h, w = -(-h // stride), -(-w // stride)
        groups = c if op == "dwconv2d" else 1
        weights = kernel * kernel * c // groups * out if OPS[op] in ("conv", "depthwise") else 0
        index[given["name"]] = len(sizes)
        layers.append(
            make_layer(
                given["name"],
                OPS[op],
                inputs,
                len(sizes),
                weights * h * w,
                weights,
                out if weights else 0,
                (kernel, kernel),
                stride,
                groups,
                given.get("act", "none"),
            )
        )
        sizes.append((h, w, out))
    names = list(index)
    tensors = tuple(
        Tensor(names[t], c, h, w, t - 1, tuple(i for i, layer in enumerate(layers) if t in layer.inputs), 0)
        for t, (h, w, c) in enumerate(sizes)
    )
    return Workload(found.get("name", ""), tuple(layers), tensors, ("all",))


def cycles(target: Device, workload: Workload, activation_bits: int) -> tuple[list[float], list[float]]:
    """Cycles of the array, and of the whole operation, for every layer, without the device's fixed costs."""
    assert target.npu is not None
    assert target.npu.clock_hz is not None
    table = cost.lower(target, workload, Uniform(workload, activation_bits))
    clock = target.npu.clock_hz.value
    compute, latency = table.compute_s[:, 0, 0, 0], table.latency_s[:, 0, 0, 0] - table.overhead_s[:, 0, 0, 0]
    return [float(s * clock) for s in compute], [float(s * clock) for s in latency]


def single_layers(shared: Path) -> Iterator[tuple[str, dict[str, Any], Workload]]:
    """Networks of one layer: the system's name, the compiled figures, the workload."""
    found = _read(shared / "oracle" / "vela_layers.json")
    for values in found["rows"]:
        row = dict(zip(found["columns"], values, strict=True))
        if row["op"] not in OPS:
            continue
        layer = {key: row[key] for key in ("op", "k", "stride", "cout", "act")} | {"name": "layer"}
        if row["op"] == "add":
            layer |= {"inputs": ["input", "input"]}
        if row["op"] in ("add", "dwconv2d"):
            layer["cout"] = row["cin"]
        workload = network({"input": [row["h"], row["w"], row["cin"]], "layers": [layer]})
        yield found["configs"][row["config"]]["id"], row, workload


def networks(shared: Path) -> Iterator[tuple[str, dict[str, Any], Workload]]:
    """Compiled networks: the system's name, the compiled figures, the workload."""
    found = _read(shared / "oracle" / "vela_networks.json")
    for run in found["runs"]:
        yield run["config"], run, network(found["networks"][run["net"]])


def compiled_networks(shared: Path) -> dict[str, Workload]:
    """The compiled networks by name."""
    found = _read(shared / "oracle" / "vela_networks.json")
    return {name: network(described) for name, described in found["networks"].items()}


def weight_bits(shared: Path) -> list[dict[str, Any]]:
    """Compiled networks with narrow weights: ``net``, ``config``, ``act_bits``, ``weight_bits``, ``summary``."""
    found: list[dict[str, Any]] = _read(shared / "oracle" / "vela_weight_bits.json")["runs"]
    return found


def rows(shared: Path) -> list[Row]:
    """Latency of single layers and networks, and on-chip memory of networks, in every compiled system."""
    targets, found = systems(shared), []
    for name, row, workload in single_layers(shared):
        latency = sum(cycles(targets[name], workload, row["act_bits"])[1])
        label = f"{row['op']} {row['k']}x{row['k']} {row['cin']}->{row['cout']} {row['h']}x{row['w']} A{row['act_bits']}"
        found.append(_row(targets[name], f"{label} {name}", latency, row["op_cycles"]))
    for name, run, workload in networks(shared):
        target, label = targets[name], f"{run['net']} A{run['act_bits']}"
        latency = sum(
            c for c, layer in zip(cycles(target, workload, run["act_bits"])[1], workload.layers, strict=True) if counted(layer)
        )
        found.append(_row(target, f"{label} {name}", latency, run["summary"]["cycles_total"], f"{run['net']} {name}"))
        used = cost.onchip_bytes(target, workload, run["act_bits"])
        found.append(
            Row(
                target.name, "npu", "", f"{label} {name}", SOURCE, "onchip_bytes", used, 1024 * run["summary"]["sram_memory_used"]
            )
        )
    return found


def counted(layer: Layer) -> bool:
    """Whether the compiler counts the layer: a pixel shuffle is left to the processor beside the array."""
    return layer.label != "pixel_shuffle"


def _row(target: Device, label: str, predicted: float, measured: float, plan_of: str = "") -> Row:
    """Cycles of a network that is ``plan_of`` one, or of a single layer."""
    assert target.npu is not None
    assert target.npu.clock_hz is not None
    clock = target.npu.clock_hz.value
    seconds = predicted / clock, measured / clock
    return Row(target.name, "npu", "", label, SOURCE, "latency_s", *seconds, plan_of=plan_of, single_layer=not plan_of)
