"""The damage tables of a search: from its directory, from the cache of this person, or measured."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from hwsearch.documents.progress import STEPS, Progress, follow
from hwsearch.problem.pictures import Pictures
from hwsearch.problem.request import Request
from hwsearch.quality import chosen_proxy
from hwsearch.quality.damage import Damage
from hwsearch.quality.measurement_cache import MeasurementCache
from hwsearch.quant.calibrate import Calibration
from hwsearch.runs import damage_cache, damage_file
from hwsearch.runs.directory import RunDirectory
from hwsearch.search.posed import PosedSearch

RANKED = 2
"""A quick run ranks plans on every second of the crops that it is calibrated on: on the built-in network its ranks of random
plans correlate with 0.993 where all of them give 1.000, and the plan that it proves is the same."""


def of_run(run: RunDirectory, posed: PosedSearch, shared: MeasurementCache, progress: Progress) -> dict[str, Damage]:
    """Those of a run: from its directory, where an earlier process left them, else as ``known``, and written there."""
    space = posed.problem.space
    if run.damage_path.exists():
        with progress.stage("quality proxies", 1):
            return damage_file.load(run.damage_path, space)
    tables = shared.tables(space, partial(known, posed.photos, posed.evaluator.float_mse, posed.request, progress))
    damage_file.save(run.damage_path, tables, space)
    return tables


def known(
    photos: Pictures, float_mse: np.ndarray, request: Request, progress: Progress, calibration: Calibration
) -> dict[str, Damage]:
    """Those of a calibrated network: from the cache, or measured for it (see ``measure``)."""
    searched = chosen_proxy.measured(calibration.graph, calibration.space, request.quick)
    name = damage_cache.key(calibration, photos, request.seed, searched, quick=request.quick)
    if request.cache and (found := damage_cache.load(name, calibration.space)) is not None:
        progress.say("quality proxies are taken from an earlier run; --no-cache measures them again")
        return found
    tables = measure(photos, float_mse, request, progress, calibration)
    if request.cache:
        damage_cache.save(name, tables, calibration.space)
    return tables


def measure(
    photos: Pictures, float_mse: np.ndarray, request: Request, progress: Progress, calibration: Calibration
) -> dict[str, Damage]:
    """The damage table of every proxy that searches use: noise measured on the crops, told in dB for pictures on which the
    floating-point network errs by ``float_mse``."""
    tables = {}
    searched = chosen_proxy.measured(calibration.graph, calibration.space, request.quick)
    if chosen_proxy.DEFAULT not in searched:
        progress.say(f"{chosen_proxy.DEFAULT} is not measured: one run of this network for each choice would take too long")
    crops = photos.crops[:: RANKED if request.quick else 1]
    with progress.stage("quality proxies", STEPS * len(searched)) as stage:
        for name, info in searched.items():
            report = follow(stage, STEPS)
            tables[name] = replace(info.measure(calibration, crops, request.seed, report, photos.task), float_mse=float_mse)
            report(name, 1.0)
    return tables
