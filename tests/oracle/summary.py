"""From rows to agreements: every reader of outside figures, and errors and rank correlations of each device and source."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

import oracle
from hwmodels.fitting.agreement import Agreement
from oracle import Row

QUANTITIES = ("latency_s", "energy_j")
"""Shown in this order, then whatever else there is."""


def readers() -> list[ModuleType]:
    """The modules of this package that give rows, by name."""
    names = sorted(found.name for found in pkgutil.iter_modules(oracle.__path__))
    modules = [importlib.import_module(f"oracle.{name}") for name in names]
    return [module for module in modules if hasattr(module, "rows")]


def not_priced(shared: Path) -> list[tuple[str, str]]:
    """What the readers cannot compare, with the reason."""
    return [entry for module in readers() if hasattr(module, "not_priced") for entry in module.not_priced(shared)]


def agreements(rows: Sequence[Row]) -> list[Agreement]:
    """One entry a device, quantity and source, single layers apart, by device; figures rounded to what is worth printing."""
    groups: dict[tuple[str, str, str, bool], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.device, row.quantity, row.source, row.single_layer), []).append(row)
    found = [_agreement(group) for group in groups.values()]
    return ordered(found)


def ordered(found: Sequence[Agreement]) -> list[Agreement]:
    """By device, latency first, networks before single layers, the source first that the predictions are furthest from."""
    order = {quantity: i for i, quantity in enumerate(QUANTITIES)}
    return sorted(
        found, key=lambda a: (a.device, order.get(a.quantity, len(order)), a.quantity, a.single_layers, -a.p90_error, a.source)
    )


def _agreement(rows: Sequence[Row]) -> Agreement:
    predicted, measured = (np.array([getattr(row, name) for row in rows]) for name in ("predicted", "measured"))
    errors = np.abs(predicted / measured - 1)
    baselines: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.baselines:
            baselines.setdefault(name, []).append(abs(value / row.measured - 1))
    kendall, spearman = _ranks(predicted, measured)
    first = rows[0]
    return Agreement(
        first.device,
        first.kind,
        first.quantity,
        first.source,
        len(rows),
        round(float(np.median(errors)), 4),
        round(float(np.percentile(errors, 90)), 4),
        kendall,
        spearman,
        all(row.network for row in rows),
        {name: round(float(np.median(values)), 4) for name, values in baselines.items()},
        len({row.network for row in rows if row.network}),
        *_between_plans(rows),
        ", ".join(dict.fromkeys(row.seen for row in rows if row.seen)),
        first.single_layer,
    )


def _between_plans(rows: Sequence[Row]) -> tuple[int, float | None, float | None]:
    """Pairs of precisions of one network, and median and 90th percentile of how wrong the ratio of their times is."""
    plans: dict[str, list[Row]] = {}
    for row in rows:
        plans.setdefault(row.plan_of, []).append(row)
    pairs = [pair for name, group in plans.items() if name for pair in itertools.combinations(group, 2)]
    wrong = [abs(a.predicted / b.predicted / (a.measured / b.measured) - 1) for a, b in pairs]
    if not wrong:
        return 0, None, None
    return len(wrong), round(float(np.median(wrong)), 4), round(float(np.percentile(wrong, 90)), 4)


def _ranks(predicted: np.ndarray, measured: np.ndarray) -> tuple[float | None, float | None]:
    from scipy.stats import kendalltau, spearmanr

    if len(np.unique(measured)) < 3 or len(np.unique(predicted)) < 3:
        return None, None
    return round(float(kendalltau(predicted, measured)[0]), 3), round(float(spearmanr(predicted, measured)[0]), 3)
