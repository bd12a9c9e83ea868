"""This machine's processor as a device: measured, fitted, written down where ``host`` finds it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from hwmodels.device import reader
from hwmodels.device.catalogue import load_text
from hwmodels.device.device import Device
from hwmodels.device.edit import edited, values_of
from hwmodels.device.facts import number, with_numbers
from hwmodels.device.values import Quantity
from hwmodels.fitting import constants as free_constants
from hwmodels.fitting.constants import Fit, Measurement
from hwmodels.numbers import Precision
from hwmodels.workload import Workload
from hwsearch.boards.runtime import FP32, INT8, block_channels, latencies
from hwsearch.boards.subjects import all_subjects
from hwsearch.documents.files import replacing
from hwsearch.documents.progress import Progress

ROUNDS = 15
LANES = (8.0, 16.0)
"""Widths of vectors of integers to try beside the file's."""
CLEARLY = 0.8
"""Another width than the file's is taken where it leaves less than this share of the file's mean error."""
SETTLED = 1e-4
"""Share of the sum of squares below which a step of a fit is not worth the time: timings are off by far more."""
ELEMENT_COSTS = ("output_s", "slope_s", "elementwise_s", "copy_s", "shuffle_s", "lookup_s", "convert_s")
OF_BLOCKS = ("visit_taps", "layout_s")
OF_CODES = ("tap_s", "pack_s")
OF_TRANSFORMERS = ("product", "dense", "visit_depth", "row_s", "matrix_s", "transpose_s", "normalize_s", "softmax_s")


@dataclass(frozen=True, eq=False)
class HostFit:
    """The fitted device, its file's text, and a fit for each precision."""

    device: Device
    text: str
    fits: dict[Precision, Fit]
    measurements: dict[Precision, list[Measurement]]


def measure(threads: int, progress: Progress, rounds: int = ROUNDS) -> list[Measurement]:
    """Time every subject on this machine: half a minute of an idle core."""
    subjects = all_subjects()
    with progress.stage("measuring", len(subjects) * (rounds + 1)) as stage:
        seconds = latencies(subjects, threads, rounds, stage.advance)
    return [subject.measured(float(s)) for subject, s in zip(subjects, seconds, strict=True)]


def fit(measurements: Sequence[Measurement], threads: int, progress: Progress) -> HostFit:
    """Constants of the processor from the timings, int8 after single precision; ``constants`` says what each gives."""
    text = reader.shipped_text("host")
    device = with_numbers(load_text(text, "host.toml"), {"cpu.threads": Quantity(value=float(threads))})
    fits: dict[Precision, Fit] = {}
    by_precision: dict[Precision, list[Measurement]] = {}
    notes = {"cpu.threads": "as measured"}
    with progress.stage("fitting", 2) as stage:
        for precision in (FP32, INT8):
            mine = [m for m in measurements if m.precision == precision]
            lanes = f"cpu.kernels.{precision}.lanes"
            free = constants(precision)
            width = _lanes(device, mine, precision)
            fitted = free_constants.fit(device, mine, free, fixed={lanes: width}, loss="soft_l1", settled=SETTLED)
            device, fits[precision], by_precision[precision] = fitted.device, fitted, mine
            note = f"fitted to {len(mine)} timings of this machine, {datetime.date.today()}"
            hardly = {key for group in fitted.undetermined for key in group}
            notes |= {key: note + (" (hardly determined by them)" if key in hardly else "") for key in (*free, lanes)}
            stage.advance()
    words = {
        "summary": f"The processor of this machine, as timed with ONNX Runtime {onnxruntime.__version__} on "
        f"{threads} thread{'s' if threads > 1 else ''}, {datetime.date.today()}."
    }
    return HostFit(device, edited(text, "host.toml", values_of(device, notes), words), fits, by_precision)


def constants(precision: Precision) -> list[str]:
    """Dotted keys of what is fitted for a precision. Calls and caches are shared, and come from single precision; so is DRAM, and
    comes from integers, whose patches are too many for the caches (what moves otherwise is hidden behind work)."""
    kernels = f"cpu.kernels.{precision}"
    names = ("pass_vectors", "depthwise", *ELEMENT_COSTS, *OF_TRANSFORMERS, *(OF_BLOCKS if precision.is_float else OF_CODES))
    shared = (
        ["memory.onchip.bytes_per_s", "overhead.inference_s", "overhead.layer_s"]
        if precision.is_float
        else ["memory.dram.bytes_per_s"]
    )
    return [f"rates.{precision}", *(f"{kernels}.{name}" for name in names), *shared]


def _lanes(device: Device, measurements: Sequence[Measurement], precision: Precision) -> float:
    """The width of vectors: in single precision that of the blocks in which ONNX Runtime says that it computes, else what
    explains the timings of single convolutions best, or the file's unless that is clearly beaten."""
    if precision.is_float and (blocks := block_channels()) is not None:
        return float(blocks)
    kernels = f"cpu.kernels.{precision}"
    free = [f"rates.{precision}", f"{kernels}.pass_vectors"]
    layers = [m for m in measurements if _is_one_convolution(m.workload)]
    stated = number(device, f"{kernels}.lanes")

    def loss(lanes: float) -> float:
        found = free_constants.fit(device, layers, free, fixed={f"{kernels}.lanes": lanes}, loss="soft_l1", settled=SETTLED)
        return float(np.mean(np.abs(found.residuals)))

    losses = {lanes: loss(lanes) for lanes in {*LANES, stated}}
    best = min(losses, key=losses.__getitem__)
    return best if losses[best] < CLEARLY * losses[stated] else stated


def _is_one_convolution(workload: Workload) -> bool:
    """Whether a network is one convolution that is not depthwise."""
    return len(workload.layers) == 1 and workload.layers[0].contracts and not workload.layers[0].channelwise


def write(found: HostFit) -> Path:
    """Put the device file where ``host`` is looked up; the file that ships stays as it is."""
    path = reader.user_folder() / "host.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(found.text, encoding="utf-8")
    return path
