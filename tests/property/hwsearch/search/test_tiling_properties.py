"""What must hold for the price of every tiling, on every kind of device: one tile is the whole, kept halos repeat nothing,
recomputed ones do, and more memory never slows the chosen plan.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from cost_twins import Widths, edsr, random_plans
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from words import make_layer

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.device import Device, Quantity
from hwmodels.tiling import tiles
from hwmodels.tiling.tiling import Tiling
from hwmodels.workload import Constant, Tensor, Workload
from hwsearch.search import tiling_options

few = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
KINDS = pytest.mark.parametrize("name", ["stm32h743", "ethos-u55-128", "jetson-orin-nano", "host", "gap9"])


def space_of(target: Device, workload: Workload) -> Widths:
    return Widths.of(workload, target.weight_formats[-2:], target.tensor_formats)


@cache
def chain(seed: int, height: int, width: int, scale: int) -> Workload:
    """Convolutions one after another, each kernel another, and a pixel shuffle."""
    rng = np.random.default_rng(seed)
    kernels = [(int(rng.choice([1, 3, 5])), int(rng.choice([1, 3, 9]))) for _ in range(int(rng.integers(2, 6)))]
    channels = [1, *(int(rng.integers(1, 24)) for _ in kernels[1:]), scale * scale]
    layers = [
        make_layer(
            f"c{i}", "conv", (i,), i + 1,
            macs=kernel[0] * kernel[1] * channels[i] * channels[i + 1] * height * width,
            weight_count=kernel[0] * kernel[1] * channels[i] * channels[i + 1],
            bias_count=channels[i + 1], kernel=kernel,
        )
        for i, kernel in enumerate(kernels)
    ]  # fmt: skip
    last = len(kernels)
    layers.append(make_layer("shuffle", "pixel_shuffle", (last,), last + 1))
    tensors = [Tensor(f"t{i}", c, height, width, i - 1, (i,), i) for i, c in enumerate(channels)]
    tensors.append(Tensor("out", 1, scale * height, scale * width, last, (), last))
    return Workload("chain", tuple(layers), tuple(tensors), tuple(f"t{i}" for i in range(last + 1)))


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    height, width = draw(st.integers(2, 40)), draw(st.integers(2, 40))
    if draw(st.integers(0, 3)) == 0:
        return edsr(blocks=2, width=8, height=height, pixels=width, scale=2)
    return chain(draw(st.integers(0, 40)), height, width, draw(st.integers(1, 3)))


def size(workload: Workload) -> tuple[int, int]:
    return workload.tensors[0].height, workload.tensors[0].width


@KINDS
@few
@given(workload=workloads(), halo=st.sampled_from(["keep", "recompute"]))
def test_one_tile_is_the_whole_picture(name: str, workload: Workload, halo: str) -> None:
    target = catalogue.load(name)
    space = space_of(target, workload)
    whole = cost.lower(target, workload, space)
    plans = random_plans(whole, 20)
    tiled = tiles.lower(target, workload, space, Tiling(*size(workload), halo))  # type: ignore[arg-type]
    assert tiled.tiles == 1
    for ours, theirs in zip(cost.estimate(tiled.table, plans), cost.estimate(whole, plans), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@few
@given(workload=workloads(), data=st.data())
def test_a_kept_halo_computes_nothing_twice(workload: Workload, data: st.DataObject) -> None:
    height, width = size(workload)
    kinds = tiles.tiles(workload, Tiling(data.draw(st.integers(1, height)), width, "keep"))
    for row, layer in enumerate(workload.layers):
        assert sum(tile.layers[row].macs * count for tile, count in kinds) == layer.macs
    for row, tensor in enumerate(workload.tensors):
        absent = [tensor.producer >= 0 and not tile.active[tensor.producer] for tile, _ in kinds]
        rows = sum(tile.tensors[row].height * count for (tile, count), no in zip(kinds, absent, strict=True) if not no)
        assert rows == tensor.height or tensor.producer < 0


@few
@given(workload=workloads(), data=st.data())
def test_a_recomputed_halo_is_computed_again(workload: Workload, data: st.DataObject) -> None:
    height, width = size(workload)
    tiling = Tiling(data.draw(st.integers(1, height)), data.draw(st.integers(1, width)))
    kinds = tiles.tiles(workload, tiling)
    assert sum(count for _, count in kinds) == -(-height // tiling.height) * -(-width // tiling.width)
    for row, layer in enumerate(workload.layers):
        assert sum(tile.layers[row].macs * count for tile, count in kinds) >= layer.macs
    total = sum(tile.macs * count for tile, count in kinds)
    assert tiles.work(workload, tiling) == pytest.approx(total / workload.macs)
    output = workload.layers[-1].output
    assert sum(tile.tensors[output].elements * count for tile, count in kinds) == workload.tensors[output].elements


@KINDS
@few
@given(workload=workloads(), data=st.data())
def test_schedule_and_table_agree_on_the_peak(name: str, workload: Workload, data: st.DataObject) -> None:
    target, (height, width) = catalogue.load(name), size(workload)
    halo = data.draw(st.sampled_from(["keep", "recompute"]))
    tiling = Tiling(data.draw(st.integers(1, height)), width if halo == "keep" else data.draw(st.integers(1, width)), halo)
    tiled = tiles.lower(target, workload, space_of(target, workload), tiling)
    for plan in random_plans(tiled.table, 5):
        peak = max(sum(alive.values()) for _, alive in tiled.schedule(plan))
        # Every tensor is rounded up to bytes in the schedule, their sum in the price.
        assert 0 <= peak - int(cost.estimate(tiled.table, plan).peak_activation_bytes[0]) <= len(workload.tensors)


@few
@given(workload=workloads(), data=st.data())
def test_a_smaller_strip_never_needs_more_memory_nor_less_work(workload: Workload, data: st.DataObject) -> None:
    target, (height, width) = catalogue.load("stm32h743"), size(workload)
    assume(height >= 4)
    small = data.draw(st.integers(1, height // 2))
    halo = data.draw(st.sampled_from(["keep", "recompute"]))
    # The line buffers of a picture that is hardly higher than the network's reach would hold all of it.
    reach = sum(layer.kernel[0] - 1 for layer in workload.layers)
    assume(halo == "recompute" or reach + 2 * small <= height)
    space = space_of(target, workload)
    fine, coarse = (tiles.lower(target, workload, space, Tiling(h, width, halo)) for h in (small, 2 * small))
    plans = random_plans(fine.table, 20)
    slow, fast = cost.estimate(fine.table, plans), cost.estimate(coarse.table, plans)
    assert np.all(slow.latency_s >= fast.latency_s * (1 - 1e-12))
    assert np.all(slow.peak_activation_bytes <= fast.peak_activation_bytes)


@few
@given(workload=workloads(), small=st.floats(0.02, 1.0), more=st.floats(1.0, 8.0))
def test_more_memory_never_slows_the_chosen_way(workload: Workload, small: float, more: float) -> None:
    """For every plan: the fastest way that fits into more memory is at least as fast, whatever ways were left out before."""
    target = catalogue.load("stm32h743")
    space = space_of(target, workload)
    priced = tuple(tiles.lower(target, workload, space, t) for t in (None, *tiles.candidates(workload)))
    plans = random_plans(priced[0].table, 30)
    needed = float(cost.estimate(priced[0].table, plans).peak_activation_bytes.max())
    chosen = []
    for limit in (small * needed, small * more * needed):
        limits = {"peak_activation_bytes": limit}
        tilings = tiling_options.TilingOptions(priced, tuple(tiling_options.useful(priced, limits)), limits)
        price, _ = tilings.take(plans)
        every, _ = tiling_options.TilingOptions(priced, priced, limits).take(plans)
        fits = every.peak_activation_bytes <= limit
        # What was left out before the search would not have been chosen.
        np.testing.assert_allclose(price.latency_s[fits], every.latency_s[fits], rtol=1e-12)
        chosen.append((price.latency_s, fits))
    (before_s, fitted), (after_s, fits) = chosen
    assert np.all(fits[fitted])
    assert np.all(after_s[fitted] <= before_s[fitted] * (1 + 1e-12))


def test_whole_pictures_count_where_they_are_resident() -> None:
    workload = chain(3, 32, 24, 2)
    streamed = catalogue.load("stm32h743")
    resident = streamed.model_copy(update={"limits": streamed.limits.model_copy(update={"pictures": "resident"})})
    space, tiling = space_of(streamed, workload), Tiling(4, 24, "keep")
    tables = [tiles.lower(target, workload, space, tiling).table for target in (streamed, resident)]
    plan = np.zeros((1, tables[0].decisions), dtype=np.int8)
    apart, together = (int(cost.estimate(table, plan).peak_activation_bytes[0]) for table in tables)
    assert together == apart + 32 * 24 + 64 * 48


def test_every_tile_pays_for_its_call_its_layers_and_its_weights() -> None:
    workload = chain(3, 32, 24, 2)
    target = catalogue.load("stm32h743")
    call = target.overhead.model_copy(update={"inference_s": Quantity(value=1e-3)})
    target = target.model_copy(update={"overhead": call})
    space = space_of(target, workload)
    whole = cost.lower(target, workload, space)
    tiled = tiles.lower(target, workload, space, Tiling(8, 12))
    assert tiled.tiles == 8
    assert tiled.table.inference_s == pytest.approx(8e-3)
    np.testing.assert_allclose(tiled.table.overhead_s, 8 * whole.overhead_s)
    np.testing.assert_allclose(tiled.table.weight_s, 8 * whole.weight_s)
    np.testing.assert_array_equal(tiled.table.weight_bytes, whole.weight_bytes)


def test_a_tile_reads_its_share_of_a_constant_for_every_pixel() -> None:
    """One factor for every pixel is read once in all, those for every channel once a tile; both are stored once."""
    layers = (
        make_layer("a", "mul", (0,), 1, macs=0, constants=(Constant(3 * 32 * 24),)),
        make_layer("b", "mul", (1,), 2, macs=0, constants=(Constant(3),)),
    )
    tensors = (Tensor("x", 3, 32, 24, -1, (0,), 0), Tensor("a", 3, 32, 24, 0, (1,), 1), Tensor("b", 3, 32, 24, 1, (), 2))
    workload, target = Workload("two", layers, tensors, ("x", "a", "b")), catalogue.load("stm32h743")
    space = space_of(target, workload)
    whole, tiled = (tiles.lower(target, workload, space, tiling).table for tiling in (None, Tiling(8, 12)))
    np.testing.assert_allclose(tiled.weight_s[0], whole.weight_s[0])
    np.testing.assert_allclose(tiled.weight_s[1], 8 * whole.weight_s[1])
    np.testing.assert_array_equal(tiled.constant_bytes, whole.constant_bytes)


def test_work_of_a_tile_by_hand() -> None:
    """Two 3x3 convolutions, 10 rows in strips of 5: each strip computes one row more of the first than it delivers."""
    layers = (
        make_layer("a", "conv", (0,), 1, macs=9 * 2 * 100, weight_count=18, bias_count=2, kernel=(3, 3)),
        make_layer("b", "conv", (1,), 2, macs=18 * 100, weight_count=18, bias_count=1, kernel=(3, 3)),
    )
    tensors = (Tensor("x", 1, 10, 10, -1, (0,), 0), Tensor("a", 2, 10, 10, 0, (1,), 1), Tensor("b", 1, 10, 10, 1, (), 2))
    workload = Workload("two", layers, tensors, ("x", "a", "b"))
    ((tile, count),) = tiles.tiles(workload, Tiling(5, 10))
    assert count == 2
    assert [t.height for t in tile.tensors] == [7, 6, 5]
    assert [layer.macs for layer in tile.layers] == [9 * 2 * 60, 18 * 50]
    assert replace(tile, held=()).live_elements().tolist() == [[70, 120, 0], [0, 120, 50]]
    # Kept, one row at a time: three rows of each tensor that a 3x3 kernel reads, one of the output.
    steady = max(tiles.tiles(workload, Tiling(1, 10, "keep")), key=lambda kind: kind[1])[0]
    assert steady.live_elements().tolist() == [[30, 60, 0], [20, 60, 10]]
