"""How near to its floating-point output a transformer stays at about the latency of W8A8, and the plan that shows it.

    python tests/bench/near_float.py NETWORK WEIGHTS --scale 4 --images PHOTOS [--target hexagon --input 64x64 --share 0.1]

From W8A8 on, the tensors whose 16 bits take most noise off the output for the time that they add become 16 bits wide, one after
the other, until ``--share`` more than the latency of W8A8 is used up; noise by the proxy ``noise_gain``. The first plan of that
row that reaches ``--wanted`` dB against the floating-point network in simulation, and the last one, are run by the integer
engine on pictures that nothing else has seen. Prints latency (predicted) and dB for these, W8A8 and W8A16, and the tensors that
are 16 bits wide.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path[:0] = [str(Path(__file__).parents[2])]

from hwmodels.pricing.table import estimate  # noqa: E402
from hwsearch.problem.pictures import choose_pictures  # noqa: E402
from hwsearch.problem.pose import Problem, pose  # noqa: E402
from hwsearch.problem.request import Request  # noqa: E402
from hwsearch.quality.proxies import noise_gain  # noqa: E402
from hwsearch.quant.calibrate import Calibration, calibrate  # noqa: E402
from hwsearch.quant.engine import integer  # noqa: E402
from searchspaces.ir.graph import execute  # noqa: E402
from searchspaces.space import PlanRow, matrix  # noqa: E402

SEEN = 4
"""Pictures that the proxy sees, and as many on which plans are simulated."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("network")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--scale", type=int, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--target", default="hexagon")
    parser.add_argument("--input", default="64x64")
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--wanted", type=float, default=40.0)
    parser.add_argument("--method", default="output_noise")
    given = parser.parse_args()
    torch.set_num_threads(1)
    height, width = map(int, given.input.split("x"))
    started = time.process_time()

    def said(text: str) -> None:
        print(f"[{time.process_time() - started:.0f} s] {text}", flush=True)

    problem = pose(
        Request(
            network=given.network,
            weights=given.weights,
            scale=given.scale,
            target=given.target,
            images=given.images,
            input_size=(height, width),
            weight_bits=(8,),
            activation_bits=(8, 16),
        )
    )
    space = problem.space
    said(f"traced: {len(problem.graph.nodes)} operators, {len(space.layer_names)} layers, {len(space.group_names)} widths")
    pictures = choose_pictures(Request(network=given.network, images=given.images, input_size=(height, width)), problem.network)
    calibration = calibrate(problem.graph, [crop.low for crop in pictures.crops], problem.space, method=given.method)
    damage = noise_gain.measure(calibration, pictures.crops[:SEEN], 0, task=pictures.task)
    said("calibrated, noise of every tensor known")
    row = promoted(problem, damage.noise, given.share)
    said(f"{len(row) - 1} tensors can be 16 bits wide")
    unseen = [sample.low for sample in pictures.evaluation[:SEEN]]

    def simulated(plan: PlanRow) -> float:
        return near(calibration, lambda x: calibration.simulate(plan, x), unseen)

    plans = {"W8A8": row[0], "most": row[-1], "W8A16": problem.space.uniform(8, 16)}
    first = reached(row, simulated, given.wanted)
    if first is not None:
        plans["first"] = row[first]
    whole = estimate(problem.table, matrix([plans["W8A8"]])).latency_s[0]
    for name, plan in plans.items():
        quantized = calibration.quantized(plan)
        proven = near(calibration, lambda x, q=quantized: integer.run(q, x), unseen)  # type: ignore[misc]
        latency = estimate(problem.table, matrix([plan])).latency_s[0]
        wide = [group for group, bits in problem.space.named(plan)[1].items() if bits == 16]
        said(
            f"{name}: {latency * 1e3:.3f} ms ({latency / whole:.3f} of W8A8), {proven:.2f} dB in integers "
            f"({simulated(plan):.2f} simulated), {len(wide)} of {len(problem.space.group_names)} at 16 bits"
        )
        if name in ("first", "most"):
            print("   ", ", ".join(wide[:40]), "..." if len(wide) > 40 else "")
    layers = len(problem.space.layer_names)
    noise = damage.noise_of_choices(matrix([row[-1]]))[0]
    names = [*problem.space.layer_names, *problem.space.group_names]
    most = np.argsort(-noise)[:12]
    print("most of the noise that is left:", ", ".join(f"{names[d]}{' (weights)' if d < layers else ''}" for d in most))


def promoted(problem: Problem, noise: np.ndarray, share: float) -> list[PlanRow]:
    """Plans of growing width from W8A8 on, each within ``share`` more than its latency; ``noise`` as in ``Damage``."""
    space, table = problem.space, problem.table
    row = [space.uniform(8, 8)]
    limit = (1 + share) * float(estimate(table, matrix(row)).latency_s[0])
    while True:
        last = row[-1]
        narrow = [d for d in range(len(space.layer_names), space.decisions) if last[d] == 0 and len(space.choices(d)) > 1]
        if not narrow:
            return row
        options = [space.row(1 if other == d else choice for other, choice in enumerate(last)) for d in narrow]
        latency = estimate(table, matrix([last, *options])).latency_s
        added = np.maximum(latency[1:] - latency[0], 1e-9)  # a change of format that two wide tensors save may make it less
        worth = np.where(latency[1:] <= limit, (noise[narrow, 0] - noise[narrow, 1]) / added, -np.inf)
        best = int(np.argmax(worth))
        if worth[best] <= 0:
            return row
        row.append(options[best])


def reached(row: Sequence[PlanRow], value: Callable[[PlanRow], float], wanted: float) -> int | None:
    """Index of the first plan that reaches ``wanted``, by halving; None where the last does not."""
    if value(row[-1]) < wanted:
        return None
    low, high = -1, len(row) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if value(row[middle]) >= wanted else (middle, high)
    return high


def near(calibration: Calibration, run: Callable[[Tensor], Tensor], pictures: Sequence[Tensor]) -> float:
    """PSNR of all pictures together against the floating-point network, in dB, of values in 0..1."""
    errors = []
    with torch.no_grad():
        for x in pictures:
            errors.append(float((execute(calibration.graph, x).clamp(0, 1) - run(x).clamp(0, 1)).square().mean()))
    return float(-10 * np.log10(np.mean(errors)))


if __name__ == "__main__":
    main()
