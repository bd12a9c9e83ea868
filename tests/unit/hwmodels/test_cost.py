"""Prices computed by hand, and the shape of what the cost table answers."""

from __future__ import annotations

import numpy as np
import pytest
from cost_twins import Widths, edsr, random_plans, space_of
from words import make_layer

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.errors import UncountedError, UsageError, grouped
from hwmodels.numbers import INT8, Int, Precision
from hwmodels.pricing import memory
from hwmodels.workload import Contract, Layer, Tensor, Workload
from hwsearch.documents.results import LayerRow


def one_conv(channels: int, outputs: int, kernel: int, height: int, width: int, op: str = "conv") -> Workload:
    weights = kernel * kernel * channels * outputs
    layer = make_layer("conv", op, (0,), 1, weights * height * width, weights, outputs, (kernel, kernel), activation="relu")
    tensors = (Tensor("x", channels, height, width, -1, (0,), 0), Tensor("y", outputs, height, width, 0, (), 1))
    return Workload("one", (layer,), tensors, ("x", "y"))


def table_of(name: str, workload: Workload) -> cost.CostTable:
    target = catalogue.load(name)
    return cost.lower(target, workload, Widths.of(workload, target.weight_formats, target.tensor_formats))


def test_ethos_u55_by_hand() -> None:
    """12 to 12 channels, 3x3, 180x320 on 1x2x8 micro-blocks: 28,800 x 2 blocks; 9 taps depth first, 3 groups of taps x 2
    of channels part kernel; 4 cycles a step. The output unit, half a cycle an element, works beside the multipliers except on
    the last block (7x12 pixels). Arm's compiler says 1,383,424 cycles for this layer."""
    table = table_of("ethos-u55-128", one_conv(12, 12, 3, 180, 320))
    compute, latency = (terms[0, -1, 0, 0] * 500e6 for terms in (table.compute_s, table.latency_s))
    assert compute == pytest.approx(28_800 * 2 * 6 * 4 + 7 * 12 * 12 * 0.5)
    assert latency == pytest.approx(1_383_424, rel=0.0005)


def test_narrow_weights_save_bytes_and_no_cycles_on_ethos() -> None:
    """Weights arrive while the layer before runs; only a first layer waits for those of its first 16 of 64 channels. So it is in
    the figures of Arm's compiler, where 2 bits instead of 8 save at most one cycle in a thousand of a whole network."""
    table = table_of("ethos-u55-128", edsr(blocks=1, width=64, height=45, pixels=80, scale=2))
    assert np.all(np.ptp(table.compute_s, axis=1) == 0)
    assert np.all(np.ptp(table.latency_s, axis=1) == 0)
    assert table.weight_bytes[1, 0, 0] < 0.25 * table.weight_bytes[1, -1, 0]
    alone = table_of("ethos-u55-128", one_conv(64, 64, 3, 45, 80))
    assert np.all(np.ptp(alone.compute_s, axis=1) == 0)
    flash_bytes_per_s, flash_latency_s = 0.5e9, 128e-9
    first_part_s = alone.weight_bytes[0, -1, 0] / 4 / flash_bytes_per_s + flash_latency_s
    assert 0 < np.ptp(alone.latency_s[0, :, 0, 0]) <= first_part_s * (1 + 1e-9)


def test_jetson_pays_for_padding_and_waves() -> None:
    """One tile of 64 pixels and one of 65 cost the same wave of eight multiprocessors; 33 channels cost as much as 64."""
    compute = {
        (n, c): table_of("jetson", one_conv(c, c, 3, 1, n)).compute_s[0, 0, 0, 0] for n in (64, 512, 513) for c in (32, 33, 64)
    }
    assert compute[64, 32] == compute[512, 32]
    assert compute[513, 32] == pytest.approx(2 * compute[512, 32])
    assert compute[64, 33] == compute[64, 64]


def test_half_precision_choice_on_jetson_says_what_runs_and_is_stored() -> None:
    workload = one_conv(16, 16, 3, 90, 160)
    table = table_of("jetson", workload)
    assert table.runs_as[0] == [["W8A8", "FP16"], ["FP16", "FP16"]]
    assert table.stored_as[0] == [["8 bit", "fp16"], ["fp16", "fp16"]]
    weights = 9 * 16 * 16
    assert table.weight_bytes[0].tolist() == [[weights + 128, 2 * weights + 64], [2 * weights + 64, 2 * weights + 64]]


def test_packed_weights_round_up_per_channel() -> None:
    """Three weights of three bits are nine bits: two bytes per channel, plus bias and scale."""
    table = table_of("stm32h743", one_conv(3, 10, 1, 8, 8))
    assert table.weight_bytes[0, table.weight_bits.index(3), 0] == 10 * 2 + 10 * 8


def test_mcu_terms_add_up() -> None:
    table = table_of("stm32h743", one_conv(8, 8, 3, 24, 32))
    total = table.compute_s + table.weight_s + table.activation_s + table.overhead_s
    np.testing.assert_allclose(table.latency_s, total)


def test_unpacking_costs_time_on_a_microcontroller() -> None:
    table = table_of("stm32h743-tflm", one_conv(16, 16, 3, 24, 32))
    four, eight = table.weight_bits.index(4), table.weight_bits.index(8)
    ratio = table.compute_s[0, four, 0, 0] / table.compute_s[0, eight, 0, 0]
    assert 1.4 < ratio <= 1.58
    assert table.weight_s[0, four, 0, 0] == pytest.approx(table.weight_s[0, eight, 0, 0] / 2)


def test_explained_layers_add_up_to_the_plan() -> None:
    target, workload = catalogue.load("jetson"), edsr(blocks=3, width=16, height=40, pixels=50, scale=2)
    table = cost.lower(target, workload, space_of(target, workload))
    plan = random_plans(table, 1)[0]
    found, rows = cost.estimate(table, plan), cost.explain(table, plan)
    assert sum(row["latency_s"] for row in rows) + table.inference_s == pytest.approx(found.latency_s[0], rel=1e-12)
    assert sum(row["weight_bytes"] for row in rows) == found.weight_bytes[0]
    alive = [sum(tensors.values()) for _, tensors in cost.schedule(table, workload, plan)]
    assert len(alive) == len(workload.layers)
    assert max(alive) == found.peak_activation_bytes[0]
    for row in rows:
        terms = {k: row[f"{f}_s"] for k, f in (("compute", "compute"), ("weights", "weight"), ("activations", "activation"))}
        terms["overhead"] = row["overhead_s"]
        assert terms[row["binds"]] == max(terms.values())


def test_explained_rows_are_rows_of_the_results() -> None:
    workload = edsr(blocks=1, width=8, height=20, pixels=20, scale=2)
    table = table_of("host", workload)
    for row in cost.explain(table, np.zeros(table.decisions, dtype=np.int8)):
        LayerRow(**row)


def test_uniform_single_precision_counts_four_bytes() -> None:
    workload = edsr(blocks=1, width=8, height=20, pixels=20, scale=2)
    price = cost.uniform(catalogue.load("jetson"), workload, Precision.parse("FP32"))
    parameters = sum(layer.weight_count + layer.bias_count for layer in workload.layers)
    assert price.weight_bytes == 4 * parameters
    assert price.peak_activation_bytes == 4 * workload.live_elements().sum(axis=1).max()
    assert price.latency_s > cost.uniform(catalogue.load("jetson"), workload, Precision.parse("W8A8")).latency_s


def test_feature_maps_that_fit_stay_on_chip() -> None:
    """A chain of three layers: the inner tensors leave the chip only when the picture is large; the ends always do."""
    target = catalogue.load("jetson")
    for size, inner_leaves in ((32, False), (1024, True)):
        workload = edsr(blocks=0, width=16, height=size, pixels=size, scale=1)
        read, written = memory.offchip_elements(workload, target, np.ones(1))
        assert read[0, 0] == 3 * size * size
        assert written[-1, 0] == 3 * size * size
        assert (written[:-1].sum() > 0) == inner_leaves


def test_wider_tensors_than_any_native_precision_are_refused() -> None:
    coral = catalogue.load("coral-edgetpu")
    with pytest.raises(UsageError, match="activations of int16"):
        coral.runs_as(Int(8), Int(16))
    with pytest.raises(UsageError, match="coral"):
        cost.uniform(coral, one_conv(3, 8, 3, 8, 8), Precision.parse("FP32"))


def test_operations_are_grouped_in_the_order_of_their_first() -> None:
    named = [
        "aten.softmax.int at a (n.py:1)",
        "aten.matmul.default at a",
        "aten.softmax.int at b (n.py:1)",
        "Erf e1",
        "Erf e2",
    ]
    assert grouped(named) == ["2 times, first: aten.softmax.int at a (n.py:1)", named[1], "2 times, first: Erf e1"]
    error = UncountedError(named * 30, "")
    assert error.operations == named * 30
    assert len(error.message.splitlines()) == 1 + 3
    assert grouped(["alone", "alone two"]) == ["alone", "alone two"]


def test_a_product_of_tensors_costs_what_tensors_are_wide() -> None:
    """What the array holds is no weight: narrow weights elsewhere do not make it cheaper."""
    work = Contract(96 * 96 * 32, depth=32, form="product", stationary="tensor")
    layers = (Layer("product", work, (0, 0), 1),)
    tensors = (Tensor("x", 32, 96, 1, -1, (0,), 0, picture=False), Tensor("y", 96, 96, 1, 0, (), 1, picture=False))
    workload = Workload("attention", layers, tensors, ("x", "y"))
    table = cost.lower(catalogue.load("bitserial-npu"), workload, Widths((Int(2), INT8), (INT8,), (), ("x", "y")))
    assert table.compute_s[0, 0] == table.compute_s[0, 1] > 0


def test_wrong_plans_are_refused() -> None:
    table = table_of("jetson", one_conv(3, 8, 3, 8, 8))
    with pytest.raises(UsageError, match="2 decisions"):
        cost.estimate(table, np.zeros((1, 2), dtype=np.int8))
    for bad in (-1, 2):
        with pytest.raises(UsageError, match="not on offer"):
            cost.estimate(table, np.array([[0, 0, bad]], dtype=np.int8))
    assert len(cost.estimate(table, np.zeros((0, 3), dtype=np.int8)).latency_s) == 0


def test_a_space_of_another_network_is_refused() -> None:
    with pytest.raises(UsageError, match="does not belong"):
        cost.lower(catalogue.load("jetson"), one_conv(3, 8, 3, 8, 8), Widths((INT8,), (INT8,), ("a", "b"), ("x", "y")))


def test_energy_falls_with_the_widths_of_arithmetic() -> None:
    table = table_of("jetson", one_conv(64, 64, 3, 64, 64))
    assert table.energy_j[0, 0, 0, 0] < table.energy_j[0, 1, 1, 1]


def test_chunks_are_priced_as_the_whole() -> None:
    table = table_of("jetson", edsr(2, 8, 10, 12))
    plans = random_plans(table, 100)
    whole = cost.estimate(table, plans)
    chunks = list(cost.estimate_chunks(table, (plans[i : i + 30] for i in range(0, 100, 30))))
    assert [len(chunk.latency_s) for chunk in chunks] == [30, 30, 30, 10]
    for k, column in enumerate(whole):
        assert np.array_equal(np.concatenate([chunk[k] for chunk in chunks]), column)
