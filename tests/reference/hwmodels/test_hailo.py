"""Hailo against its own published throughput: families left out of the fit, and the constants of the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracle import hailo, npu_networks

from hwmodels import cost
from hwmodels.device.catalogue import load
from hwmodels.device.facts import number, with_numbers
from hwmodels.device.values import Quantity

MEDIAN = {"hailo-8": 0.18, "hailo-8l": 0.17, "hailo-10h": 0.11, "hailo-15h": 0.12, "hailo-15l": 0.09}
"""What is reached with the family left out, rounded up."""


@pytest.mark.parametrize("name", list(MEDIAN))
def test_families_left_out_and_constants_of_the_file(shared: Path, name: str) -> None:
    every, predicted = hailo.timings(shared), hailo.left_out(shared)
    errors = [abs(s / t.latency_s - 1) for s, t in zip(predicted, every, strict=True) if t.device == name]
    assert len(errors) > 15
    assert np.median(errors) <= MEDIAN[name]
    assert np.quantile(errors, 0.9) <= 0.5
    found = hailo.fitted(every)
    for key, value in zip(hailo.FREE, found.constants[name], strict=True):
        assert number(load(name), key) == pytest.approx(value, rel=0.02), key
    assert number(load(name), "npu.dataflow.capacity_bytes") == pytest.approx(found.capacity[name], rel=0.02)
    for timing in every:
        if timing.device == name:
            price = cost.uniform(load(name), timing.workload, hailo.W8A8).latency_s
            assert price == pytest.approx(found.seconds(timing)[0], rel=0.05), timing.network


def test_work_shows_as_far_as_the_widest_connection_does_not_hide_it(shared: Path) -> None:
    """A MobileNet alone on the chip: the root of the sum of the squares of what the array and the widest tensor take."""
    target, workload = load("hailo-8"), npu_networks.workload(shared, "mobilenet_v1", hailo.RULES)

    def seconds(key: str) -> float:
        """With something endlessly fast."""
        return cost.uniform(with_numbers(target, {key: Quantity(value=1e18)}), workload, hailo.W8A8).latency_s

    array_s, connection_s = seconds("npu.dataflow.connection_bytes_per_s"), seconds("rates.W8A8")
    assert min(array_s, connection_s) > 0.1 * max(array_s, connection_s)
    assert cost.uniform(target, workload, hailo.W8A8).latency_s == pytest.approx(np.hypot(array_s, connection_s), rel=1e-4)


def test_networks_that_fit_are_not_loaded_for_every_picture(shared: Path) -> None:
    """ResNet-50 runs in one context of a Hailo-8, and in several of a Hailo-8L."""
    workload = npu_networks.workload(shared, "resnet50_slim", hailo.RULES)
    for name, in_parts in (("hailo-8", False), ("hailo-8l", True)):
        table = cost.uniform_table(load(name), workload, hailo.W8A8)
        assert bool(table.weight_s.any()) is in_parts
        assert bool(table.overhead_s.any()) is in_parts


def test_an_attention_has_a_part_of_its_own(shared: Path) -> None:
    """The twelve attentions of a DeiT-Tiny, whose 5.7 MB would fit a Hailo-8."""
    workload = npu_networks.workload(shared, "deit_tiny", hailo.RULES)
    table = cost.uniform_table(load("hailo-8"), workload, hailo.W8A8)
    assert table.overhead_s.sum() == pytest.approx(12 * number(load("hailo-8"), "npu.dataflow.context_s"))
