"""What 8 and 16 bits lose on Set5, network by network, and what calibration costs: ``OMP_NUM_THREADS=1 python
tests/bench/quantizer.py SHARED_DATA [FILE ...] [--bits low|mix] [--method NAME]``.

A FILE is one of ``SHARED_DATA/weights``, without its ending (``fsrcnn_x2``), or ``shipped``; by default all of ``NETWORKS``.
Prints PSNR-Y of the floating-point network, what plans lose against it, how near their output stays to its output, and CPU
seconds. Calibrated on other photos; simulated, which the engine reproduces. Plans: 8 bits everywhere; 8 bits with the residual
stream (what is added up) at 16; 8-bit weights and 16-bit tensors. ``--bits low`` takes uniform plans of fewer bits instead.

``--bits mix`` looks for the fewest tensors that must be 16 bits wide, beside 8-bit weights, for a loss of at most 0.05 dB:
tensors become wide in the order of the noise that this takes off the output (proxy ``noise_gain``), and how many is found by
halving, on Set14.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hwsearch.quality.evaluate import Evaluator
from hwsearch.quality.proxies import noise_gain
from hwsearch.quant import methods
from hwsearch.quant.calibrate import Calibration, calibrate
from searchspaces.data import pictures
from searchspaces.data.pictures import Pair
from searchspaces.ir.graph import Graph, execute
from searchspaces.ir.lower import to_workload
from searchspaces.networks import registry
from searchspaces.networks.adapted import value_range
from searchspaces.networks.recognition import recognise
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.ops.maps.elementwise import Add
from searchspaces.space import PlanRow, SearchSpace, build_space
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.task import Signature
from searchspaces.tracing.trace import trace

NETWORKS = (
    *("shipped", "fsrcnn_x2", "abpn_m4c28_x3", "vdsr_y", "etds_m4c32_x2", "lapsrn_y_x2", "carn_m_x4", "pan_x4"),
    *("animevideov3_x4", "rrdb_anime6b_x4", "rfdn_aim_x4", "bsrn_x4", "srmdnf_x4", "imdn_x4"),
)
LOW_BITS = ((6, 8), (5, 8), (4, 8), (4, 16))
LOST_DB = 0.05


def load(data: Path, file: str) -> LoadedNetwork:
    """A network as it is, for values 0..1."""
    if file == "shipped":
        return registry.load("fsrcnn")
    weights = data / "weights" / f"{file}.safetensors"
    found = recognise(weights)
    scale = found.scale or (int(file[-1]) if file[-1].isdigit() else None)
    network = registry.load(found.name, scale, weights)
    return value_range.wrapped(network, network.value_range, returns=True) if network.value_range else network


def residual_stream(graph: Graph) -> set[str]:
    """Width groups of what is added up."""
    groups = graph.width_groups()
    sums = [node for node in graph.nodes if isinstance(node.op, Add) and len(node.inputs) == 2]
    return {groups[name] for node in sums for name in (*node.inputs, node.name)}


def plans(graph: Graph, space: SearchSpace, low: bool) -> Mapping[str, PlanRow]:
    """The plans to measure, by their names."""
    if low:
        return {f"W{weight}A{tensor}": space.uniform(weight, tensor) for weight, tensor in LOW_BITS}
    wide, layers = residual_stream(graph), dict.fromkeys(space.layer_names, 8)
    stream = space.plan(layers, {name: 16 if name in wide else 8 for name in space.group_names})
    return {"W8A8": space.uniform(8, 8), "W8A8, stream A16": stream, "W8A16": space.uniform(8, 16)}


def fewest_wide(calibration: Calibration, chosen: Sequence[Pair], task: SuperResolution) -> Mapping[str, PlanRow]:
    """The plan with the fewest wide tensors that loses at most ``LOST_DB`` on ``chosen``, by its number of them, and which."""
    space = calibration.space
    noise = noise_gain.measure(calibration, chosen[:4], 0, task=task).noise
    narrow, wide = space.uniform(8, 8), space.uniform(8, 16)
    open_ = [d for d in range(len(space.layer_names), space.decisions) if narrow[d] != wide[d]]
    order = sorted(open_, key=lambda d: noise[d, wide[d]] - noise[d, narrow[d]])
    evaluator = Evaluator(lambda x: execute(calibration.graph, x), chosen, task)

    def plan(count: int) -> PlanRow:
        return space.row(wide[d] if d in order[:count] else choice for d, choice in enumerate(narrow))

    def good(count: int) -> bool:
        return evaluator.score(lambda x: calibration.simulate(plan(count), x)).loss_db <= LOST_DB

    low, high = -1, len(order)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if good(middle) else (middle, high)
    names = [*space.layer_names, *space.group_names]
    print(f"  of {len(order)} tensors wide: {', '.join(names[d] for d in order[:high])}", flush=True)
    return {f"W8A8, {high} A16": plan(high)}


def measure(data: Path, file: str, bits: str, method: str) -> None:
    network, low = load(data, file), bits == "low"
    kind, channels, scale = network.input_kind, network.channels, network.scale
    graph = trace(network.module, channels, network.name, 1 if kind == "upsampled" else scale)
    space = build_space(to_workload(graph, 64, 64), (4, 5, 6, 8) if low else (8,), (8, 16))
    photos = pictures.load_folder(data / "photos" / "train")[::2]
    crops = [pair.low for pair in pictures.crops(photos, scale, channels, kind, count=32, size=64)]
    set5 = pictures.pairs(pictures.load_folder(data / "Set5"), scale, channels, kind)
    with torch.no_grad():
        real = [execute(graph, pair.low) for pair in set5]
    task = SuperResolution(Signature(scale, channels))
    evaluator = Evaluator(kept(set5, real), set5, task)
    begin = time.process_time()
    calibration = calibrate(graph, crops, space, method=method)
    spent = time.process_time() - begin
    print(f"{file} ({network.name}): float {evaluator.float_db:.3f} dB, {method}, calibration {spent:.0f} CPU s", flush=True)
    chosen = pictures.pairs(pictures.load_folder(data / "Set14"), scale, channels, kind) if bits == "mix" else []
    for name, plan in (fewest_wide(calibration, chosen, task) if chosen else plans(graph, space, low)).items():
        found = [calibration.simulate(plan, pair.low) for pair in set5]
        score = evaluator.score(kept(set5, found))
        errors = [(a.clamp(0, 1) - b.clamp(0, 1)).square().mean() for a, b in zip(real, found, strict=True)]
        near_db = float(-10 * torch.stack(errors).log10().mean())
        print(f"  {name:<17}{score.quality_db:7.3f} dB, loses {score.loss_db:6.3f}; {near_db:.1f} dB to float", flush=True)


def kept(pairs: Sequence[Pair], outputs: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """A network that is asked for nothing but what it has answered already."""
    answers = {id(pair.low): output for pair, output in zip(pairs, outputs, strict=True)}
    return lambda x: answers[id(x)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("files", nargs="*", default=NETWORKS)
    parser.add_argument("--bits", choices=("high", "low", "mix"), default="high")
    parser.add_argument("--method", default=methods.USUAL)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for file in asked.files:
        measure(asked.data, file, asked.bits, asked.method)


if __name__ == "__main__":
    main()
