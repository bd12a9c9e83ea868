"""Which proxy ranks plans how well, and at what cost: every proxy against the measured loss of the same random plans.

The plans mix good and bad ones (see ``propose.random_plans``). Measured is the fake-quantized PSNR against the original pictures,
paired with the floating-point network. Nothing but the network is needed: no device, no prices.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from hwmodels.errors import UncountedError, UsageError
from hwsearch.documents.comparisons import Ranked, Ranking
from hwsearch.documents.progress import STEPS, Progress, Silent, follow
from hwsearch.problem import complexity
from hwsearch.problem.compared_on import compared_on
from hwsearch.problem.network import load_network
from hwsearch.problem.pictures import choose_pictures
from hwsearch.problem.request import Request
from hwsearch.problem.sizes import ONE_SIZE, sized
from hwsearch.quality.damage import Damage
from hwsearch.quality.evaluate import Evaluator
from hwsearch.quality.proxies import PROXIES
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.observe.work import macs_per_pixel
from hwsearch.search import correlation
from hwsearch.search.predict import interactions
from hwsearch.search.propose import random_plans
from searchspaces.ir.graph import execute
from searchspaces.ir.lower import to_workload
from searchspaces.space import PlanRow, build_space, matrix

WEIGHT_BITS = (2, 4, 6, 8)
ACTIVATION_BITS = (4, 6, 8, 16)
PLAN_MACS = 1e10
"""Multiply-accumulates that measuring one plan may cost, about half a second of one core; pictures are cut down to it."""
TOP = 0.1
FOLDS = 5


def compare(request: Request, progress: Progress | None = None, draw: str = "mixed") -> Ranking:
    """Measure ``request.probes`` random plans and every proxy. Of the request only what concerns network, pictures and widths is
    used; ``draw`` is one of ``random_plans.DRAWS``.

    Raises:
        UncountedError: the network has operations that cannot be executed.
        UsageError: there are too few plans to calibrate with.
    """
    progress = progress or Silent()
    request = complexity.settled(request, progress)
    network, graph, size = sized(request, load_network(request), ONE_SIZE)
    if graph.uncounted:
        raise UncountedError(list(graph.uncounted), "Replace them by operations of `hwsearch networks --operations`.")
    weight_bits = request.weight_bits or WEIGHT_BITS
    activation_bits = request.activation_bits or ACTIVATION_BITS
    space = build_space(
        to_workload(graph, *(graph.size or size)), weight_bits, activation_bits, scope=request.scope, pins=request.pins
    )
    plans = random_plans.sample(space, request.probes, seed=request.seed, draw=draw)
    if len(plans) < 1 / TOP:
        raise UsageError(f"{len(plans)} plans are too few to rank proxies by", "Offer more widths, or more --probes.")
    photos = choose_pictures(request, network)
    measured_on = photos.task.windows(photos.search, PLAN_MACS / macs_per_pixel(graph, network.channels))
    evaluator = Evaluator(lambda x: execute(graph, x), measured_on, photos.task)
    with progress.stage("calibrating", STEPS) as stage:
        calibration = calibrate(
            graph, [crop.low for crop in photos.crops], space, seed=request.seed, progress=follow(stage, STEPS)
        )
        _round_all(calibration)
    losses, plan_cpu_s = _measured(plans, calibration, evaluator, progress)
    ranked = []
    with progress.stage("quality proxies", STEPS * len(PROXIES)) as stage:
        for name, info in PROXIES.items():
            report, started = follow(stage, STEPS), time.process_time()
            damage = info.measure(calibration, photos.crops, request.seed, report, photos.task)
            cpu_s = time.process_time() - started
            ranked.append(_ranked(replace(damage, float_mse=evaluator.float_mse), matrix(plans), losses, cpu_s))
            report(name, 1.0)
    return Ranking(
        **compared_on(request, network),
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        names=list(space.names),
        plans=[list(plan) for plan in plans],
        simulated_db=losses.tolist(),
        float_db=evaluator.float_db,
        pictures=[pair.name for pair in measured_on],
        pixels=sum(math.prod(pair.high.shape[:2]) for pair in measured_on),
        plan_cpu_s=plan_cpu_s,
        draw=draw,
        loss_range_db=correlation.loss_range(losses),
        proxies=sorted(ranked, key=lambda found: -found.spearman),
    )


def _measured(
    plans: Sequence[PlanRow], calibration: Calibration, evaluator: Evaluator, progress: Progress
) -> tuple[np.ndarray, float]:
    """``float64[P]``, the losses of plans in dB, simulated; and the seconds of processor time that one takes."""
    losses, started = np.empty(len(plans)), time.process_time()
    with progress.stage("measuring random plans", len(plans)) as stage:
        for i, plan in enumerate(plans):
            losses[i] = evaluator.score(partial(calibration.simulate, plan)).loss_db
            stage.advance()
    return losses, (time.process_time() - started) / len(plans)


def _round_all(calibration: Calibration) -> None:
    """Round every weight and tensor once; calibration keeps them."""
    space = calibration.space
    for decision, name in enumerate(space.names):
        for choice in space.choices(decision):
            if decision < len(space.layer_names):
                calibration.weight(name, int(choice))
            else:
                calibration.format(name, int(choice))


def _ranked(damage: Damage, plans: np.ndarray, losses_db: np.ndarray, cpu_s: float) -> Ranked:
    predicted = damage.loss_db(plans)
    calibrated = np.empty(len(plans))
    fold = np.arange(len(plans)) % FOLDS
    for k in range(FOLDS):
        seen = fold != k
        calibrated[~seen] = interactions.calibrate(damage, plans[seen], losses_db[seen]).loss_db(plans[~seen])
    return Ranked(
        name=damage.proxy,
        spearman=correlation.spearman(predicted, losses_db),
        kendall=correlation.kendall(predicted, losses_db),
        top_found=correlation.top_found(predicted, losses_db, TOP),
        error_db=float(np.median(np.abs(predicted - losses_db))),
        error_share=_share(predicted, losses_db),
        calibrated_error_db=float(np.median(np.abs(calibrated - losses_db))),
        calibrated_error_share=_share(calibrated, losses_db),
        calibrated_spearman=correlation.spearman(calibrated, losses_db),
        cpu_s=cpu_s,
        forward_passes=damage.forward_passes,
        backward_passes=damage.backward_passes,
        predicted_db=predicted.tolist(),
        calibrated_db=calibrated.tolist(),
    )


def _share(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Median error as a share of the measured loss, over the plans that lose anything."""
    lossy = measured > 0
    return float(np.median(np.abs(predicted - measured)[lossy] / measured[lossy])) if lossy.any() else 0.0
