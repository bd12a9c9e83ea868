"""Hexagon: times of layers computed by hand from the device file."""

from __future__ import annotations

import pytest
from oracle.layer_tables import Drawing, three_convolutions

from hwmodels import cost
from hwmodels.device import catalogue, reader
from hwmodels.device.facts import number, with_numbers
from hwmodels.device.values import Quantity
from hwmodels.numbers import Precision
from hwmodels.pricing.table import CostTable
from hwmodels.workload import Map, Move, Reduce, Work, Workload

TARGET = catalogue.load("snapdragon-8gen3-hexagon")
W8A8, W8A16, FP16 = (Precision.parse(text) for text in ("W8A8", "W8A16", "FP16"))
VECTOR, HOST = number(TARGET, "npu.vector_bytes_per_s"), number(TARGET, "npu.host_bytes_per_s")


def one(work: Work, channels: int = 64, size: int = 32) -> Workload:
    """A convolution, something done to what it made, and another convolution."""
    net = Drawing("one", 8, size, size)
    x = net.conv("before", 0, channels, 1, (size, size))
    x = net.work("it", work, (x,), (channels, size, size))
    net.conv("after", x, 8, 1, (size, size))
    return net.workload()


def priced(workload: Workload, precision: Precision = W8A8) -> CostTable:
    return cost.uniform_table(TARGET, workload, precision)


def compute_s(workload: Workload, layer: int, precision: Precision = W8A8) -> float:
    return float(priced(workload, precision).compute_s[layer].item())


def test_channels_are_filled_up_to_the_quantum() -> None:
    """40 channels cost what 64 do in 8 bits, and what 48 do in half precision: 1024 pixels, 9 taps."""
    assert compute_s(three_convolutions(channels=40), 1) == pytest.approx(1024 * 9 * 64 * 64 / number(TARGET, "rates.W8A8"))
    assert compute_s(three_convolutions(channels=40), 1, FP16) == pytest.approx(1024 * 9 * 48 * 48 / number(TARGET, "rates.FP16"))


def test_a_picture_gathers_its_window() -> None:
    """Nine taps of four channels are 36, filled up to 64."""
    assert compute_s(three_convolutions(), 0) == pytest.approx(1024 * 64 * 64 / number(TARGET, "rates.W8A8"))


def test_narrow_groups_share_the_quantum() -> None:
    """Four groups of 8 channels are one block-diagonal convolution of 32; two groups of 32 are two convolutions."""
    rate = number(TARGET, "rates.W8A8")
    assert compute_s(three_convolutions(channels=32, groups=4), 1) == pytest.approx(1024 * 9 * 32 * 32 / rate)
    assert compute_s(three_convolutions(channels=64, groups=2), 1) == pytest.approx(1024 * 9 * 2 * 32 * 32 / rate)


def test_a_depthwise_convolution_passes_the_vector_unit_tap_by_tap() -> None:
    passes = number(TARGET, "npu.passes.depthwise_tap")
    assert compute_s(three_convolutions(groups=64), 1) == pytest.approx(1024 * 64 * 9 * passes / VECTOR)
    slower = number(TARGET, "npu.float_passes")
    assert compute_s(three_convolutions(groups=64), 1, FP16) == pytest.approx(2 * 1024 * 64 * 9 * passes * slower / VECTOR)


def test_a_strided_depthwise_convolution_computes_whole_rows() -> None:
    """16x16 results, two columns of windows for each: half of what all 32x32 cost, and the rows between cost nothing."""
    net = Drawing("strided", 8, 32, 32)
    x = net.conv("before", 0, 64, 1, (32, 32))
    x = net.conv("it", x, 64, 3, (16, 16), groups=64, stride=2)
    net.conv("after", x, 8, 1, (16, 16))
    assert compute_s(net.workload(), 1) == pytest.approx(compute_s(three_convolutions(groups=64), 1) / 2)


@pytest.mark.parametrize(
    ("work", "key"),
    [
        (Map("function"), None),
        (Move("transpose"), "move"),
        (Move("resize"), "resample"),
        (Reduce(64, keeps=True, function="function"), "normalize_function"),
        (Reduce(64, keeps=True, function="division"), "normalize"),
    ],
)
def test_other_work_passes_the_vector_unit(work: Work, key: str | None) -> None:
    """65,536 bytes; two bytes an element inside of a softmax or a normalization, whatever is stored. These and data movement are
    no slower in float."""
    each = 1.0 if key is None else number(TARGET, f"npu.passes.{key}")
    wide = key in ("normalize_function", "normalize")
    assert compute_s(one(work), 1) == pytest.approx(65536 * (2 if wide else 1) * each / VECTOR)
    slower = 1.0 if wide or key == "move" else number(TARGET, "npu.float_passes")
    assert compute_s(one(work), 1, FP16) == pytest.approx(2 * 65536 * each * slower / VECTOR)


@pytest.mark.parametrize(("size", "pixels"), [((28, 28), 32 * 32), ((7, 14), 8 * 16), ((197, 1), 256), ((1, 1), 1)])
def test_the_vector_unit_passes_whole_blocks_of_pixels(size: tuple[int, int], pixels: int) -> None:
    """8x8 pixels, or 64 of one row or column; the matrix unit does not fill them up."""
    net = Drawing("blocks", 64, *size)
    x = net.conv("before", 0, 64, 1, size)
    x = net.work("it", Map("function"), (x,), (64, *size))
    net.conv("after", x, 8, 1, size)
    assert compute_s(net.workload(), 1) == pytest.approx(64 * pixels / VECTOR)
    assert compute_s(net.workload(), 0) == pytest.approx(64 * 64 * size[0] * size[1] / number(TARGET, "rates.W8A8"))


def test_what_the_runtime_hands_over_costs_the_way_the_passes_and_a_restart() -> None:
    """A normalization of 65,536 values in single precision on the CPU; with 16-bit tensors too, and nothing else moves there."""
    target = catalogue.load("qcs6490-hexagon-litert")
    workload = one(Reduce(64, keeps=True, function="division"))
    for precision in (W8A8, W8A16):
        table = cost.uniform_table(target, workload, precision)
        there_s = 65536 * 12 * 4 / number(target, "npu.fallback.bytes_per_s")
        way_s = 2 * 65536 * 4 / number(target, "npu.host_bytes_per_s")
        assert table.compute_s[1].item() == pytest.approx(there_s)
        assert table.activation_s[1].item() == pytest.approx(way_s)
        assert table.latency_s[1].item() == pytest.approx(there_s + way_s + number(target, "overhead.inference_s"))
        assert [each[0][0] for each in table.runs_on] == ["", "CPU", ""]
    softmax = cost.uniform_table(target, one(Reduce(64, keeps=True, function="function")), W8A8)
    assert [each[0][0] for each in softmax.runs_on] == ["", "", ""]
    held = cost.uniform_table(catalogue.load("qcs6490-hexagon"), workload, W8A8)
    assert held.latency_s[1] < table.latency_s[1] / 10
    assert [each[0][0] for each in held.runs_on] == ["", "", ""]


def test_a_width_that_is_held_stays() -> None:
    text = (reader.FOLDER / "qcs6490-hexagon-litert.toml").read_text(encoding="utf-8")
    for_both, for_wide = (f"tensors = [{widths}]\n\n[npu.channel" for widths in ('"int8", "int16"', '"int16"'))
    assert for_both in text
    wide_only = catalogue.load_text(text.replace(for_both, for_wide), "board.toml")
    workload = one(Reduce(64, keeps=True, function="division"))
    found = [cost.uniform_table(wide_only, workload, precision).runs_on[1][0][0] for precision in (W8A8, W8A16)]
    assert found == ["", "CPU"]


def test_a_window_costs_each_tap() -> None:
    passes = number(TARGET, "npu.passes.window_tap")
    assert compute_s(one(Reduce(9, kernel=(3, 3))), 1) == pytest.approx(65536 * 9 * passes / VECTOR)


def test_a_view_costs_nothing() -> None:
    assert priced(one(Move("copy"))).latency_s[1].item() == 0


@pytest.mark.parametrize("work", [Map("function"), Move("resize")])
def test_element_wise_work_on_three_channels_is_done_on_thirty_two(work: Work) -> None:
    passes = number(TARGET, "npu.passes.picture")
    assert compute_s(one(work, channels=3), 1) == pytest.approx(1024 * 32 * passes / VECTOR)


def test_an_activation_with_a_table_costs_passes_of_its_own() -> None:
    extra = compute_s(three_convolutions("prelu", channels=40), 1) - compute_s(three_convolutions(channels=40), 1)
    assert extra == pytest.approx(1024 * 64 * number(TARGET, "npu.passes.fused_lookup") / VECTOR)


def test_weights_arrive_beside_the_work() -> None:
    """A 1x1 convolution of 1024 channels on one pixel waits for its megabyte of weights; nothing else shows."""
    net = Drawing("wide", 1024, 1, 1)
    net.conv("first", 0, 1024, 1, (1, 1))
    net.conv("second", 1, 1024, 1, (1, 1))
    table = priced(net.workload())
    assert table.latency_s[0].item() - 1024 / HOST == pytest.approx(1024 * 1024 / number(TARGET, "memory.dram.bytes_per_s"))


@pytest.mark.parametrize("size", [1, 64])
def test_weights_arrive_ahead_of_their_layer_as_far_as_there_is_room(size: int) -> None:
    """3 MiB for one pixel. Behind work on 64x64 pixels the two that a quarter of the scratchpad holds are there already; behind
    one pixel, whose own MiB was waited for, the time of what lies between is gained."""
    net = Drawing("late", 1024, size, size)
    x = net.conv("first", 0, 1024, 1, (size, size))
    x = net.work("mean", Reduce(size * size), (x,), (1024, 1, 1))
    net.conv("late", x, 3072, 1, (1, 1))
    table = cost.uniform_table(with_numbers(TARGET, {"npu.weights_ahead": Quantity(value=0.25)}), net.workload(), W8A8)
    per_byte, room = 1 / number(TARGET, "memory.dram.bytes_per_s"), number(TARGET, "memory.onchip.bytes") / 4
    ahead_s = room * per_byte if size > 1 else (table.compute_s[1] + table.overhead_s[1]).item()
    assert table.latency_s[2].item() == pytest.approx(3 * 2**20 * per_byte - ahead_s + 3072 / HOST)
    none = cost.uniform_table(with_numbers(TARGET, {"npu.weights_ahead": Quantity(value=0.0)}), net.workload(), W8A8)
    assert none.latency_s[2].item() == pytest.approx(3 * 2**20 * per_byte + 3072 / HOST)


def test_the_picture_is_exchanged_unpadded() -> None:
    table = priced(three_convolutions())
    busy = table.compute_s[0].item() + table.overhead_s[0].item()
    assert table.latency_s[0].item() == pytest.approx(max(busy, table.weight_s[0].item()) + 3 * 1024 / HOST)


def test_full_frames_spill_a_share_only() -> None:
    """64 channels at 540x960 are 33 MB, twice alive; most of it stays in strips."""
    table = priced(three_convolutions(size=720))
    elements = 64 * 720 * 720
    stays = number(TARGET, "memory.onchip.bytes") / (2 * elements)
    spilled_s = 2 * elements * (1 - stays) * number(TARGET, "npu.strip_spill") / number(TARGET, "memory.dram.bytes_per_s")
    assert table.activation_s[1].item() == pytest.approx(spilled_s)
