"""Hailo against its own published throughput: families left out of the fit, and the constants of the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracle import hailo, npu_networks

from hwmodels import cost
from hwmodels.device.catalogue import load
from hwmodels.device.facts import number
from hwmodels.numbers import Precision

MEDIAN = {"hailo-8": 0.38, "hailo-8l": 0.40, "hailo-10h": 0.48, "hailo-15h": 0.46, "hailo-15l": 0.27}
"""What is reached with the family left out, rounded up: far from what other classes reach (see the summary in the files)."""


@pytest.mark.parametrize("name", list(MEDIAN))
def test_families_left_out_and_constants_of_the_file(shared: Path, name: str) -> None:
    seen = hailo.timings(shared, name)
    measured = np.array([timing.latency_s for timing in seen])
    assert np.median(np.abs(hailo.left_out(seen) / measured - 1)) <= MEDIAN[name]
    constants = hailo.fitted(seen)
    for key, value in zip(hailo.FREE, constants, strict=True):
        assert number(load(name), key) == pytest.approx(value, rel=0.02), key
    assert number(load(name), "npu.efficiency") <= 1
    workload = npu_networks.workload(shared, seen[0].network, hailo.RULES)
    price = cost.uniform(load(name), workload, Precision.parse("W8A8")).latency_s
    assert price == pytest.approx(hailo.predict(constants, seen[0]), rel=0.02)


def test_weights_that_fit_are_not_fetched(shared: Path) -> None:
    """ResNet-50 runs in one context of a Hailo-8, and in several of a Hailo-8L."""
    workload = npu_networks.workload(shared, "resnet50_slim", hailo.RULES)
    for name, fetches in (("hailo-8", False), ("hailo-8l", True)):
        table = cost.uniform_table(load(name), workload, Precision.parse("W8A8"))
        assert bool(table.weight_s.any()) is fetches
