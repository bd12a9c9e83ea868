"""Microcontrollers by hand: cycles of a layer, weights read again, and a runtime that composes PReLU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwmodels import cost, device
from hwmodels.device import Device, Quantity
from hwmodels.device_facts import number, with_numbers
from hwmodels.precision import Precision
from hwmodels.workload import Layer, Tensor, Workload

W8A8 = Precision(8, 8)


def one_conv(channels: int, outputs: int, kernel: int, size: int, activation: str = "relu") -> Workload:
    weights = kernel * kernel * channels * outputs
    layer = Layer("conv", "conv", (0,), 1, weights * size * size, weights, outputs, (kernel, kernel), activation=activation)
    tensors = (Tensor("x", channels, size, size, -1, (0,), 0), Tensor("y", outputs, size, size, 0, (), 1))
    return Workload("one", (layer,), tensors, ("x", "y"))


def cycles(target: Device, seconds: float) -> float:
    return seconds * number(target, "mcu.clock_hz")


def changed(name: str, **values: float) -> Device:
    keys = {key.replace("__", "."): Quantity(value=value) for key, value in values.items()}
    return with_numbers(device.load(name), keys)


def test_a_convolution_by_hand() -> None:
    """3 to 16 channels, 3x3, 8x8 pixels on a Cortex-M4: patches of 27 bytes fill 28 operands; 1.345 cycles per MAC, 1.5 per
    patch byte, 8 per output."""
    target = device.load("stm32l4r5")
    table = cost.uniform_table(target, one_conv(3, 16, 3, 8), W8A8)
    expected = 64 * 16 * 28 * 1.345 + 64 * 27 * 1.5 + 64 * 16 * 8
    assert cycles(target, table.compute_s.item()) == pytest.approx(expected, rel=1e-3)
    assert cycles(target, table.overhead_s.item()) == pytest.approx(2000)


def test_shallow_inputs_waste_vector_lanes_that_read_in_place() -> None:
    """Kernels that read the feature map in place take 16 channels a step: 3 cost as much as 16; gathered patches fill lanes."""
    for name, same in (("esp32-s3", True), ("ra8d1", False)):
        target = changed(name, mcu__cycles_per_output_requant=0.0)
        few, many = (cost.uniform_table(target, one_conv(c, 16, 3, 8), W8A8).compute_s.item() for c in (3, 16))
        assert (few == pytest.approx(many)) == same
        assert few <= many


def test_weights_beyond_the_cache_are_read_for_every_four_pixels() -> None:
    """16 to 16 channels, 3x3: 2304 bytes; 64 pixels are 16 passes."""
    fits, spills = (
        cost.uniform_table(changed("stm32l4r5", mcu__weight_cache_bytes=size), one_conv(16, 16, 3, 8), W8A8).weight_s.item()
        for size in (2304.0, 2303.0)
    )
    assert fits == pytest.approx(2304 / number(device.load("stm32l4r5"), "memory.flash.bytes_per_s"))
    assert spills == pytest.approx(16 * fits)


def test_board_power_times_time_is_the_energy_of_an_anchored_microcontroller() -> None:
    for name in ("stm32l4r5", "stm32h7a3", "stm32u575"):
        target = device.load(name)
        assert not target.energy.relative
        price = cost.uniform(target, one_conv(16, 16, 3, 32), W8A8)
        assert price.energy_j == pytest.approx(price.latency_s * number(target, "energy.static_w"), rel=0.01)


def test_a_runtime_that_composes_prelu_pays_twice() -> None:
    """Two convolutions and a maximum: twice the arithmetic and weights; input and two results, then three results, are alive."""
    target = changed("stm32h743-tflm", mcu__cycles_per_output_requant=0.0, mcu__weight_cache_bytes=1e6)
    relu, prelu = (one_conv(16, 16, 3, 8, activation) for activation in ("relu", "prelu"))
    plain, composed = (cost.uniform_table(target, workload, W8A8) for workload in (relu, prelu))
    assert composed.compute_s.item() == pytest.approx(2 * plain.compute_s.item())
    assert composed.weight_bytes.item() == 2 * plain.weight_bytes.item()
    assert composed.overhead_s.item() == pytest.approx(3 * plain.overhead_s.item())
    assert composed.stored_as == plain.stored_as
    one_map = 16 * 8 * 8
    tables = 1350 + 150 + 8 * 16, 1350 + 3 * 150 + 8 * 32
    for workload, maps, own in ((relu, 2, tables[0]), (prelu, 3, tables[1])):
        assert cost.uniform(target, workload, W8A8).peak_activation_bytes == maps * one_map + own
    shipped = device.load("stm32h743")
    assert not shipped.arena.composes_slopes
    assert cost.uniform(shipped, prelu, W8A8).peak_activation_bytes == 2 * one_map


def test_what_is_alive_adds_up_to_the_peak_under_a_runtime_with_its_own_tables() -> None:
    target = device.load("stm32h743-tflm")
    workload = one_conv(4, 16, 3, 8, "prelu")
    table = cost.uniform_table(target, workload, W8A8)
    ((_, alive),) = cost.schedule(table, workload, np.zeros(table.decisions, dtype=np.int8))
    assert sum(alive.values()) == cost.uniform(target, workload, W8A8).peak_activation_bytes
    assert alive["runtime"] == table.runtime_bytes
    assert alive["partial results"] == 3 * 1024 - 256 - 1024


def test_leaky_slopes_are_composed_like_learned_ones() -> None:
    target, workload = device.load("stm32h743-tflm"), one_conv(4, 16, 3, 8, "prelu")
    leaky = replace(workload, layers=(replace(workload.layers[0], activation="leaky_relu"),))
    assert cost.uniform(target, leaky, W8A8) == cost.uniform(target, workload, W8A8)
