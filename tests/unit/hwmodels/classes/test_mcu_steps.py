"""Steps that are no convolution, by hand: what a device file has cycles for, and how often."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from hwmodels import cost
from hwmodels.classes.mcu_steps import forms, lies_last
from hwmodels.device import catalogue
from hwmodels.device.device import Device, Quantity
from hwmodels.device.facts import number
from hwmodels.numbers import Precision
from hwmodels.workload import Contract, Layer, Map, Move, Movement, Reduce, Tensor, Work, Workload

LANES = 4.0
SMALL, LARGE = (3, 4, 5), (3, 8, 10)
ENDS = (("x", (-1, (0,))), ("y", (0, ())))
"""Names of two tensors, which layer writes each, and which layers read it."""


def one(work: Work, reads: tuple[int, int, int] = SMALL, writes: tuple[int, int, int] = SMALL, *, inputs: int = 1) -> Workload:
    """A layer between pictures of these channels, height and width."""
    layer = Layer("y", work, tuple(range(inputs)), inputs, label="y")
    tensors = [Tensor(f"x{i}", *reads, -1, (0,), i) for i in range(inputs)]
    return Workload("one", (layer,), (*tensors, Tensor("y", *writes, 0, (), inputs)), (*(f"x{i}" for i in range(inputs)), "y"))


def detailed(workload: Workload, *, wide: bool = False, last: tuple[bool, ...] | None = None) -> Mapping[str, float]:
    return dict(next(iter(forms(workload, workload.layers[0], LANES, (wide, wide), last or lies_last(workload)))))


def test_an_interpolation_is_rows_of_an_input_and_then_rows_of_the_output() -> None:
    """x2 by four rows and two columns: four input rows become ten columns wide, eight output rows are weighed from four each."""
    found = detailed(one(Move("resize", taps=(4, 2)), SMALL, LARGE))
    assert found == {
        "interpolate": 240, "interpolate_row": 4 * 240, "interpolate_value": 4 * 10 * 3, "interpolate_column": 2 * 4 * 10 * 3,
    }  # fmt: skip


def test_rows_that_no_output_reads_are_not_interpolated() -> None:
    found = detailed(one(Move("resize", taps=(2, 3)), (1, 100, 8), (1, 10, 4)))
    assert found["interpolate_value"] == 20 * 4


def test_bilinear_bytes_have_a_kernel_of_integers() -> None:
    """Places of columns are found once for all channels."""
    work = one(Move("resize", taps=(2, 2)), SMALL, LARGE)
    assert detailed(work) == {"bilinear": 240, "bilinear_value": 4 * 10 * 3, "bilinear_column": 4 * 10}
    assert "interpolate" in detailed(work, wide=True)
    assert "interpolate" in detailed(one(Move("resize", taps=(1, 4)), SMALL, (3, 4, 10)))


@pytest.mark.parametrize(
    ("work", "found"),
    [
        (Reduce(20), {"mean": 3, "mean_value": 60}),
        (Reduce(20, function="mul", rooted=True), {"deviation": 3, "deviation_value": 60}),
        (Reduce(20, function="mul"), {"variance": 3, "deviation_value": 60}),
        (Reduce(4, function="compare", kernel=(2, 2), stride=2), {"window": 3, "window_value": 12}),
        (Reduce(4, kernel=(2, 2), stride=2), {"average": 3, "average_value": 12}),
    ],
)
def test_statistics_cost_by_what_they_read(work: Reduce, found: Mapping[str, float]) -> None:
    assert detailed(one(work, SMALL, (3, 1, 1))) == found


@pytest.mark.parametrize(("function", "key"), [("function", "softmax"), ("division", "normalize")])
def test_rows_have_a_price_of_their_own(function: str, key: str) -> None:
    assert detailed(one(Reduce(3, keeps=True, function=function))) == {key: 60, f"{key}_row": 20}  # type: ignore[arg-type]


def test_normalizations_that_take_no_mean_off_read_once_less() -> None:
    work = Reduce(3, keeps=True, function="division", centred=False)
    assert detailed(one(work)) == {"normalize_uncentred": 60, "normalize_uncentred_row": 20}


def test_a_scale_and_a_shift_are_computed_on_real_values() -> None:
    assert detailed(one(Map("mul"))) == {"real": 60}


def test_functions_of_wide_codes() -> None:
    assert detailed(one(Map("slope"))) == detailed(one(Map("function"))) == {"unary": 60}
    assert detailed(one(Map("slope")), wide=True) == {"bend": 60}
    assert detailed(one(Map("function")), wide=True) == {"unary": 60}
    for variant, key in (("logistic", "curve"), ("gated", "gated"), ("sampled", "unary"), ("gelu", "unary")):
        assert detailed(one(Map("function", variant=variant)), wide=True) == {key: 60}  # type: ignore[arg-type]
        assert detailed(one(Map("function", variant=variant))) == {"unary": 60}  # type: ignore[arg-type]


def test_differences_are_computed_on_real_values() -> None:
    for function in ("add", "mul"):
        assert detailed(one(Map(function, arity=2, variant="difference"), inputs=2)) == {"real": 60}  # type: ignore[arg-type]


def test_repetitions_read_each_code_once() -> None:
    assert detailed(one(Move("repeat"), writes=(6, 4, 5))) == {"repeat": 120, "repeat_value": 60}


def test_nearest_pixels_are_copied_in_one_row_and_then_as_rows() -> None:
    """Each of 4 x 10 pixels of three bytes by itself, and four rows."""
    assert detailed(one(Move("resize"), SMALL, LARGE)) == {"resize": 240, "run": 40 + 4, "unaligned": 240}


def test_sums_with_repeated_operands() -> None:
    whole = one(Map("add", arity=2), inputs=2)
    repeated = one(Map("add", arity=2), (3, 1, 1), SMALL, inputs=2)
    assert detailed(whole) == {"add": 60}
    assert detailed(repeated) == {"add_repeated": 60}


def test_products_fill_lanes() -> None:
    """Rows of five products take two steps of four operands, of 16 bits three of two."""
    workload = one(Contract(500, 5, "product", stationary="tensor"), inputs=2)
    assert detailed(workload)["product_mac"] == 500 * 8 / 5
    assert detailed(workload, wide=True)["product_mac"] == 500 * 6 / 5


def test_moves_cost_by_the_stretches_that_lie_together() -> None:
    assert detailed(one(Move("concat"), inputs=2, writes=(6, 4, 5))) == {"concat": 120, "run": 40, "unaligned": 120}
    assert detailed(one(Move("concat"), inputs=2, writes=(8, 4, 5))) == {"concat": 160, "run": 40}
    assert detailed(one(Move("concat"), inputs=2, writes=(6, 4, 5)), wide=True)["unaligned"] == 120
    assert detailed(one(Move("pad"))) == {"pad": 60, "table_run": 20}
    heads = Move("transpose", (1, 20, 3, 4), (0, 2, 1, 3))
    tokens = Tensor("x", 4, 60, 1, -1, (0,), 0, picture=False, axes=(1, 20, 3, 4))
    turned = Tensor("y", 4, 60, 1, 0, (), 1, picture=False, axes=(1, 3, 20, 4))
    for work, found in (
        (heads, {"transpose": 240, "table_run": 60}),
        (Move("transpose", (1, 20, 3, 4), (0, 1, 3, 2)), {"scatter": 240}),
    ):
        workload = Workload("one", (Layer("y", work, (0,), 1),), (tokens, turned), ("x", "y"))
        assert detailed(workload, last=(False, False)) == found


@pytest.mark.parametrize(
    ("how", "along", "last", "runs"),
    [
        ("slice", (1,), True, 4 * 5),  # a part of the channels of every pixel
        ("slice", (1,), False, 1),
        ("slice", (2,), True, 1),  # rows of a picture are one stretch
        ("slice", (3,), False, 3 * 4),
        ("copy", (2,), True, 4),  # turned over, row by row
        ("copy", (2, 3), True, 4 * 5),
        ("copy", (3,), False, None),  # every code by itself
        ("gather", (1,), False, 3),
    ],
)
def test_chosen_places_leave_together_what_lies_behind_their_axes(
    how: Movement, along: tuple[int, ...], last: bool, runs: int | None
) -> None:
    tensors = [Tensor(name, *SMALL, *ends, i, axes=(1, *SMALL)) for i, (name, ends) in enumerate(ENDS)]
    workload = Workload("one", (Layer("y", Move(how, along=along), (0,), 1),), tuple(tensors), ("x", "y"))
    key = {"slice": "run", "copy": "table_run", "gather": "table_run"}[how]
    found = {"copy" if how == "gather" else how: 60, key: runs or 0}
    if runs is None:
        found = {"scatter": 60, "table_row": 3 * 4}
    elif how == "slice" and 60 / runs % 4:
        found["unaligned"] = 60
    assert detailed(workload, last=(last, last)) == found


def test_a_picture_as_tokens_lies_as_it_did() -> None:
    """Channels last before and behind: one copy."""
    picture, tokens = Tensor("x", 3, 4, 5, -1, (0,), 0), Tensor("y", 3, 20, 1, 0, (), 1, picture=False, axes=(1, 4, 5, 3))
    layer = Layer("y", Move("transpose", (1, 3, 4, 5), (0, 2, 3, 1)), (0,), 1)
    assert detailed(Workload("one", (layer,), (picture, tokens), ("x", "y")), last=(True, False)) == {
        "transpose": 60,
        "table_run": 1,
    }


def test_what_lies_with_its_channels_last() -> None:
    """A convolution's picture does, and tokens that become one for the next convolution; a product's operands do not."""
    product = Contract(1, 1, "product", stationary="tensor")
    work: tuple[Work, ...] = (Contract(1), Map("clamp"), Move("view"), product, Move("view"), Map("clamp"), Contract(1))
    layers = tuple(Layer(f"y{i}", each, (i,), i + 1) for i, each in enumerate(work))
    tensors = tuple(
        Tensor(f"x{i}", 4, 4, 4, i - 1, (i,) if i < len(work) else (), i, axes=(1, 4, 4, 4)) for i in range(len(work) + 1)
    )
    found = lies_last(Workload("one", layers, tensors, tuple(t.name for t in tensors)))
    assert found == (True, True, True, False, False, True, True, True)


def seconds(target: Device, workload: Workload, bits: int) -> float:
    table = cost.uniform_table(target, workload, Precision.integers(8, bits))
    return table.latency_s.item() - table.weight_s.item()


def test_a_step_is_its_parts_and_a_call() -> None:
    target = catalogue.load("stm32h743")
    parts = detailed(one(Move("resize", taps=(4, 4)), SMALL, LARGE))
    for bits, where in ((8, "mcu"), (16, "mcu.wide")):
        cycles = sum(number(target, f"{where}.cycles_per_element.{key}") * times for key, times in parts.items())
        expected = (cycles + number(target, "mcu.cycles_per_call")) / number(target, "mcu.clock_hz")
        assert seconds(target, one(Move("resize", taps=(4, 4)), SMALL, LARGE), bits) == pytest.approx(expected)


def test_a_file_with_fewer_keys_is_priced_by_those() -> None:
    """Without parts an interpolation is a resize, and a layer that has cycles per element costs as much as any layer."""
    target = catalogue.load("stm32h743").model_copy(deep=True)
    mcu = target.mcu
    assert mcu is not None
    mcu.cycles_per_element.clear()
    mcu.cycles_per_element["resize"] = Quantity(value=7.0)
    priced = target.model_copy(update={"mcu": mcu.model_copy(update={"wide": None, "cycles_per_call": None})})
    cycles = 240 * 7 + number(target, "mcu.cycles_per_layer")
    found = seconds(priced, one(Move("resize", taps=(4, 4)), SMALL, LARGE), 8)
    assert found == pytest.approx(cycles / number(target, "mcu.clock_hz"))
