"""How well the loss of exact plans is known before they are measured: by the proxy alone, and calibrated by measured plans.

    python tests/bench/front_error.py --network fsrcnn --target bitserial-npu [--weights FILE --scale 2 --images DIR]
        [--probes 60 --evaluations 90]

The search is that of ``hwsearch optimize`` up to its exact fronts: random probes calibrate the damage table, fronts are solved,
their plans measured, the table calibrated again. Probes and front plans together are the evaluations spent. Every plan's
prediction is from before its measurement. Prints the median errors over all plans of the fronts, and over the later half.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parents[2])]

from hwsearch.documents.files import write_json  # noqa: E402
from hwsearch.documents.progress import Silent  # noqa: E402
from hwsearch.pipeline import damages  # noqa: E402
from hwsearch.problem.pictures import choose_pictures  # noqa: E402
from hwsearch.problem.pose import pose  # noqa: E402
from hwsearch.problem.request import Request  # noqa: E402
from hwsearch.quality.log import EvaluationLog  # noqa: E402
from hwsearch.quality.measurement import prepare  # noqa: E402
from hwsearch.quant.observe.work import macs_per_pixel  # noqa: E402
from hwsearch.search import (  # noqa: E402
    checked_proxies,
    find,
    rounds,
    tiling_options,
)
from searchspaces.data.pictures import windows  # noqa: E402

ERROR_DB, ERROR_SHARE = 0.05, 0.15


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", default="fsrcnn")
    parser.add_argument("--target", default="bitserial-npu")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--scale", type=int)
    parser.add_argument("--images", type=Path, help="small pictures save time")
    parser.add_argument("--input", default="180x320")
    parser.add_argument("--probes", type=int, default=60)
    parser.add_argument("--evaluations", type=int, default=90, help="plans of the fronts that may be measured")
    parser.add_argument("--macs", type=float, default=1e10, help="what measuring one plan may cost: pictures are cut to it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    height, width = map(int, given.input.split("x"))
    request = Request(
        network=given.network,
        weights=given.weights,
        scale=given.scale,
        target=given.target,
        images=given.images,
        input_size=(height, width),
        seed=given.seed,
    )
    started = time.process_time()
    problem = pose(request)
    photos = choose_pictures(request, problem.network)
    pixels = given.macs / macs_per_pixel(problem.graph, problem.network.channels)
    photos = replace(photos, search=windows(photos.search, pixels))
    measuring = prepare(problem, photos, given.seed)
    with tempfile.TemporaryDirectory() as folder:
        log = EvaluationLog(Path(folder) / "evaluations.jsonl", lambda plans: map(measuring, plans), problem.space)
        tables = damages.measure(photos, measuring.evaluator.float_mse, request, Silent(), measuring.calibration)
        proxies = checked_proxies.check(tables, problem.space, log, given.probes, given.seed, Silent())
        tilings = tiling_options.left_open(problem, request, {})
        solved = rounds.solve(
            tilings.tables,
            proxies.best,
            problem.space,
            {},
            proxies.probes,
            proxies.losses_db,
            lambda plans: [score.loss_db for score in log(plans)],
            points=find.FRONT_POINTS,
            evaluations=given.evaluations,
        )
    measured = solved.simulated_db
    print(
        f"{problem.network.name} x{problem.network.scale} on {problem.device.name}: {len(proxies.probes)} probes, "
        f"{len(solved.anchors)} plans of one width, {len(measured)} plans of {solved.count} fronts, median loss "
        f"{np.median(measured):.3f} dB, {time.process_time() - started:.0f} s"
    )
    half = len(measured) // 2
    for name, predicted in ((proxies.best.proxy, solved.by_proxy_db), ("calibrated", solved.predicted_db)):
        print(f"  {name:12} {_told(predicted, measured)}; later half: {_told(predicted[half:], measured[half:])}")
    if given.out is not None:
        write_json(
            given.out,
            {
                "arguments": vars(given),
                "proxies": proxies.checks,
                "proxy": proxies.best.proxy,
                "by_proxy_db": solved.by_proxy_db,
                "predicted_db": solved.predicted_db,
                "simulated_db": measured,
                "plans": np.stack(solved.plans),
            },
        )


def _told(predicted: np.ndarray, measured: np.ndarray) -> str:
    error = np.abs(predicted - measured)
    within = (error <= ERROR_DB) | (error <= ERROR_SHARE * measured)
    share = np.median(error / np.maximum(np.abs(measured), 1e-3))
    return f"median error {np.median(error):.3f} dB, {share:.1%}; {within.mean():.0%} within {ERROR_DB} dB or {ERROR_SHARE:.0%}"


if __name__ == "__main__":
    main()
