"""Embedded NPUs against their vendors' own measurements: families left out of the fit, mixed widths, devices without a fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracle import embedded

from hwmodels.device.catalogue import load
from hwmodels.device.facts import number


def of_device(shared: Path, name: str) -> list[embedded.Timing]:
    return [timing for timing in embedded.timings(shared) if timing.device == name]


def errors(predicted: np.ndarray, rows: list[embedded.Timing]) -> np.ndarray:
    return np.asarray(np.abs(predicted / np.array([row.latency_s for row in rows]) - 1))


@pytest.mark.parametrize(("name", "median", "p90"), [("stm32n6-neural-art", 0.11, 0.24), ("imx8mp-npu", 0.28, 0.34)])
def test_families_left_out(shared: Path, name: str, median: float, p90: float) -> None:
    rows = of_device(shared, name)
    wrong = errors(embedded.left_out(load(name), rows), rows)
    assert np.median(wrong) <= median
    assert np.percentile(wrong, 90) <= p90


@pytest.mark.parametrize("name", list(embedded.FREE))
def test_constants_of_the_files_are_the_fit_to_all_rows(shared: Path, name: str) -> None:
    fitted = embedded.fitted(load(name), of_device(shared, name))
    for key in embedded.FREE[name]:
        assert number(load(name), key) == pytest.approx(number(fitted, key), rel=0.02), key


def test_four_bits_save_what_was_measured(shared: Path) -> None:
    """The same network with a share of its weights in 4 bits: the time saved, which no fit has seen."""
    rows = of_device(shared, "stm32n6-neural-art")
    predicted = embedded.predict(load("stm32n6-neural-art"), rows)
    mixed = [i for i, row in enumerate(rows) if row.share]
    assert len(mixed) == 7
    for i in mixed:
        whole = next(j for j, r in enumerate(rows) if r.network == rows[i].network and not r.share)
        ratio = predicted[i] / predicted[whole]
        assert ratio < 1
        assert ratio == pytest.approx(rows[i].latency_s / rows[whole].latency_s, rel=0.06), rows[i].label


@pytest.mark.parametrize(("name", "median", "worst"), [("imx93-ethos-u65", 0.18, 0.60), ("mcxn947-neutron", 0.13, 0.20)])
def test_devices_without_a_fit(shared: Path, name: str, median: float, worst: float) -> None:
    rows = of_device(shared, name)
    wrong = errors(embedded.predict(load(name), rows), rows)
    assert np.median(wrong) <= median
    assert wrong.max() <= worst


def test_every_row_is_compared_or_named_with_a_reason(shared: Path) -> None:
    assert len(embedded.timings(shared)) + len(embedded.not_priced(shared)) == len(embedded._read(shared))
