"""Formats that bits do not name: floating point of 8 bits, bfloat16, weights with a scale for each group. Each is one value, from
a device file to a plan on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.device import Device
from hwmodels.errors import UsageError
from hwmodels.numbers import BF16, FP8_E4M3, FP8_E5M2, FP16, FP32, INT8, INT16, Float, Int, NumberFormat, Precision
from hwsearch.contracts import tiny_graph, tiny_pairs
from hwsearch.formats.writing.capability import Holds
from hwsearch.formats.writing.promote import promote
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine.integer import run as run_engine
from hwsearch.quant.network import storage
from hwsearch.quant.network.formats import power_of_two_scale, scaled_and_rounded
from hwsearch.quant.network.graph import LayerFloats
from hwsearch.quant.weights.floating import computed_in, rounded_in_groups, rounded_weights
from hwsearch.search.propose.uniform import plans
from searchspaces.ir.lower import to_workload
from searchspaces.space import SearchSpace, build_space, matrix

BOARD = """
schema = 1
name = "board"
title = "Board"
kind = "cpu"
runtime = "none"
summary = "For tests."
default_input = [32, 32]
[rates]
W8A8 = 4e9
FP8E4M3 = 4e9
FP16 = 2e9
BF16 = 2e9
FP32 = 1e9
[widths]
weights = ["int4", "int4g8", "int8", "fp8e4m3", "fp16", "bf16"]
tensors = ["int8", "fp8e4m3", "fp16", "bf16"]
[packing]
kind = "bits"
expanded_at_load = true
[memory.dram]
bytes_per_s = 2e9
[cpu]
threads = 1
"""
CASES = [("int4g8", 8), ("int4g8", "fp8e4m3"), ("fp8e4m3", "fp8e4m3"), ("fp8e4m3", 8), (8, "fp8e4m3"), ("bf16", "bf16"), (16, 16)]


@pytest.fixture(scope="module")
def board() -> Device:
    return catalogue.load_text(BOARD, "board.toml")


@pytest.fixture(scope="module")
def space(board: Device) -> SearchSpace:
    workload = to_workload(tiny_graph(), 32, 32)
    return build_space(workload, board.weight_formats, board.tensor_formats, wide=board.offered.wide, stored=board.keeps)


@pytest.fixture(scope="module")
def calibration(space: SearchSpace) -> Calibration:
    return calibrate(tiny_graph(), [pair.low for pair in tiny_pairs()], space)


def numbers_of(fmt: Float) -> np.ndarray:
    """Every finite number of a small format, from its bits by the definition of binary floating point."""
    bias, found = (1 << (fmt.exponent - 1)) - 1, []
    for exponent in range(1 << fmt.exponent):
        for mantissa in range(1 << fmt.mantissa):
            fraction = mantissa / (1 << fmt.mantissa)
            found.append(2.0 ** (1 - bias) * fraction if exponent == 0 else 2.0 ** (exponent - bias) * (1 + fraction))
    # E5M2 has infinities and NaN in its last exponent, E4M3 one NaN in its last code.
    kept = sorted(found)[: -(1 << fmt.mantissa)] if fmt == FP8_E5M2 else sorted(found)[:-1]
    return np.array([*(-number for number in reversed(kept)), *kept])


@pytest.mark.parametrize("fmt", [FP8_E4M3, FP8_E5M2])
def test_eight_bits_round_to_the_nearest_number_that_there_is(fmt: Float) -> None:
    numbers = numbers_of(fmt)
    assert numbers[-1] == fmt.largest
    x = torch.randn(4000, generator=torch.Generator().manual_seed(0)) * 3
    for scale in (1.0, 2.0**-7, 4.0):
        got = scaled_and_rounded(x, fmt, scale).double().numpy() / scale
        assert np.isin(got, numbers).all()
        away = np.abs(numbers[None] - (x.double().numpy() / scale)[:, None]).min(axis=1)
        np.testing.assert_array_equal(np.abs(got - x.double().numpy() / scale), away)
    assert scaled_and_rounded(torch.tensor([1e9, -1e9]), fmt, 1.0).tolist() == [fmt.largest, -fmt.largest]


def test_the_scale_is_the_least_power_of_two_that_reaches() -> None:
    assert power_of_two_scale(448.0, FP8_E4M3) == 1.0
    assert power_of_two_scale(449.0, FP8_E4M3) == 2.0
    assert power_of_two_scale(0.875, FP8_E4M3) == 2.0**-9
    assert power_of_two_scale(1e30, FP16) == power_of_two_scale(0.0, FP8_E4M3) == 1.0


@pytest.mark.parametrize(
    ("weights", "tensor", "computed"),
    [
        (INT8, INT8, None),
        (Int(4, 32), INT8, FP16),
        (Int(4, 32), BF16, BF16),
        (INT8, FP8_E4M3, FP16),  # four bits of mantissa do not hold eight
        (Int(4), FP8_E4M3, FP8_E4M3),
        (FP8_E4M3, FP16, FP16),
        (FP8_E5M2, FP8_E4M3, FP16),
        (FP16, INT16, FP32),
        (BF16, FP16, FP32),
    ],
)
def test_what_a_layer_is_computed_in_holds_both(weights: NumberFormat, tensor: NumberFormat, computed: Float | None) -> None:
    assert computed_in(weights, tensor) == computed


def test_groups_have_scales_of_their_own() -> None:
    """Against a loop over groups; the last one of a channel is short."""
    weight = np.random.default_rng(0).normal(size=(3, 5, 2, 2)).astype(np.float32)
    got = rounded_in_groups(weight, Int(4, 8)).reshape(3, 20)
    for row, rounded in zip(weight.reshape(3, 20), got, strict=True):
        for start in range(0, 20, 8):
            group, found = row[start : start + 8], rounded[start : start + 8]
            scale = np.float32(np.float16(np.abs(group).max() / 7))
            codes = found / scale
            np.testing.assert_allclose(codes, np.rint(codes), atol=1e-5)
            assert np.abs(found - group).max() <= scale / 2 + 7 * scale * 2**-11  # the scale itself is rounded
    whole = rounded_in_groups(weight, Int(4, 20)).reshape(3, 20)
    assert np.square(got - weight.reshape(3, 20)).sum() < np.square(whole - weight.reshape(3, 20)).sum()
    assert not rounded_in_groups(np.zeros((2, 3, 1, 1), np.float32), Int(4, 8)).any()


def test_weights_of_eight_floating_point_bits_have_a_scale_a_channel() -> None:
    weight = np.array([[[[1.0]], [[0.3]]], [[[1e-6]], [[3e-7]]]], dtype=np.float32)
    error = np.abs(rounded_weights(weight, FP8_E4M3) / weight - 1)
    assert error.max() <= 2.0**-4  # half a step of three bits of mantissa, in the small channel too


@pytest.mark.parametrize(("weights", "tensors"), CASES)
def test_a_plan_is_run_kept_and_read_again(
    weights: int | str, tensors: int | str, calibration: Calibration, space: SearchSpace, tmp_path: Path
) -> None:
    plan = space.uniform(weights, tensors)
    assert space.has_widths(plan, weights, tensors)
    assert space.plan(*space.named(plan)) == plan
    quantized = calibration.finished(plan)
    storage.save(quantized, tmp_path / "net.safetensors")
    again = storage.load(tmp_path / "net.safetensors")
    assert storage.digest(again) == storage.digest(quantized)
    x = tiny_pairs()[0].low
    engine = run_engine(quantized, x)
    assert torch.equal(run_engine(again, x), engine)
    simulated = calibration.simulate(plan, x)
    assert torch.isfinite(engine).all()
    assert float((engine - simulated).abs().max()) <= 2 / 255  # orders of additions differ


def test_more_bits_lose_less(calibration: Calibration, space: SearchSpace) -> None:
    x = tiny_pairs()[0].low
    exact = calibration.simulate(space.uniform(16, 16), x)

    def lost(weights: int | str, tensors: int | str) -> float:
        return float((calibration.simulate(space.uniform(weights, tensors), x) - exact).square().mean())

    assert lost("bf16", "bf16") < lost("fp8e4m3", "fp8e4m3")
    assert lost("fp8e4m3", 16) < lost("fp8e4m3", "fp8e4m3")


def test_groups_are_stored_with_their_scales(board: Device, space: SearchSpace) -> None:
    """By hand: four bits a weight, each output channel a whole byte, two bytes a group of eight, four bytes a bias."""
    workload = to_workload(tiny_graph(), 32, 32)
    table = cost.lower(board, workload, space)
    wanted = 0
    for row in workload.weighted:
        layer = workload.layers[row]
        channels = workload.tensors[layer.output].channels
        inputs = layer.weight_count // channels
        wanted += channels * (-(-inputs * 4 // 8) + 2 * -(-inputs // 8)) + 4 * layer.bias_count
    found = cost.estimate(table, matrix([space.uniform("int4g8", 8)]))
    assert int(found.weight_bytes[0]) == wanted
    eight = [cost.estimate(table, matrix([space.uniform(w, t)])) for w, t in ((8, 8), ("fp8e4m3", "fp8e4m3"))]
    assert int(eight[0].weight_bytes[0]) == int(eight[1].weight_bytes[0])
    assert {row["runs_as"] for row in cost.explain(table, space.uniform("int4g8", 8)) if row["weight_bytes"]} == {"FP16"}


def test_exporters_widen_eight_bits_and_refuse_what_they_cannot_write(calibration: Calibration, space: SearchSpace) -> None:
    found = promote(calibration.quantized(space.uniform("fp8e4m3", "fp8e4m3")), Holds())
    assert {fmt.number for fmt in found.qgraph.formats.values()} == {FP16}
    assert {layer.computed for layer in found.qgraph.layers.values() if isinstance(layer, LayerFloats)} == {FP16}
    assert found.changes
    with pytest.raises(UsageError, match="bf16"):
        promote(calibration.quantized(space.uniform("bf16", "bf16")), Holds())


def test_uniform_plans_have_names_of_their_own(space: SearchSpace) -> None:
    named = plans(space)
    assert {"W4A8", "W4G8A8", "W8A8", "FP8E4M3", "FP16", "BF16"} == set(named)
    assert all(str(Precision.parse(name)) == name for name in named)
    assert named["W4G8A8"] == space.uniform("int4g8", 8)


def test_spaces_of_other_formats_share_no_choice(space: SearchSpace) -> None:
    """Two formats of eight bits are two choices, and two plans."""
    one, other = space.uniform(8, 8), space.uniform("fp8e4m3", 8)
    assert one != other
    few = replace(space, weight_formats=(INT8,), tensor_formats=(INT8,), allowed=np.ones((space.decisions, 1), bool), stored=())
    assert few.row([0] * space.decisions) == one
