"""Plans of few weight bits against other tools, on the same weights, pictures and protocol:
``OMP_NUM_THREADS=1 python tests/bench/peers.py SHARED_DATA [--networks fsrcnn_x2 imdn_x4 espcn_x2 vdsr_y_x2] [--out FOLDER]
[--no-polish]``.

Protocol: 16 crops of 64x64 low-resolution pixels from the first 16 pictures of BSD100 calibrate, 8 of them rank plans; tensors
have 8 bits; a budget is the mean number of bits over the weights of all convolutions. Set5 is looked at once, when a plan is
chosen. PSNR of the luma, borders shaved by the scale. Writes peers.json and peers.md into the folder; seconds are processor time
of one thread: calibration, damage table and rounding of every width (paid once for both budgets), and the search of a budget.

The other tools' numbers were measured with this protocol on the same machine type with MCT 2.6.1 (Sony), ModelOpt 0.47 (NVIDIA),
AIMET 2.42 (Qualcomm), Python 3.11 and torch 2.13: the best of the settings tried for each tool, none of which trains weights.
Those of ESPCN and VDSR can be run again by ``other_tools``; MCT's with a PSNR metric for VDSR are from ranges from least to
greatest and 4 crops instead of 8, its seconds from 8.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from hwsearch.documents.files import replacing
from hwsearch.quality import proxies
from hwsearch.quality.damage import Damage
from hwsearch.quality.evaluate import Evaluator
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.learn.polish import polish
from hwsearch.quant.observe.work import macs_per_pixel
from hwsearch.search.exact.additive import AdditiveProblem
from hwsearch.search.exact.solver import Solver
from hwsearch.search.predict.refit import refit
from searchspaces.data import pictures
from searchspaces.data.pictures import Pair, windows
from searchspaces.ir.graph import Graph, execute
from searchspaces.ir.lower import to_workload
from searchspaces.networks import registry
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.space import PlanRow, SearchSpace, build_space, matrix
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.task import Signature
from searchspaces.tracing.trace import trace

WIDTHS = (3, 4, 5, 6, 7, 8)
BUDGETS = (4, 6)
"""The tighter one first: its plans are plans of the other, too."""
PROXY = "fisher"
SEARCH_CROPS = 8
"""Crops with originals by which plans are ranked: as many as the tools with a metric of their own had."""
LOOK_MACS = 2e10
"""Multiply-accumulates of one measurement of a plan."""
BATCH = 3
"""Exchanges measured in a round."""


@dataclass(frozen=True)
class Subject:
    """A published network. ``peers``: mean bits -> tool -> dB on Set5; ``float_db``: what the tools started from; ``seconds``:
    processor time of MCT for one budget with a PSNR metric. ``evaluations``: plans measured for a budget."""

    name: str
    scale: int
    file: str
    float_db: float
    peers: dict[int, dict[str, float]]
    seconds: float
    evaluations: int


SUBJECTS = {
    "fsrcnn_x2": Subject(
        "fsrcnn",
        2,
        "fsrcnn_x2",
        36.995,
        {
            6: {"MCT": 32.99, "MCT, PSNR metric": 33.95, "ModelOpt": 33.35, "AIMET AMP": 27.11},
            4: {"MCT": 22.58, "MCT, PSNR metric": 25.00, "ModelOpt": 25.42, "AIMET AMP": 8.16},
        },
        7,
        8,
    ),
    "imdn_x4": Subject(
        "imdn",
        4,
        "imdn_x4",
        32.211,
        {
            6: {"MCT, uniform": 31.41, "MCT, PSNR metric": 31.67, "ModelOpt": 31.65, "AIMET AMP": 30.27},
            4: {"MCT, uniform": 29.08, "MCT, PSNR metric": 30.65, "ModelOpt": 29.03, "AIMET AMP": 24.66},
        },
        180,
        12,
    ),
    "espcn_x2": Subject(
        "espcn",
        2,
        "espcn_x2",
        36.849,
        {
            6: {"MCT": 34.94, "MCT, PSNR metric": 34.94, "MCT, uniform": 35.21, "ModelOpt, uniform": 32.59},
            4: {"MCT": 30.58, "MCT, PSNR metric": 30.58, "MCT, uniform": 29.32, "ModelOpt, uniform": 23.77},
        },
        11,
        8,
    ),
    "vdsr_y_x2": Subject(
        "vdsr",
        2,
        "vdsr_y",
        37.527,
        {
            6: {"MCT": 37.13, "MCT, PSNR metric": 37.10, "MCT, uniform": 37.21, "AIMET, uniform": 37.07},
            4: {
                "MCT": 34.25,
                "MCT, PSNR metric": 36.55,
                "MCT, uniform": 36.54,
                "AIMET, uniform": 36.36,
                "ModelOpt, uniform": 35.99,
            },
        },
        421,
        8,
    ),
}


@dataclass(frozen=True)
class Row:
    """One network at one budget; dB on Set5. ``shared_s`` is paid once for all budgets."""

    network: str
    budget_bits: int
    mean_bits: float
    float_db: float
    fake_db: float
    integer_db: float
    polished_db: float | None
    shared_s: float
    search_s: float
    polish_s: float | None
    evaluations: int
    peer: str
    peer_db: float
    peer_float_db: float
    mct_s: float
    weight_bits: tuple[int, ...]


def weights_only(space: SearchSpace, counts: np.ndarray, noise: np.ndarray) -> AdditiveProblem:
    """The problem whose one price is the bytes of the weights, ``counts[layers]`` of them."""
    layers, choices = noise.shape[0] - len(space.group_names), noise.shape[1]
    size = np.zeros((layers, choices, choices, choices))
    for choice, bits in enumerate(space.weight_bits):
        size[:, choice] = (counts * bits / 8)[:, None, None]
    columns = np.full((layers, 3), noise.shape[0])
    columns[:, 0] = np.arange(layers)
    free = np.zeros_like(size)
    return AdditiveProblem(
        tuple(space.choices(d) for d in range(space.decisions)),
        noise,
        columns,
        {"latency_s": free, "weight_bytes": size, "energy_j": free},
        {"latency_s": 0.0, "weight_bytes": 0.0, "energy_j": 0.0},
        np.zeros((0, len(space.group_names), choices)),
    )


def exchanges(problem: AdditiveProblem, plan: np.ndarray, limit: float) -> list[np.ndarray]:
    """Plans one or two changes away from ``plan``, within the limit on weight bytes, the most promising ones first."""
    now, after = problem.costs(plan[None]), problem.costs_of_changes(plan)
    noise = after["noise"] - now["noise"]
    size = after["weight_bytes"] - now["weight_bytes"]
    decisions, choices = problem.changes
    moves = np.flatnonzero(choices != plan[decisions])
    first, second = (moves[index] for index in np.triu_indices(len(moves)))
    # A pair on one decision is that change alone, or no pair.
    alone = first == second
    total = noise[first] + np.where(alone, 0.0, noise[second])
    spent = now["weight_bytes"] + size[first] + np.where(alone, 0.0, size[second])
    real = (alone | (decisions[first] != decisions[second])) & (spent <= limit * (1 + 1e-12))
    order = np.flatnonzero(real)[np.argsort(total[real], kind="stable")][:200]
    found = []
    for i in order:
        moved = plan.copy()
        for change in (first[i], second[i]):
            moved[decisions[change]] = choices[change]
        found.append(moved)
    return found


def allocate(
    space: SearchSpace,
    counts: np.ndarray,
    damage: Damage,
    evaluate: Callable[[PlanRow], float],
    bits: float,
    evaluations: int,
    measured: dict[PlanRow, float],
) -> tuple[PlanRow, int]:
    """The best measured plan of at most ``bits`` mean weight bits, and how many were measured for it. ``measured``: plans and
    their losses, those of tighter budgets at first; extended.

    The exact plan of the damage table and the uniform plan come first; then rounds of refitting the table, its exact plan, and
    the exchanges around the best plan.
    """
    limit = bits * float(counts.sum()) / 8
    known = len(measured)

    def measure(plans: list[PlanRow]) -> None:
        for plan in plans:
            if plan not in measured and len(measured) - known < evaluations:
                measured[plan] = evaluate(plan)

    def exact(damage: Damage) -> PlanRow:
        return space.row(Solver(weights_only(space, counts, damage.noise)).solve({"weight_bytes": limit}).plan)

    measure([exact(damage), space.uniform(int(bits), 8)])
    while len(measured) - known < evaluations:
        before = len(measured)
        table = refit(damage, matrix(measured), np.array([*measured.values()]))
        best = min(measured, key=measured.__getitem__)
        near = [*map(space.row, exchanges(weights_only(space, counts, table.noise), np.asarray(best), limit))]
        measure([exact(table), *[p for p in near if p not in measured][:BATCH]])
        if len(measured) == before:
            break
    return min(measured, key=measured.__getitem__), len(measured) - known


@dataclass(frozen=True, eq=False)
class Protocol:
    """What every tool gets: the network, crops that calibrate (the first ``SEARCH_CROPS`` of which rank plans), and the judge on
    Set5."""

    network: LoadedNetwork
    graph: Graph
    crops: list[Pair]
    judge: Evaluator


def protocol(data: Path, subject: Subject) -> Protocol:
    """The protocol for a network, from a folder with Set5, B100 and weights."""
    network = registry.load(subject.name, subject.scale, data / "weights" / f"{subject.file}.safetensors")
    kind, channels = network.input_kind, network.channels
    graph = trace(network.module, channels, subject.name, 1 if kind == "upsampled" else subject.scale)
    photos = pictures.load_folder(data / "B100")[:16]
    crops = pictures.crops(photos, subject.scale, channels, kind, count=16, size=64)
    set5 = pictures.pairs(pictures.load_folder(data / "Set5"), subject.scale, channels, kind)
    task = SuperResolution(Signature(subject.scale, network.channels))
    return Protocol(network, graph, crops, Evaluator(lambda x: execute(graph, x), set5, task))


def run(data: Path, title: str, polishing: bool, tell: Callable[[Row], None]) -> None:
    """Measure one network at all budgets; each row is told as soon as it is known."""
    subject = SUBJECTS[title]
    same = protocol(data, subject)
    graph, crops, judge = same.graph, same.crops, same.judge

    begin = time.process_time()
    space = build_space(to_workload(graph, 64, 64), WIDTHS, (8,))
    calibration = calibrate(graph, [crop.low for crop in crops], space)
    damage = proxies.PROXIES[PROXY].measure(calibration, crops[:SEARCH_CROPS], 0)
    looked = windows(crops[:SEARCH_CROPS], LOOK_MACS / macs_per_pixel(graph, same.network.channels))
    evaluator = Evaluator(lambda x: execute(graph, x), looked, SuperResolution(Signature(subject.scale, same.network.channels)))
    shared_s = time.process_time() - begin
    counts = np.array([graph[name].weights["weight"].numel() for name in space.layer_names])
    measured: dict[PlanRow, float] = {}
    for bits in BUDGETS:
        begin = time.process_time()
        plan, evaluations = allocate(
            space,
            counts,
            damage,
            lambda plan: evaluator.score(lambda x: calibration.simulate(plan, x)).loss_db,
            bits,
            subject.evaluations,
            measured,
        )
        quantized = calibration.quantized(plan)
        search_s = time.process_time() - begin
        polished_db, polish_s = _polished(calibration, plan, judge) if polishing else (None, None)
        chosen = tuple(space.named(plan)[0].values())
        peer = max(subject.peers[bits], key=subject.peers[bits].__getitem__)
        tell(
            Row(
                title,
                bits,
                float(np.dot(counts, chosen) / counts.sum()),
                judge.float_db,
                judge.score(lambda x, plan=plan: calibration.simulate(plan, x)).quality_db,
                judge.score(lambda x, quantized=quantized: integer.run(quantized, x)).quality_db,
                polished_db,
                shared_s,
                search_s,
                polish_s,
                evaluations,
                peer,
                subject.peers[bits][peer],
                subject.float_db,
                subject.seconds,
                chosen,
            )
        )


def _polished(calibration: Calibration, plan: np.ndarray, judge: Evaluator) -> tuple[float, float]:
    """dB on Set5 of the polished integers, and the seconds of polishing."""
    begin = time.process_time()
    refined = polish(calibration.draft(plan))
    seconds = time.process_time() - begin
    return judge.score(lambda x: integer.run(refined, x)).quality_db, seconds


def markdown(rows: list[Row]) -> str:
    """The table for people."""
    lines = [
        "| network | mean bits | best other tool | its dB | ours, unpolished | in integers | polished | CPU s | MCT CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        polished = "-" if row.polished_db is None else f"{row.polished_db:.2f} (+{row.polish_s:.0f} s)"
        lines.append(
            f"| {row.network} ({row.float_db:.2f}; theirs {row.peer_float_db:.2f}) | {row.mean_bits:.2f} | {row.peer} | "
            f"{row.peer_db:.2f} | {row.fake_db:.2f} | {row.integer_db:.2f} | {polished} | "
            f"{row.shared_s:.0f} + {row.search_s:.0f} | {row.mct_s:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, help="folder with Set5, B100 and weights")
    parser.add_argument("--networks", nargs="+", choices=list(SUBJECTS), default=list(SUBJECTS))
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--no-polish", action="store_true")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []

    def tell(row: Row) -> None:
        rows.append(row)
        with replacing(wanted.out / "peers.json") as path:
            path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
        with replacing(wanted.out / "peers.md") as path:
            path.write_text(markdown(rows))
        print(markdown([row]).splitlines()[-1], flush=True)

    wanted.out.mkdir(parents=True, exist_ok=True)
    for title in wanted.networks:
        run(wanted.data, title, not wanted.no_polish, tell)


if __name__ == "__main__":
    main()
