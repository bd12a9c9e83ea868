"""A device file fitted to somebody's own timings: which constants are free, and the new file's text."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwmodels.device import reader
from hwmodels.device.device import Device
from hwmodels.device.edit import edited, values_of
from hwmodels.device.facts import number
from hwmodels.errors import UsageError
from hwmodels.fitting import constants
from hwmodels.fitting.constants import Fit, Measurement

PRIOR_WEIGHT = 0.005
"""Weaker than among measurements of one shipped device: the file to start from may describe quite another board."""
SHARED = ("memory.dram.bytes_per_s", "overhead.inference_s", "overhead.layer_s")


@dataclass(frozen=True, eq=False)
class BoardFit:
    """A fit, the text of the new device file, and how well networks are predicted that were left out of the fit.

    ``held_out_error``: median of ``|predicted / measured - 1|``, each network predicted from the others; ``None`` for only one.
    """

    fit: Fit
    text: str
    held_out_error: float | None


def free_constants(device: Device, measurements: Sequence[Measurement]) -> list[str]:
    """What is fitted unless somebody says otherwise: rates of measured precisions, memory, fixed times, and the class's own."""
    executed = dict.fromkeys(str(_runs_as(device, m)) for m in measurements)
    wanted = [*(f"rates.{name}" for name in executed), *SHARED, *device.section.fitted(executed)]
    return [key for key in wanted if _has(device, key)]


def _runs_as(device: Device, measured: Measurement) -> object:
    return device.runs_as(measured.precision.weights, measured.precision.activations)


def _has(device: Device, key: str) -> bool:
    try:
        number(device, key)
    except UsageError:
        return False
    return True


def fit(
    file: Path, device: Device, measurements: Sequence[Measurement], source: str, free: Sequence[str] | None = None
) -> BoardFit:
    """Fit ``device``, read from ``file``, to timings that come from ``source`` (a name for the notes).

    Raises:
        UsageError: a constant of ``free`` that the file does not have.
        FileError: a number stands in the file where it cannot be changed.
    """
    keys = list(free) if free is not None else free_constants(device, measurements)
    fitted = constants.fit(device, measurements, keys, prior_weight=PRIOR_WEIGHT)
    hardly = {key for group in fitted.undetermined for key in group}
    count = f"{len(measurements)} measurement{'s' if len(measurements) > 1 else ''}"
    note = f"fitted to {count} of {source}, {datetime.date.today()}"
    notes = {key: note for key in keys if key not in hardly}
    notes |= {key: f"{note}; not determined by them" for key in keys if key in hardly and _moved(device, fitted, key)}
    text = edited(reader.read_text(file), file.name, values_of(fitted.device, notes))
    return BoardFit(fitted, text, _held_out(device, measurements, keys))


def _moved(device: Device, fitted: Fit, key: str) -> bool:
    return abs(fitted.values[key] - number(device, key)) > 1e-3 * abs(number(device, key))


def _held_out(device: Device, measurements: Sequence[Measurement], free: Sequence[str]) -> float | None:
    groups = [(m.workload.name, m.workload.weight_count, m.workload.weighted) for m in measurements]
    if len(set(groups)) < 2:
        return None
    predicted = constants.leave_one_out(device, measurements, groups, free, prior_weight=PRIOR_WEIGHT)
    measured = np.array([m.latency_s for m in measurements])
    return float(np.median(np.abs(predicted / measured - 1)))


def source_of(name: str) -> Path:
    """The device file that ``name`` means: its path, or a device that ships."""
    if name.endswith(".toml") or "/" in name:
        return Path(name)
    return reader.FOLDER / f"{reader.load(name).name}.toml"
