"""Constants of a device fitted to measured latencies, and what the measurements cannot tell.

Least squares of ``log(predicted / measured)``, so that an error of 10 % weighs the same on a small layer and a large network.
The free constants are optimised in their logarithms: they stay positive, and a step means a ratio. Each is drawn to the file's
value by a prior so weak that any real evidence outweighs it: what the data does not determine stays where it was. Prices have
corners (the slowest of arithmetic and memories binds), where a gradient sees nothing; a coarse scan of each constant over two
decades precedes the descent, and derivatives are taken over steps of 3 %.

Identifiability is read off the Jacobian at the solution (Gauss-Newton information ``J'J``, the linear theory of nonlinear
regression, e.g. Bates and Watts, 1988): its null directions are what the data does not see. A constant that lies in one alone is
undetermined; constants that share one can be traded against each other without changing any prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import ValidationError

from hwmodels import cost
from hwmodels.device.device import Device
from hwmodels.device.facts import number, with_numbers
from hwmodels.device.values import Quantity
from hwmodels.errors import UsageError, closest
from hwmodels.numbers import Precision
from hwmodels.workload import Workload

PRIOR_WEIGHT = 0.03
"""Residual of a constant that is off by a factor e; at 10 % noise a prior of about a factor e**3 either way."""

SEEN = 0.05
"""A direction of the constants is unseen when a factor e along it changes all predictions together by less than this."""

REACH = 1e4
"""Largest factor between a fitted constant and the file's value."""

SPEEDS = ("rates.", "overhead.", "cpu.")
"""Constants, by how their keys begin, on which nothing that is stored or moved depends."""

_STEP = 0.03
_SCAN = np.log([1 / 10, 1 / 3, 3, 10])


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
    from scipy.optimize import least_squares

    if not measurements:
        raise UsageError("no measurements to fit to")
    wrong = [m.label for m in measurements if not (np.isfinite(m.latency_s) and m.latency_s > 0)]
    if wrong:
        raise UsageError(f"measured latencies must be above 0: {', '.join(wrong[:8])}")
    if len(set(free)) != len(free):
        raise UsageError("a free constant is named twice")
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
        point = _scan(penalised, np.clip(start, low, high), low, high, loss)
        point = least_squares(
            penalised,
            point,
            jac=lambda x: _jacobian(penalised, x),
            bounds=(low, high),
            loss=loss,
            f_scale=0.1,
            xtol=1e-6,
            ftol=settled,
        ).x
        point = _put_back(penalised, residuals, point, start, free)
    left = residuals(point)
    seen = _jacobian(residuals, point)
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
        _undetermined(seen, free),
        tuple(key for key, x, a, b in zip(free, point, low, high, strict=True) if min(x - a, b - x) < 1e-3),
    )


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


def _scan(
    function: Callable[[np.ndarray], np.ndarray], point: np.ndarray, low: np.ndarray, high: np.ndarray, loss: str
) -> np.ndarray:
    """Two rounds of trying each constant at a few ratios to where it is, keeping what lowers the loss."""

    def cost_of(at: np.ndarray) -> float:
        squares = (function(at) / 0.1) ** 2
        return float(np.sum(squares if loss == "linear" else 2 * (np.sqrt(1 + squares) - 1)))

    best = cost_of(point)
    for _ in range(2):
        before = best
        for i in range(len(point)):
            for ratio in _SCAN:
                tried = point.copy()
                tried[i] = np.clip(tried[i] + ratio, low[i], high[i])
                if (found := cost_of(tried)) < best:
                    best, point = found, tried
        if best == before:
            break
    return point


def _put_back(
    penalised: Callable[[np.ndarray], np.ndarray],
    residuals: Callable[[np.ndarray], np.ndarray],
    point: np.ndarray,
    start: np.ndarray,
    free: Sequence[str],
) -> np.ndarray:
    """Constants that the data does not see, back at the file's values: the scan may have carried them off for nothing."""
    unseen = {group[0] for group in _undetermined(_jacobian(residuals, point), free) if len(group) == 1}
    for i, key in enumerate(free):
        tried = point.copy()
        tried[i] = start[i]
        if key in unseen and np.sum(penalised(tried) ** 2) <= 1.01 * np.sum(penalised(point) ** 2):
            point = tried
    return point


def _jacobian(function: Callable[[np.ndarray], np.ndarray], point: np.ndarray) -> np.ndarray:
    """Central differences over ``_STEP``: ``float64[outputs, K]``. Bounds are overstepped by that much, which prices allow."""
    columns = []
    for i in range(len(point)):
        step = np.zeros(len(point))
        step[i] = _STEP
        columns.append((function(point + step) - function(point - step)) / (2 * _STEP))
    return np.stack(columns, axis=1) if columns else np.zeros((len(function(point)), 0))


def _undetermined(jacobian: np.ndarray, free: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Sets of constants that share a direction which the data does not see.

    The projector onto the unseen directions does not depend on the basis chosen for them; constants that it couples belong
    together.
    """
    if not free:
        return ()
    eigenvalues, vectors = np.linalg.eigh(jacobian.T @ jacobian)
    unseen = vectors[:, eigenvalues < SEEN**2]
    projector = unseen @ unseen.T
    members = [i for i in range(len(free)) if projector[i, i] > 0.02]
    groups: list[list[int]] = []
    for i in members:
        joined = [group for group in groups if any(abs(projector[i, j]) > 0.05 for j in group)]
        groups = [group for group in groups if group not in joined] + [sorted([i, *(j for group in joined for j in group)])]
    return tuple(tuple(free[i] for i in group) for group in sorted(groups))
