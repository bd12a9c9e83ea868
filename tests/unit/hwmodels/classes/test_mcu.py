"""Microcontrollers by hand: cycles of a layer, weights read again, the exported C with its counted instructions, and a runtime
that composes PReLU."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cost_twins import Widths
from words import make_layer

from hwmodels import cost
from hwmodels.device import catalogue, device
from hwmodels.device.device import Device, Quantity
from hwmodels.device.facts import number, with_numbers
from hwmodels.numbers import Int, Precision
from hwmodels.workload import Tensor, Workload

W8A8 = Precision.integers(8, 8)
COUNTS = Path(device.__file__).parents[1] / "devices" / "mcu_instructions.json"


def one_conv(channels: int, outputs: int, kernel: int, size: int, activation: str = "relu") -> Workload:
    weights = kernel * kernel * channels * outputs
    layer = make_layer("conv", "conv", (0,), 1, weights * size * size, weights, outputs, (kernel, kernel), activation=activation)
    tensors = (Tensor("x", channels, size, size, -1, (0,), 0), Tensor("y", outputs, size, size, 0, (), 1))
    return Workload("one", (layer,), tensors, ("x", "y"))


def cycles(target: Device, seconds: float) -> float:
    return seconds * number(target, "mcu.clock_hz")


def changed(name: str, **values: float) -> Device:
    keys = {key.replace("__", "."): Quantity(value=value) for key, value in values.items()}
    return with_numbers(catalogue.load(name), keys)


def test_a_convolution_by_hand() -> None:
    """3 to 16 channels, 3x3, 8x8 pixels on a Cortex-M4: patches of 27 bytes fill 28 operands; 1.345 cycles per MAC, 1.5 per
    patch byte, 8 per output."""
    target = catalogue.load("stm32l4r5-cubeai")
    table = cost.uniform_table(target, one_conv(3, 16, 3, 8), W8A8)
    expected = 64 * 16 * 28 * 1.345 + 64 * 27 * 1.5 + 64 * 16 * 8
    assert cycles(target, table.compute_s.item()) == pytest.approx(expected, rel=1e-3)
    assert cycles(target, table.overhead_s.item()) == pytest.approx(2000)


def one_depthwise(channels: int, kernel: int, size: int) -> Workload:
    weights = kernel * kernel * channels
    layer = make_layer(
        "dw", "depthwise", (0,), 1, weights * size**2, weights, channels, (kernel, kernel), groups=channels, activation="relu"
    )
    tensors = (Tensor("x", channels, size, size, -1, (0,), 0), Tensor("y", channels, size, size, 0, (), 1))
    return Workload("one", (layer,), tensors, ("x", "y"))


def test_a_depthwise_convolution_of_helium_by_hand() -> None:
    """6 channels, 3x3, 8x8 pixels: 8 side by side; patches gathered by byte and row; its own price of 8 outputs."""
    target = catalogue.load("ra8d1")
    table = cost.uniform_table(target, one_depthwise(6, 3, 8), W8A8)
    expected = 64 * 9 * 8 * 1.188 + 64 * 9 * 6 * 0.5 + 64 * 3 * 28.5 + 64 * 8 * 8.5
    assert cycles(target, table.compute_s.item()) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("name", "core"), [("stm32l4r5", "cortex-m4"), ("stm32h743", "cortex-m7"), ("cortex-m55", "cortex-m55")])
def test_depthwise_layers_of_the_exported_c_by_count(name: str, core: str) -> None:
    """Every channel count and kernel size that was counted, within 14 %: taps beyond the border are priced and not summed."""
    target = catalogue.load(name)
    counted = next(entry for entry in json.loads(COUNTS.read_text(encoding="utf-8"))["cores"] if entry["core"] == core)
    layers = [row for row in counted["measured"] if row["depthwise"]]
    assert len({(row["inputs"], row["kernel"]) for row in layers}) == 7
    for row in layers:
        plan = Precision.integers(row["weight_bits"], row["tensor_bits"])
        table = cost.uniform_table(target, one_depthwise(row["inputs"], row["kernel"], row["side"]), plan)
        priced = cycles(target, table.compute_s.item() + table.overhead_s.item())
        expected = row["instructions"] * number(target, "mcu.cycles_per_instruction")
        assert priced == pytest.approx(expected, rel=0.14), row


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
        cost.uniform_table(
            changed("stm32l4r5-cubeai", mcu__weight_cache_bytes=size), one_conv(16, 16, 3, 8), W8A8
        ).weight_s.item()
        for size in (2304.0, 2303.0)
    )
    assert fits == pytest.approx(2304 / number(catalogue.load("stm32l4r5-cubeai"), "memory.flash.bytes_per_s"))
    assert spills == pytest.approx(16 * fits)


EXPORTED = ("stm32l4r5", "stm32h743", "cortex-m55")


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_c_unpacks_weights_once_a_layer(name: str) -> None:
    """4-bit weights cost the same cycles a weight whatever the size of the picture, and are read from flash once."""
    target = changed(name, mcu__weight_cache_bytes=0.0)
    for size in (8, 16):
        table = cost.lower(target, one_conv(16, 16, 3, size), Widths((Int(4), Int(8)), (Int(8),), ("conv",), ("x", "y")))
        more = cycles(target, float(table.compute_s[0, 0, 0, 0] - table.compute_s[0, 1, 0, 0]))
        assert more == pytest.approx(2304 * number(target, "mcu.cycles_per_unpacked_weight.4"))
        passes = table.weight_s[0, :, 0, 0] * number(target, "memory.flash.bytes_per_s")
        assert passes == pytest.approx([1152, 2304 * size**2 / number(target, "mcu.pixels_per_pass")])


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_c_of_wide_activations_by_hand(name: str) -> None:
    """3 to 16 channels, 3x3, 8x8 pixels of 16 bits: one operand at a time, patches of 54 bytes in three rows."""
    target = catalogue.load(name)
    table = cost.uniform_table(target, one_conv(3, 16, 3, 8), Precision.integers(8, 16))
    expected = 64 * 16 * 27 * number(target, "mcu.wide.cycles_per_mac.conv")
    expected += 64 * 54 * number(target, "mcu.cycles_per_im2col_byte") + 64 * 3 * number(target, "mcu.cycles_per_im2col_row")
    expected += 64 * 16 * number(target, "mcu.wide.cycles_per_output_requant")
    assert cycles(target, table.compute_s.item()) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_c_adds_and_shuffles_by_the_element(name: str) -> None:
    target = catalogue.load(name)
    layers = (make_layer("sum", "add", (0, 1), 2), make_layer("shuffle", "pixel_shuffle", (2,), 3))
    tensors = (
        *(Tensor(x, 12, 8, 8, -1, (0,), 0) for x in "ab"),
        Tensor("sum", 12, 8, 8, 0, (1,), 0),
        Tensor("out", 3, 16, 16, 1, (), 0),
    )
    table = cost.uniform_table(target, Workload("two", layers, tensors, ("a",)), W8A8)
    each = {key: number(target, f"mcu.cycles_per_element.{key}") for key in ("add", "shuffle", "shuffle_run")}
    assert cycles(target, float(table.compute_s[0].item())) == pytest.approx(768 * each["add"])
    assert cycles(target, float(table.activation_s[1].item())) == pytest.approx(768 * each["shuffle"] + 256 * each["shuffle_run"])
    assert cycles(target, table.overhead_s.sum().item()) == pytest.approx(2 * number(target, "mcu.cycles_per_call"))


def test_constants_of_the_exported_c_are_the_counted_instructions() -> None:
    """In every file: instructions times its cycles per instruction, rounded to four digits."""
    cores = {core["core"]: core for core in json.loads(COUNTS.read_text(encoding="utf-8"))["cores"]}
    files = [target for target in map(catalogue.load, catalogue.names()) if target.runtime.startswith("exported C99")]
    assert {"stm32h743", "stm32l4r5", "cortex-m55", "nrf52840"} <= {target.name for target in files}
    for target in files:
        assert target.mcu is not None
        counted = cores[{"Cortex-M33": "cortex-m4"}.get(target.mcu.core, target.mcu.core.lower())]
        units = counted["per_unit"]
        expected = {f"cycles_per_mac.{op}": units[op] for op in ("conv", "pointwise", "depthwise")}
        expected |= {f"wide.cycles_per_mac.{op}": units[f"wide_{op}"] for op in ("conv", "pointwise", "depthwise")}
        expected |= {f"cycles_per_unpacked_weight.{bits}": units[f"unpack_{bits}"] for bits in range(2, 8)}
        expected |= {f"cycles_per_element.{op}": n for op, n in counted["per_element"].items()}
        expected |= {f"wide.cycles_per_element.{op}": n for op, n in counted["wide_per_element"].items()}
        expected |= {"cycles_per_call": counted["per_call"]}
        expected |= {"cycles_per_output_requant": units["requant"], "wide.cycles_per_output_requant": units["wide_requant"]}
        expected |= {"cycles_per_im2col_byte": units["im2col"], "cycles_per_im2col_row": units["im2col_row"]}
        expected |= {"cycles_per_layer": units["layer"]}
        expected |= {f"cycles_per_depthwise_{each}": units[f"depthwise_{each}"] for each in ("output", "pixel")}
        expected |= {f"wide.cycles_per_depthwise_{each}": units[f"wide_depthwise_{each}"] for each in ("output", "pixel")}
        each = number(target, "mcu.cycles_per_instruction")
        for key, instructions in expected.items():
            assert number(target, f"mcu.{key}") == pytest.approx(instructions * each, rel=1e-3), (target.name, key)
        assert target.mcu.lanes.value == counted["lanes"]
        assert number(target, "mcu.depthwise_lanes") == 4
        clock = number(target, "mcu.clock_hz")
        assert number(target, "rates.W8A8") == pytest.approx(clock / units["conv"] / each, rel=1e-3)
        assert number(target, "rates.W8A16") == pytest.approx(clock / units["wide_conv"] / each, rel=1e-3)
        assert not target.unpack, "weights are unpacked once a layer, not in the inner loop"


def test_board_power_times_time_is_the_energy_of_an_anchored_microcontroller() -> None:
    for name in ("stm32l4r5", "stm32h7a3", "stm32u575", "stm32l4r5-cubeai", "stm32h7a3-cubeai", "stm32u575-cubeai"):
        target = catalogue.load(name)
        assert not target.energy.relative
        price = cost.uniform(target, one_conv(16, 16, 3, 32), W8A8)
        assert price.energy_j == pytest.approx(price.latency_s * number(target, "energy.static_w"), rel=0.01)


def test_a_runtime_that_composes_prelu_pays_twice() -> None:
    """Two convolutions and a maximum: twice the arithmetic and weights; input and two results are alive."""
    target = changed("stm32h743-tflm", mcu__cycles_per_output_requant=0.0, mcu__weight_cache_bytes=1e6)
    relu, prelu = (one_conv(16, 16, 3, 8, activation) for activation in ("relu", "prelu"))
    plain, composed = (cost.uniform_table(target, workload, W8A8) for workload in (relu, prelu))
    assert composed.compute_s.item() == pytest.approx(2 * plain.compute_s.item())
    assert composed.weight_bytes.item() == 2 * plain.weight_bytes.item()
    assert composed.overhead_s.item() == pytest.approx(3 * plain.overhead_s.item())
    assert composed.stored_as == plain.stored_as
    one_map = 16 * 8 * 8
    patches = 2 * 2 * 9 * 16
    ends, convolution, input_tensor = 160 + 2 * (40 + 20 + 16), 32 + 28 + 3 * 12 + 64 + 2 * 64 + 4, 12
    maximum = 32 + 12
    # With one convolution input, output and patches are alive; of two, the second one's patches lie beside both results.
    assert cost.uniform(target, relu, W8A8).peak_activation_bytes == 2 * one_map + patches + ends + convolution + input_tensor
    own = ends + 2 * convolution + maximum + input_tensor
    assert cost.uniform(target, prelu, W8A8).peak_activation_bytes == 3 * one_map + patches + own
    shipped = catalogue.load("stm32h743")
    assert not shipped.arena.composes_slopes
    assert cost.uniform(shipped, prelu, W8A8).peak_activation_bytes == 2 * one_map + 4 * 9 * 16


def test_what_is_alive_adds_up_to_the_peak_under_a_runtime_with_its_own_tables() -> None:
    target = catalogue.load("stm32h743-tflm")
    workload = one_conv(4, 16, 3, 8, "prelu")
    table = cost.uniform_table(target, workload, W8A8)
    ((_, alive),) = cost.schedule(table, workload, np.zeros(table.decisions, dtype=np.int8))
    assert sum(alive.values()) == cost.uniform(target, workload, W8A8).peak_activation_bytes
    assert alive["runtime"] == table.runtime_bytes
    assert [alive[name] for name in alive if name.endswith(("/positive", "/negative"))] == [1024, 1024]


def test_leaky_slopes_are_composed_like_learned_ones() -> None:
    target, workload = catalogue.load("stm32h743-tflm"), one_conv(4, 16, 3, 8, "prelu")
    leaky = replace(workload, layers=(replace(workload.layers[0], finish="slope"),))
    assert cost.uniform(target, leaky, W8A8) == cost.uniform(target, workload, W8A8)
