"""Whole networks exported to C: predicted instructions beside the exact counts of emulated Cortex-M4, M7 and M55.

The constants of the model come from single layers (``tests/bench/mcu_instructions.py``), so no network here was seen by the fit.
The counts are in ``hwmodels/devices/mcu_instructions.json``, written by the same script. A prediction is what the shipped device
file gives in cycles, without fetching weights (the emulator has no memory latency), over its cycles per instruction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from cost_twins import Widths
from random_networks import quantize

from hwmodels import cost
from hwmodels.device import catalogue, device
from hwmodels.device.device import Device
from hwmodels.device.facts import number
from hwmodels.workload import Workload
from hwsearch.formats.c import emulator, qemu
from oracle import Row
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload
from searchspaces.networks.cnn.abpn import ABPN
from searchspaces.networks.cnn.ecbsr import ECBSR
from searchspaces.networks.cnn.fsrcnn import FSRCNN
from searchspaces.tracing.trace import trace

SOURCE = "exact instruction counts under QEMU, whole networks exported to C"
TABLE = Path(device.__file__).parents[1] / "devices" / "mcu_instructions.json"
DEVICES = {"cortex-m4": "stm32l4r5", "cortex-m7": "stm32h743", "cortex-m55": "cortex-m55"}
"""A shipped device whose runtime is the exported C, by counted core."""
NETWORKS: dict[str, Callable[[], FSRCNN | ABPN | ECBSR]] = {
    "fsrcnn": lambda: FSRCNN(2),
    "abpn": lambda: ABPN(3),
    "ecbsr": lambda: ECBSR(2),
}
"""At their published widths."""
SIZE = (16, 20)
SEEDS = (0, 1)


@dataclass(frozen=True)
class Case:
    """A network with a plan: weight bits by layer, activation bits by width group."""

    network: str
    plan: str
    weight_bits: Mapping[str, int]
    activation_bits: Mapping[str, int]

    @property
    def label(self) -> str:
        return f"{self.network}, {self.plan}"


@cache
def graph(name: str) -> Graph:
    """A network with random weights."""
    torch.manual_seed(0)
    module = NETWORKS[name]()
    return trace(module.eval(), module.channels, name)


@cache
def cases() -> tuple[Case, ...]:
    """Every network with uniform weights of 8 and 4 bits, and with widths drawn by layer and tensor."""
    found = []
    for name in NETWORKS:
        layers, groups = [node.name for node in graph(name).convs], sorted(set(graph(name).width_groups().values()))
        for bits in (8, 4):
            found.append(Case(name, f"W{bits}A8", dict.fromkeys(layers, bits), dict.fromkeys(groups, 8)))
        for seed in SEEDS:
            rng = np.random.default_rng(seed)
            weights = {layer: int(rng.integers(2, 9)) for layer in layers}
            found.append(Case(name, f"random weights {seed}, A8", weights, dict.fromkeys(groups, 8)))
            found.append(Case(name, f"random {seed}", weights, {group: int(rng.choice([8, 16])) for group in groups}))
    return tuple(found)


def count(case: Case, board: emulator.Board) -> int:
    """Instructions of one picture on an emulated board."""
    net = graph(case.network)
    leaders = net.width_groups()
    q = quantize(net, case.weight_bits, {name: case.activation_bits[leaders[name]] for name in leaders})
    with TemporaryDirectory() as folder:
        codes = np.random.default_rng(0).integers(0, 256, (1, net.channels, *SIZE))
        return int(qemu.CompiledNetwork(q, board, Path(folder), SIZE).run(codes)[1].sum())


def predicted(target: Device, case: Case) -> float:
    """Instructions of one picture by the model of ``target``."""
    workload = to_workload(graph(case.network), *SIZE)
    names = tuple(workload.layers[i].name for i in workload.weighted)
    widths = target.offered
    space = Widths.of(workload, target.weight_formats, target.tensor_formats)
    weights = [widths.weight_bits.index(case.weight_bits[name]) for name in names]
    tensors = [widths.activation_bits.index(case.activation_bits[name]) for name in workload.group_names]
    return _instructions(target, workload, space, np.array(weights + tensors, dtype=np.int8))


def of_layers(target: Device, workload: Workload) -> float:
    """Instructions of a workload in 8 bits by the model of ``target``."""
    space = Widths.of(workload, target.weight_formats, target.tensor_formats)
    widths = [target.offered.weight_bits.index(8)] * len(space.layer_names)
    widths += [target.offered.activation_bits.index(8)] * len(workload.group_names)
    return _instructions(target, workload, space, np.array(widths, dtype=np.int8))


def _instructions(target: Device, workload: Workload, space: Widths, plan: np.ndarray) -> float:
    layers = cost.explain(cost.lower(target, workload, space), plan)
    seconds = sum(layer["compute_s"] + layer["activation_s"] + layer["overhead_s"] for layer in layers)
    return float(seconds * number(target, "mcu.clock_hz") / number(target, "mcu.cycles_per_instruction"))


def rows(shared: Path) -> list[Row]:
    """Predicted beside counted instructions; the baseline multiplies MACs by what the other networks took per MAC."""
    macs = {name: to_workload(graph(name), *SIZE).macs for name in NETWORKS}
    found = []
    for core in json.loads(TABLE.read_text(encoding="utf-8"))["cores"]:
        target = catalogue.load(DEVICES[core["core"]])
        for case, counted in zip(cases(), core["networks"], strict=True):
            others = [n / macs[c.network] for c, n in zip(cases(), core["networks"], strict=True) if c.network != case.network]
            simple = macs[case.network] * float(np.exp(np.mean(np.log(others))))
            found.append(
                Row(
                    target.name, "mcu", case.network, case.label, SOURCE, "instructions",
                    predicted(target, case), float(counted), (("MACs only", simple),),
                )
            )  # fmt: skip
    return found
