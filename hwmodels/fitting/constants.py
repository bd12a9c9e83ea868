"""Constants of a device fitted to measured latencies, and what the measurements cannot tell.

Least squares of ``log(predicted / measured)``, so that an error of 10 % weighs the same on a small layer and a large network.
The free constants are optimised in their logarithms: they stay positive, and a step means a ratio. Each is drawn to the file's
value by a prior so weak that any real evidence outweighs it: what the data does not determine stays where it was (``descent``
says how that is seen).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import ValidationError

from hwmodels import cost
from hwmodels.device.device import Device
from hwmodels.device.facts import number, with_numbers
from hwmodels.device.values import Quantity
from hwmodels.errors import UsageError, closest
from hwmodels.fitting import descent
from hwmodels.numbers import Precision
from hwmodels.workload import Workload

PRIOR_WEIGHT = 0.03
"""Residual of a constant that is off by a factor e; at 10 % noise a prior of about a factor e**3 either way."""

REACH = 1e4
"""Largest factor between a fitted constant and the file's value."""

SPEEDS = ("rates.", "overhead.", "cpu.")
"""Constants, by how their keys begin, on which nothing that is stored or moved depends."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """One timing: a whole network, or layers of it together (by name, without the fixed time of an inference)."""

    workload: Workload
    precision: Precision
    latency_s: float
    label: str
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Fit:
    """Fitted constants of a device. N measurements, K free constants.

    Attributes:
        device: the device with the fitted values.
        values: value of each free constant by its dotted key.
        predicted_s: ``float64[N]``, latency of each measurement on ``device``.
        residuals: ``float64[N]``, ``log(predicted / measured)``.
        spread: standard deviation of the logarithm of each constant, from the scatter of the residuals; large: hardly known.
        undetermined: what the data cannot determine: a constant alone, or several of which it only fixes a combination.
        at_bound: constants that ended at the limit of their range: the model lacks something, or the data is wrong.
    """

    device: Device
    values: dict[str, float]
    predicted_s: np.ndarray
    residuals: np.ndarray
    spread: dict[str, float]
    undetermined: tuple[tuple[str, ...], ...]
    at_bound: tuple[str, ...]

    @property
    def median_error(self) -> float:
        """Median of ``|predicted / measured - 1|``."""
        return float(np.median(np.abs(np.expm1(self.residuals))))


def predict(device: Device, measurements: Sequence[Measurement]) -> np.ndarray:
    """Latency of each measurement by the model of ``device``: ``float64[N]`` seconds.

    Raises:
        UsageError: the device cannot execute one of them, or a layer does not exist.
    """
    tables: dict[tuple[int, Precision], cost.CostTable] = {}
    found = np.zeros(len(measurements))
    for i, measured in enumerate(measurements):
        key = (id(measured.workload), measured.precision)
        if key not in tables:
            tables[key] = cost.uniform_table(device, measured.workload, measured.precision)
        table = tables[key]
        found[i] = _timed(table.latency_s, table.inference_s, measured)
    return found


class _Predictor:
    """``predict`` for devices that differ from a first one in the constants ``free``: where these are rates, speeds and fixed
    costs, what is stored and moved is found once."""

    def __init__(self, device: Device, measurements: Sequence[Measurement], free: Sequence[str]) -> None:
        self._measurements = measurements
        self._priced: dict[tuple[int, Precision], cost.Repriced] | None = None
        if all(key.startswith(SPEEDS) or key.endswith(".bytes_per_s") for key in free):
            self._priced = {_subject(m): cost.Repriced(device, m.workload, m.precision) for m in measurements}

    def __call__(self, device: Device) -> np.ndarray:
        if self._priced is None:
            return predict(device, self._measurements)
        seconds = {key: priced.latencies_s(device) for key, priced in self._priced.items()}
        inference_s = device.overhead.inference_s.value
        return np.array([_timed(seconds[_subject(m)], inference_s, m) for m in self._measurements])


def _subject(measured: Measurement) -> tuple[int, Precision]:
    return id(measured.workload), measured.precision


def fit(
    device: Device,
    measurements: Sequence[Measurement],
    free: Sequence[str],
    *,
    prior_weight: float = PRIOR_WEIGHT,
    fixed: Mapping[str, float] | None = None,
    loss: Literal["linear", "soft_l1"] = "linear",
    settled: float = 1e-8,
) -> Fit:
    """Fit the constants ``free`` of ``device``, dotted keys such as ``"memory.dram.bytes_per_s"``, to measured latencies.

    Args:
        fixed: other constants to change first, and leave there.
        loss: ``"soft_l1"`` lets measurements that are off by more than 10 % pull less.
        settled: the descent ends where a step lowers the sum of squares by a smaller share.
    Raises:
        UsageError: no measurements, one that is no positive time, a key without a number, or a measurement that the device
            cannot execute.
    """
    _check(measurements, free)
    device = with_numbers(device, {key: Quantity(value=value) for key, value in (fixed or {}).items()})
    measured = np.array([m.latency_s for m in measurements])
    start = np.log([number(device, key) or _first_guess(key, measured) for key in free])
    low, high = _bounds(device, free, start)

    def at(point: np.ndarray) -> Device:
        return with_numbers(device, {k: Quantity(value=float(v)) for k, v in zip(free, np.exp(point), strict=True)})

    predicted = _Predictor(device, measurements, free)

    def residuals(point: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.log(predicted(at(point)) / measured)
        return found

    def penalised(point: np.ndarray) -> np.ndarray:
        return np.concatenate([residuals(point), prior_weight * (point - start)])

    point = start
    if free:
        point = descent.descended(penalised, start, low, high, loss, settled)
        point = descent.put_back(penalised, residuals, point, start)
    left = residuals(point)
    seen = descent.jacobian(residuals, point)
    noise = np.sqrt(np.sum(left**2) / max(len(left) - len(free), 1))
    information = seen.T @ seen + prior_weight**2 * np.eye(len(free))
    spread = noise * np.sqrt(np.diag(np.linalg.inv(information)))
    values = dict(zip(free, np.exp(point).tolist(), strict=True))
    return Fit(
        at(point),
        values,
        np.exp(left) * measured,
        left,
        dict(zip(free, spread.tolist(), strict=True)),
        tuple(tuple(free[i] for i in group) for group in descent.undetermined(seen)),
        tuple(key for key, x, a, b in zip(free, point, low, high, strict=True) if min(x - a, b - x) < 1e-3),
    )


def _check(measurements: Sequence[Measurement], free: Sequence[str]) -> None:
    """Raise UsageError where there is nothing to fit to, a time that is none, or a constant twice."""
    if not measurements:
        raise UsageError("no measurements to fit to")
    wrong = [m.label for m in measurements if not (np.isfinite(m.latency_s) and m.latency_s > 0)]
    if wrong:
        raise UsageError(f"measured latencies must be above 0: {', '.join(wrong[:8])}")
    if len(set(free)) != len(free):
        raise UsageError("a free constant is named twice")


def leave_one_out(
    device: Device,
    measurements: Sequence[Measurement],
    groups: Sequence[Hashable],
    free: Sequence[str],
    *,
    prior_weight: float = PRIOR_WEIGHT,
    fixed: Mapping[str, float] | None = None,
    loss: Literal["linear", "soft_l1"] = "linear",
) -> np.ndarray:
    """Latency of each measurement as predicted by a fit to the other groups only (leave one network out): ``float64[N]``.

    Args:
        groups: the group of each measurement, all of which is left out together.
    Raises:
        UsageError: as ``fit`` does; also when there is only one group.
    """
    if len(set(groups)) < 2:
        raise UsageError("leaving one group out needs at least two groups")
    predicted = np.zeros(len(measurements))
    for group in dict.fromkeys(groups):
        rest = [m for m, g in zip(measurements, groups, strict=True) if g != group]
        held = [i for i, g in enumerate(groups) if g == group]
        fitted = fit(device, rest, free, prior_weight=prior_weight, fixed=fixed, loss=loss)
        predicted[held] = predict(fitted.device, [measurements[i] for i in held])
    return predicted


def _timed(latency_s: np.ndarray, inference_s: float, measured: Measurement) -> float:
    """What a measurement times, of the ``latency_s`` of all layers of its network (one precision, so one number a layer)."""
    if not measured.layers:
        return float(inference_s + latency_s.sum())
    return float(sum(latency_s[_row(measured.workload, layer)].item() for layer in measured.layers))


def _row(workload: Workload, layer: str) -> int:
    names = [row.name for row in workload.layers]
    if layer not in names:
        raise UsageError(f"{workload.name} has no layer {layer!r}", closest(layer, names))
    return names.index(layer)


def _first_guess(key: str, measured: np.ndarray) -> float:
    """Where to begin when the file says 0, whose logarithm is no place to begin: 1 % of the shortest time, or 1 of anything."""
    return 0.01 * float(measured.min()) if key.endswith("_s") else 1.0


def _bounds(device: Device, free: Sequence[str], start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Range of the logarithm of each constant: within ``REACH`` of the start, and what a device file may say."""
    low, high = start - np.log(REACH), start + np.log(REACH)
    for i, key in enumerate(free):
        if not _allowed(device, key, 2.0):  # a fraction
            high[i] = 0.0
        if not _allowed(device, key, 0.5):  # a factor of at least one
            low[i] = 0.0
    return low, np.maximum(high, low + 1e-6)


def _allowed(device: Device, key: str, value: float) -> bool:
    tried = with_numbers(device, {key: Quantity(value=value)})
    try:
        Device.model_validate(tried.model_dump(by_alias=True))
    except ValidationError:
        return False
    return True
