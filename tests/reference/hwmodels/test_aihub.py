"""Hexagon against Qualcomm's profiling: families that the fit has not seen, the constants of the files, and larger pictures."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from oracle import aihub, hexagon_fit, npu_networks

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.facts import number
from hwmodels.fitting import agreement
from hwmodels.numbers import Precision
from hwmodels.pricing.columns import columns


@cache
def fitted(shared: Path) -> tuple[hexagon_fit.Problem, np.ndarray]:
    problem = hexagon_fit.Problem(aihub.timings(shared), aihub.targets())
    return problem, problem.fit(np.ones(len(problem.timings), dtype=bool))


def test_constants_of_the_files_are_the_fit_to_all_rows(shared: Path) -> None:
    problem, point = fitted(shared)
    for board, target in aihub.targets().items():
        for key, value in problem.values(point, board).items():
            assert number(target, key) == pytest.approx(value, rel=0.02), f"{target.name} {key}"


def test_no_rate_is_above_what_the_silicon_can_do(shared: Path) -> None:
    problem, _ = fitted(shared)
    for board, target in aihub.targets().items():
        limit = problem.limits[board]
        assert number(target, "rates.W8A8") <= limit.macs_per_s * 1.0001
        assert number(target, "rates.W8A16") < number(target, "rates.W8A8")
        assert number(target, "memory.dram.bytes_per_s") <= limit.memory_bytes_per_s * 1.0001


def test_the_fit_and_the_product_price_alike(shared: Path) -> None:
    """Every eleventh row of QNN: the fit's linear form, and the price of the device file."""
    problem, point = fitted(shared)
    predicted, targets = problem.predict(point), aihub.targets()
    rows = [(i, timing) for i, timing in enumerate(problem.timings) if timing.runtime == "QNN"][::11]
    assert len(rows) > 10
    for i, timing in rows:
        table = cost.uniform_table(targets[timing.board], timing.workload, timing.precision)
        assert table.inference_s + table.latency_s.sum() == pytest.approx(predicted[i], rel=2e-3), timing.label


def test_slopes_of_the_fit_are_differences(shared: Path) -> None:
    problem, point = fitted(shared)
    _, slopes = problem._evaluate(point)
    for i in range(0, len(point), 9):
        step = np.zeros(len(point))
        step[i] = 1e-5
        differences = (problem.predict(point + step) - problem.predict(point - step)) / 2e-5
        assert slopes[:, i] == pytest.approx(differences, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize(("family", "median"), [("squeezenet", 0.16), ("resnet", 0.12), ("convnext", 0.20), ("unet", 0.16)])
def test_a_family_left_out(shared: Path, family: str, median: float) -> None:
    """Predicted for all boards by a fit that saw it on none. Margins: what was measured, rounded up."""
    problem, point = fitted(shared)
    held = np.array([t.family == family for t in problem.timings])
    predicted = problem.predict(problem.fit(~held, point))[held]
    assert np.median(np.abs(predicted / problem.measured[held] - 1)) <= median


def test_every_board_has_an_agreement_with_families_left_out() -> None:
    for name in (*aihub.BOARDS.values(), *aihub.UNDER_LITERT.values()):
        (entry,) = agreement.of(name)
        assert entry.left_out
        assert entry.groups >= 14
        assert entry.median_error <= 0.15, name
        assert entry.p90_error <= 0.35, name
        assert entry.spearman is not None
        assert entry.spearman >= 0.95, name


def test_every_row_is_compared_or_named_with_a_reason(shared: Path) -> None:
    left = aihub.not_priced(shared)
    assert len(aihub.timings(shared)) + len(aihub.handed_over(shared)) + len(left) == len(aihub._read(shared))
    assert all(reason for _, reason in left)


def test_layer_lists_become_workloads_of_the_published_size(shared: Path) -> None:
    """Multiply-accumulates of the list, and again from shapes alone; parameters within what batch norm folding leaves."""
    for name, described in npu_networks.described(shared).items():
        workload = npu_networks.workload(shared, name)
        cols = columns(workload)
        assert workload.macs == described["macs"], name
        products = [i for i, layer in enumerate(workload.layers) if layer.contracts]
        by_shape = cols.written * cols.cin // cols.groups * cols.kernel_h * cols.kernel_w
        assert np.array_equal(by_shape[products], cols.macs[products]), name


def test_full_frames_come_within_thirty_percent(shared: Path) -> None:
    """The networks of 640x1280 and 1024x2048 pictures, whose families were left out: median over boards and precisions."""
    problem, point = fitted(shared)
    families = np.array([t.family for t in problem.timings])
    for family, networks in (("ffnet", ("ffnet_40s", "ffnet_54s", "ffnet_78s")), ("unet", ("unet_segmentation",))):
        predicted = problem.predict(problem.fit(families != family, point))
        held = np.array([t.network in networks for t in problem.timings])
        errors = np.abs(predicted[held] / problem.measured[held] - 1)
        assert np.median(errors) <= 0.30, family


def test_a_full_frame_is_at_work_most_of_the_time(shared: Path) -> None:
    """Strips keep what a network computes in the scratchpad: external memory is no more than half of any full frame's time."""
    target = catalogue.load("snapdragon-8gen3-hexagon")
    for name in ("ffnet_78s", "unet_segmentation"):
        table = cost.uniform_table(
            target, npu_networks.workload(shared, name, aihub.RULES["QNN", False]), Precision.parse("W8A8")
        )
        assert table.activation_s.sum() < 0.5 * table.latency_s.sum()
