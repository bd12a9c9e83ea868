"""NPUs of effective rate and fused additions of GPUs: prices computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.layer_tables import Drawing

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.facts import number
from hwmodels.numbers import Precision
from hwmodels.pricing import memory
from hwmodels.workload import Workload

HEXAGON = catalogue.load("snapdragon-8gen3-hexagon")
W8A8, FP16 = Precision.parse("W8A8"), Precision.parse("FP16")


def chain(activation: str = "relu", channels: int = 64, size: int = 32, groups: int = 1) -> Workload:
    """Three 3x3 convolutions, the middle one from ``channels`` to ``channels``, and a pixel shuffle x2 to three channels."""
    net = Drawing("chain", 3, size, size)
    x = net.conv("first", 0, channels, 3, (size, size), activation="relu")
    x = net.conv("middle", x, channels, 3, (size, size), groups=groups, activation=activation)
    x = net.conv("last", x, 12, 3, (size, size))
    net.emit("shuffle", "pixel_shuffle", (x,), (3, 2 * size, 2 * size))
    return net.workload()


def compute_s(workload: Workload, layer: int, precision: Precision = W8A8) -> float:
    return float(cost.uniform_table(HEXAGON, workload, precision).compute_s[layer].item())


def test_channels_are_padded_to_the_quantum() -> None:
    """40 channels cost what 64 do: 1024 pixels, 9 taps, 64 x 64 channels."""
    rate = number(HEXAGON, "rates.W8A8")
    assert compute_s(chain(channels=40), 1) == pytest.approx(1024 * 9 * 64 * 64 / rate)
    assert compute_s(chain(), 0) == pytest.approx(1024 * 9 * 32 * 64 / rate)


def test_narrow_groups_share_the_quantum() -> None:
    """Four groups of 8 channels are one block-diagonal convolution of 32; two groups of 32 are two convolutions."""
    rate = number(HEXAGON, "rates.W8A8")
    assert compute_s(chain(channels=32, groups=4), 1) == pytest.approx(1024 * 9 * 32 * 32 / rate)
    assert compute_s(chain(channels=64, groups=2), 1) == pytest.approx(1024 * 9 * 2 * 32 * 32 / rate)


@pytest.mark.parametrize(("precision", "size"), [(W8A8, 1), (FP16, 2)])
def test_an_activation_with_a_slope_passes_the_vector_unit_once(precision: Precision, size: int) -> None:
    vector = number(HEXAGON, "npu.vector_bytes_per_s")
    extra = compute_s(chain("prelu", channels=40), 1, precision) - compute_s(chain(channels=40), 1, precision)
    assert extra == pytest.approx(1024 * 64 * size / vector)


def test_movement_is_padded_inside_and_flat_towards_the_host() -> None:
    """The shuffle reads 12 channels stored as 32, and writes the three channels of the output as three."""
    vector = number(HEXAGON, "npu.vector_bytes_per_s")
    assert compute_s(chain(), 3) == pytest.approx((1024 * 32 + 4096 * 3) / vector)


def test_floating_point_meets_the_host_in_single_precision() -> None:
    host = number(HEXAGON, "npu.host_bytes_per_s")
    for precision, size in ((W8A8, 1), (FP16, 4)):
        table = cost.uniform_table(HEXAGON, chain(), precision)
        assert table.latency_s[0].item() >= 3 * 1024 * size / host
        beyond = table.activation_s[3].item() - 3 * 4096 * size / host
        assert 0 <= beyond < 1e-6


def test_a_large_tensor_leaves_the_share_that_does_not_fit() -> None:
    """Two maps of 64 channels at 512x512 are 32 MiB alive at once; the scratchpad holds 8: three quarters leave."""
    workload = chain(size=512)
    read, written = memory.offchip_elements(workload, HEXAGON, np.ones(1))
    capacity = number(HEXAGON, "memory.onchip.bytes")
    assert written[0, 0] == pytest.approx(64 * 512**2 * (1 - capacity / (2 * 64 * 512**2)))
    assert read[1, 0] == written[0, 0]
    assert written[3, 0] == 3 * 1024**2


def test_the_network_input_of_a_dla_is_padded_to_four() -> None:
    target = catalogue.load("jetson-agx-orin-dla")
    table = cost.uniform_table(target, chain(), W8A8)
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
