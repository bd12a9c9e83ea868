"""NPUs of effective rate and fused additions of GPUs: prices computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.layer_tables import Drawing, three_convolutions

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.facts import number
from hwmodels.numbers import Precision
from hwmodels.pricing import memory
from hwmodels.workload import Workload

W8A8 = Precision.parse("W8A8")


def test_a_large_tensor_leaves_the_share_that_does_not_fit() -> None:
    """Two maps of 64 channels at 512x512 are 32 MiB alive at once; the scratchpad of a Hexagon holds 8: three quarters leave."""
    workload = three_convolutions(size=512)
    target = catalogue.load("snapdragon-8gen3-hexagon")
    read, written = memory.offchip_elements(workload, target, np.ones(1))
    capacity = number(target, "memory.onchip.bytes")
    assert written[0, 0] == pytest.approx(64 * 512**2 * (1 - capacity / (2 * 64 * 512**2)))
    assert read[1, 0] == written[0, 0]
    assert written[3, 0] == 3 * 1024**2


def test_the_network_input_of_a_dla_is_padded_to_four() -> None:
    target = catalogue.load("jetson-agx-orin-dla")
    table = cost.uniform_table(target, three_convolutions(), W8A8)
    per_mac = 1 / number(target, "rates.W8A8") / number(target, "npu.efficiency")
    assert table.compute_s[0].item() == pytest.approx(1024 * 9 * 4 * 64 * per_mac)
    assert table.compute_s[1].item() == pytest.approx(1024 * 9 * 64 * 64 * per_mac)


def residual(reader_of_both: bool) -> Workload:
    net = Drawing("residual", 64, 32, 32)
    x = net.conv("a", 0, 64, 3, (32, 32), activation="relu")
    y = net.conv("b", x, 64, 3, (32, 32))
    total = net.emit("sum", "add", (y, x), (64, 32, 32))
    net.emit("end", "concat", (total, y) if reader_of_both else (total, x), (128, 32, 32))
    return net.workload()


def test_a_gpu_adds_in_the_convolution_whose_result_nobody_else_reads() -> None:
    target = catalogue.load("jetson-agx-orin")
    fused, apart = (cost.uniform_table(target, residual(both), W8A8) for both in (False, True))
    assert fused.overhead_s[2].item() == 0
    assert apart.overhead_s[2].item() == number(target, "overhead.layer_s")
    assert fused.latency_s[2].item() < apart.latency_s[2].item()
    assert fused.latency_s[1].item() == apart.latency_s[1].item()
