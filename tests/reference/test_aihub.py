"""Hexagon against Qualcomm's profiling: networks that the fit has not seen, the constants of the files, and larger pictures."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from oracle import Row, aihub, summary
from oracle.layer_tables import chain

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.facts import number
from hwmodels.fitting import agreement
from hwmodels.numbers import Precision

BOARDS = ("Samsung Galaxy S24", "Dragonwing RB3 Gen 2 Vision Kit")
"""A phone with both precisions and three runtimes, a board with 8 bits and two; ``tests/bench/agreement.py`` does them all."""


@cache
def rows_of(shared: Path, board: str) -> list[Row]:
    return aihub.board_rows(shared, board)


@pytest.mark.parametrize("board", BOARDS)
def test_networks_left_out(shared: Path, board: str) -> None:
    found = rows_of(shared, board)
    error = np.median([abs(row.predicted / row.measured - 1) for row in found])
    assert error <= 0.10
    for name in aihub.BASELINES:
        simpler = [abs(dict(row.baselines)[name] / row.measured - 1) for row in found if name in dict(row.baselines)]
        assert error < 0.6 * np.median(simpler), name


@pytest.mark.parametrize("board", BOARDS)
def test_shipped_agreement_is_what_the_models_give_today(shared: Path, board: str) -> None:
    (today,) = summary.agreements(rows_of(shared, board))
    (shipped,) = agreement.of(aihub.BOARDS[board])
    assert shipped.rows == today.rows
    assert shipped.median_error == pytest.approx(today.median_error, abs=0.01)
    assert shipped.p90_error == pytest.approx(today.p90_error, abs=0.02)
    assert shipped.kendall == pytest.approx(today.kendall, abs=0.03)
    assert dict(shipped.baselines) == pytest.approx(dict(today.baselines), abs=0.01)


@pytest.mark.parametrize("board", BOARDS)
def test_constants_of_the_file_are_the_fit_to_all_networks(shared: Path, board: str) -> None:
    target, found = catalogue.load(aihub.BOARDS[board]), aihub.timings(shared, board)
    fitted = aihub.with_runtime(aihub.silicon(target, found), [t for t in found if t.runtime == "qnn_dlc"])
    for key in aihub.START | aihub.START_RUNTIME:
        if key == "rates.FP16" and "FP16" not in target.rates:
            continue
        assert number(target, key) == pytest.approx(number(fitted, key), rel=0.02), key


def test_every_board_has_an_agreement_within_fifteen_percent() -> None:
    for name in aihub.BOARDS.values():
        (entry,) = agreement.of(name)
        assert entry.left_out
        assert entry.median_error <= 0.15, name
        assert all(entry.median_error < 0.8 * error for error in entry.baselines.values()), name


def test_every_row_is_compared_or_named_with_a_reason(shared: Path) -> None:
    compared = sum(len(aihub.timings(shared, board)) for board in aihub.BOARDS)
    assert compared + len(aihub.not_priced(shared)) == len(aihub._read(shared)["measurements"])


def test_full_frames_leave_the_chip(shared: Path) -> None:
    """A line through the latencies at 128x128 is too optimistic by more than two for a small network at 540x960, because the
    feature maps pass the DRAM there."""
    board = "Samsung Galaxy S24"
    target, precision = catalogue.load(aihub.BOARDS[board]), Precision.parse("W8A8")
    measured = [t.measured for t in aihub.timings(shared, board) if t.runtime == "qnn_dlc" and t.measured.precision == precision]
    fixed_s, s_per_mac = aihub._line(
        np.array([m.workload.macs for m in measured], dtype=float), np.array([m.latency_s for m in measured])
    )
    small = aihub._read(shared)["networks"]["quicksrnetsmall"]
    scaled = [{**row, "oh": row["oh"] * 540 // 128, "ow": row["ow"] * 960 // 128} for row in small["layers"]]
    frame = chain("frame", {"input": [540, 960, 3], "layers": scaled})
    table = cost.uniform_table(target, frame, precision)
    latency_s = table.inference_s + table.latency_s.sum()
    assert latency_s > 2 * (fixed_s + s_per_mac * frame.macs)
    binds = [row["binds"] for row in cost.explain(table, np.zeros(table.decisions, dtype=np.int8))]
    assert set(binds) == {"activations"}
