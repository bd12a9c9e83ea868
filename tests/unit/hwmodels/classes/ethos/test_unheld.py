"""What a compiler leaves to the processor beside an array: named, and priced by that processor's time and a start behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.device import Device
from hwmodels.device.facts import number
from hwmodels.device.sections.npu import Npu
from hwmodels.numbers import Precision
from hwmodels.pricing.table import CostTable
from hwmodels.workload import Contract, Layer, Map, Move, Reduce, Tensor, Work, Workload

Sizes = tuple[int, int, int]
"""Channels, height, width."""
SMALL: Sizes = (16, 12, 20)


def chain(*steps: tuple[Work, Sizes], first: Sizes = SMALL) -> Workload:
    """Layers one after the other, each with the sizes of what it makes."""
    sizes = [first, *(made for _, made in steps)]
    layers = tuple(Layer(f"l{row}", work, (row,), row + 1, label="x") for row, (work, _) in enumerate(steps))
    last = len(layers)
    tensors = tuple(Tensor(f"t{i}", *size, i - 1, (i,) if i < last else (), 0) for i, size in enumerate(sizes))
    return Workload("chain", layers, tensors, ("t0",))


def priced(device: Device, workload: Workload, bits: int = 8) -> CostTable:
    return cost.uniform_table(device, workload, Precision.parse(f"W8A{bits}"))


def names(device: Device, workload: Workload, bits: int = 8) -> list[str]:
    return [each[0][0] for each in priced(device, workload, bits).runs_on]


BOUND = (Map("clamp"), SMALL)
DOUBLE: Sizes = (16, 24, 40)


@pytest.mark.parametrize(
    ("work", "made", "bits", "u55", "u85"),
    [
        (Move("resize"), DOUBLE, 8, False, False),
        (Move("resize"), (16, 36, 60), 8, True, False),
        (Move("resize", taps=(2, 2)), DOUBLE, 8, False, False),
        (Move("resize", taps=(2, 2)), (16, 48, 80), 8, True, False),
        (Move("resize", taps=(2, 2)), (16, 36, 60), 8, True, True),
        (Move("resize", taps=(2, 2), variant="corners"), (16, 45, 77), 8, False, False),
        (Move("resize", taps=(2, 2), variant="corners"), DOUBLE, 8, True, True),
        (Map("function"), SMALL, 16, False, False),
        (Map("function", variant="gelu"), SMALL, 8, False, False),
        (Map("function", variant="gelu"), SMALL, 16, True, True),
        (Move(variant="reversed"), SMALL, 8, True, False),
        (Move("pad", variant="outermost"), (16, 14, 22), 8, True, True),
        (Move("gather"), SMALL, 8, True, True),
        (Move("shuffle"), (4, 24, 40), 8, True, True),
        (Reduce(16, keeps=True, function="function"), SMALL, 8, False, False),
        (Reduce(16, keeps=True), SMALL, 8, True, True),
    ],
)
def test_what_is_left(work: Work, made: Sizes, bits: int, u55: bool, u85: bool) -> None:
    """By the rules of ethos-u-vela 5.2.0; tests/reference/hwmodels/test_vela_unheld.py asks itself."""
    workload = chain(BOUND, (work, made))
    for target, left in (("ethos-u55-128", u55), ("ethos-u85-256", u85)):
        assert names(catalogue.load(target), workload, bits) == ["", "Cortex-M55" if left else ""], target


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("stride", [3, 4])
def test_a_depthwise_convolution_with_a_large_stride(stride: int, bits: int) -> None:
    """Left on a U55, where every product takes the processor's time and every weight a byte; a U85
    has it."""
    made = (SMALL[0], (SMALL[1] - 4) // stride + 1, (SMALL[2] - 4) // stride + 1)
    taps, outputs = 16, made[0] * made[1] * made[2]
    workload = chain(BOUND, (Contract(taps * outputs, taps, "channelwise", (4, 4), stride, SMALL[0]), made))
    weighing = replace(workload.layers[1], weight_count=taps * SMALL[0])
    workload = replace(workload, layers=(workload.layers[0], weighing))
    assert names(catalogue.load("ethos-u85-256"), workload, bits) == ["", ""]
    device = catalogue.load("ethos-u55-128")
    table = priced(device, workload, bits)
    assert bool(table.runs_on[1][0][0]) is (stride > 3)
    if stride > 3:
        fallback = device.own(Npu).fallback
        assert fallback is not None
        own = fallback.operators["depthwise_tap"].touches.value * fallback.element_bytes.value / fallback.bytes_per_s.value
        assert float(table.compute_s[1, 0, 0, 0]) == pytest.approx(own * taps * outputs)
        # A byte a weight, and bias, scale and shift of every channel.
        assert int(cost.uniform(device, workload, Precision.parse(f"W8A{bits}")).weight_bytes) == (taps + 10) * SMALL[0]


@pytest.mark.parametrize(("rows", "left"), [(65_535, False), (65_536, True)])
def test_a_softmax_of_many_rows(rows: int, left: bool) -> None:
    sizes = (4, rows, 1)
    workload = chain((Reduce(4, keeps=True, function="function"), sizes), first=sizes)
    assert [bool(name) for name in names(catalogue.load("ethos-u85-256"), workload)] == [left]


@pytest.mark.parametrize(("shape", "left"), [((256, 2, 256, 8), False), ((256, 2, 260, 8), True), ((1, 8, 70_000), True)])
def test_a_transpose_of_long_axes(shape: tuple[int, ...], left: bool) -> None:
    """Of the four axes two are 256 x 256 places at the most, of the three one is 65,536 long."""
    axes = (0, 2, 1, 3)[: len(shape)]
    elements = 1
    for side in shape:
        elements *= side
    workload = chain((Move("transpose", shape, axes), (8, elements // 8, 1)), first=(8, elements // 8, 1))
    assert [bool(name) for name in names(catalogue.load("ethos-u65-256"), workload, 16)] == [left]
    assert names(catalogue.load("ethos-u85-256"), workload, 16) == [""]


def product(stride: int, size: Sizes) -> tuple[Contract, Sizes]:
    kernel = (4, 4)
    return Contract(16 * size[1] * size[2] * 16, 16, "channelwise", kernel, stride, 16), size


def test_windows_far_apart() -> None:
    three, four = (chain(product(*each)) for each in ((3, (16, 3, 6)), (4, (16, 3, 5))))
    assert [names(catalogue.load("ethos-u55-128"), each) for each in (three, four)] == [[""], ["Cortex-M55"]]


def seconds(device: Device, steps: Sequence[tuple[Work, Sizes]], row: int) -> tuple[float, float, float]:
    """Of a layer: of the processor, to start the array again, and in all."""
    table = priced(device, chain(*steps))
    return tuple(float(term[row, 0, 0, 0]) for term in (table.compute_s, table.overhead_s, table.latency_s))  # type: ignore[return-value]


def test_the_price_by_hand() -> None:
    """3,840 codes are shuffled, 24.6 cycles of another kind a code of an enlargement; the array starts anew where it goes on."""
    device = catalogue.load("ethos-u85-256")
    shuffle, enlarge = (Move("shuffle"), (4, 24, 40)), (Move("resize", taps=(2, 2)), (16, 36, 60))
    start, rate = device.overhead.inference_s.value, number(device, "npu.fallback.bytes_per_s")
    touches = {key: number(device, f"npu.fallback.operators.{key}.touches") for key in ("move", "resample")}
    assert device.memory.dram is not None
    assert device.memory.dram.bytes_per_s is not None
    work, again, whole = seconds(device, [BOUND, shuffle], 1)
    assert work == pytest.approx(3840 * touches["move"] * 4 / rate)
    assert again == 0.0
    assert whole == pytest.approx(work + 2 * 3840 / device.memory.dram.bytes_per_s.value)
    assert seconds(device, [BOUND, shuffle, (Map("clamp"), (4, 24, 40))], 1)[1] == start
    work, again, _ = seconds(device, [BOUND, enlarge, (Move("gather"), (16, 36, 60))], 1)
    assert work == pytest.approx(16 * 36 * 60 * touches["resample"] * 4 / rate)
    assert again == 0.0  # the processor goes on


def test_without_a_figure_for_the_processor_only_bytes_count() -> None:
    device = catalogue.load("ethos-u85-256")
    npu = device.own(Npu).model_copy(update={"fallback": None})
    bare = device.model_copy(update={"npu": npu})
    steps = [BOUND, (Move("shuffle"), (4, 24, 40))]
    assert names(bare, chain(*steps)) == ["", "CPU"]
    work, _, whole = seconds(bare, steps, 1)
    assert (work, whole > 0) == (0.0, True)


def test_a_piece_that_runs_aside_is_the_layer() -> None:
    """Taken apart for what the file holds, it keeps its inputs, its result and its weights."""
    from hwmodels.classes.ethos.model import executed

    workload = chain(product(4, (16, 3, 5)))
    workload = replace(workload, layers=(replace(workload.layers[0], weight_count=256),))
    (layer,) = executed(catalogue.load("ethos-u55-128"), workload, 1).workload.layers
    assert layer == replace(workload.layers[0], aside=True)
