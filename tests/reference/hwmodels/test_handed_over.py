"""Networks of which a part runs on the CPU, beside what Qualcomm measured."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from oracle import Row, aihub, handed_over, npu_networks

from hwmodels import cost
from hwmodels.device.catalogue import load
from hwmodels.device.facts import number


@cache
def rows(shared: Path) -> list[Row]:
    return handed_over.compared(shared)


@pytest.mark.parametrize("board", aihub.UNDER_LITERT)
def test_constants_of_the_files_are_the_fit_to_all_rows(shared: Path, board: str) -> None:
    device, fitted = load(aihub.UNDER_LITERT[board]), handed_over.fitted(shared, board)
    for key, quantity in fitted.quantities():
        assert number(device, key) == pytest.approx(quantity.value, rel=0.02), key


def test_a_family_left_out(shared: Path) -> None:
    """Margins: what was measured, rounded up."""
    wrong = np.array([abs(row.predicted / row.measured - 1) for row in rows(shared)])
    assert len(wrong) == 8
    assert np.median(wrong) <= 0.18
    assert wrong.max() <= 0.36


def test_counts_of_the_profiles_are_those_of_the_rule(shared: Path) -> None:
    """Ten operators a layer normalization, two a batch norm that was not folded, ran elsewhere; the rest on the accelerator."""
    found = {(row["network"], row["device"]): row for row in aihub._read(shared) if row["runtime"] == "tflite"}
    for timing in aihub.handed_over(shared):
        row, device = found[timing.network, timing.board], load(aihub.UNDER_LITERT[timing.board])
        there = [each[0][0] for each in cost.uniform_table(device, timing.workload, timing.precision).runs_on]
        each = 10 if timing.network in handed_over.FITTED_TO else 2
        assert each * there.count("CPU") == row["layers_cpu"] + row["layers_gpu"], timing.label


def test_without_the_rule_they_would_be_priced_at_half_and_less(shared: Path) -> None:
    for timing in aihub.handed_over(shared):
        priced_s = cost.uniform(load(aihub.BOARDS[timing.board]), timing.workload, timing.precision).latency_s
        assert priced_s < 0.55 * timing.latency_s, timing.label


def test_what_onnx_runtime_handed_over_are_constants_of_clamps_and_batch_norms(shared: Path) -> None:
    """Two operators a clamp and six a batch norm that was not folded, on every board; which layers of ViT is not known."""
    split = [row for row in aihub._read(shared) if row["runtime"] == "onnx" and row["layers_npu"] and row["layers_cpu"]]
    told = {}
    for row in split:
        layers = npu_networks.described(shared)[row["network"]]["layers"]
        unfolded = sum(layer["op"] == "scale_shift" for layer in layers)
        told[row["network"], row["precision"], row["layers_cpu"]] = 2 * npu_networks.clamps(shared, row["network"]) + 6 * unfolded
    unknown = [key for key, expected in told.items() if key[2] != expected]
    assert unknown == [("vit", "w8a8_mixed_int16", 23)]
    assert len(told) == 8
