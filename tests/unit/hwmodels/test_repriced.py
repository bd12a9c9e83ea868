"""Pricing a network again on a device of other speeds is pricing it anew."""

from __future__ import annotations

import pytest
from words import make_layer

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.facts import number, with_numbers
from hwmodels.device.values import Quantity
from hwmodels.numbers import Precision
from hwmodels.workload import Tensor, Workload

CHANGED = {
    "host": ["rates.W8A8", "memory.dram.bytes_per_s", "overhead.layer_s", "cpu.kernels.W8A8.depthwise"],
    "jetson-orin-nano": ["rates.W8A8", "memory.dram.bytes_per_s", "overhead.layer_s"],
    "ethos-u65-512": ["rates.W8A8", "memory.dram.bytes_per_s", "overhead.layer_s"],
}


@pytest.mark.parametrize("name", CHANGED)
def test_other_speeds_are_priced_as_if_for_the_first_time(name: str) -> None:
    layers = (
        make_layer("a", "conv", (0,), 1, 9 * 48 * 3600, 9 * 48, 16, (3, 3)),
        make_layer("b", "depthwise", (1,), 2, 9 * 16 * 3600, 144, 16, (3, 3), 1, 16),
        make_layer("c", "add", (1, 2), 3),
    )
    sizes, readers = (3, 16, 16, 16), ((0,), (1, 2), (2,), ())
    tensors = tuple(Tensor(f"t{i}", c, 60, 60, i - 1, readers[i], 0) for i, c in enumerate(sizes))
    workload, device, precision = Workload("small", layers, tensors, ("all",)), catalogue.load(name), Precision.integers(8, 8)
    priced = cost.Repriced(device, workload, precision)
    for key in CHANGED[name]:
        other = with_numbers(device, {key: Quantity(value=1.7 * number(device, key) + 1e-6)})
        assert priced.latencies_s(other).tolist() == cost.uniform_table(other, workload, precision).latency_s[:, 0, 0, 0].tolist()
