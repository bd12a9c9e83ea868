"""What must hold for every shipped device and any network: resources never hurt, narrow widths never cost bytes nor invent speed,
and the compiled kernels equal their plain twins.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
from class_twins import native_twin, terms_twin, weights_twin, wide_is_float
from cost_twins import Widths, plain, random_network, random_plans
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from words import make_layer

from hwmodels import cost
from hwmodels.classes.ethos import buffering, layers
from hwmodels.device import catalogue
from hwmodels.device.device import Device, Quantity
from hwmodels.device.facts import number, with_numbers
from hwmodels.workload import Tensor, Workload

DEVICES = catalogue.names()
TERMS = ("compute_s", "weight_s", "activation_s", "overhead_s", "latency_s")
few = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
ARRAYS = [name for name in DEVICES if (npu := catalogue.load(name).npu) is not None and npu.array is not None]
every_device = pytest.mark.parametrize("name", DEVICES)
# Documented arrays have twins of their own (test_ethos_twins.py).
devices_with_twins = pytest.mark.parametrize("name", [name for name in DEVICES if name not in ARRAYS])
seeds = st.integers(0, 2**32 - 1)


def whole_space(target: Device, workload: Workload) -> Widths:
    return Widths.of(workload, target.weight_formats, target.tensor_formats)


def price(target: Device, workload: Workload) -> cost.CostTable:
    return cost.lower(target, workload, whole_space(target, workload))


@devices_with_twins
@few
@given(seed=seeds)
def test_kernels_equal_their_twins(name: str, seed: int) -> None:
    target, rng = catalogue.load(name), np.random.default_rng(seed)
    workload = random_network(rng)
    table = price(target, workload)
    for _ in range(8):
        row = int(rng.integers(len(workload.layers)))
        w, a, b = (int(rng.integers(n)) for n in table.latency_s.shape[1:])
        bits = (table.weight_bits[w], table.activation_bits[a], table.activation_bits[b])
        twin = terms_twin(target, workload, row, *bits, wide_is_float(target))
        ours = {term: getattr(table, term)[row, w, a, b] for term in TERMS}
        assert ours == pytest.approx(twin, rel=1e-9), (workload.layers[row], bits)
        layer = workload.layers[row]
        if layer.weight_count:
            runs = native_twin(target, bits[0], bits[1], wide_is_float(target))
            assert table.runs_as[row][w][a] == str(runs)
            stored, _ = weights_twin(target, layer, workload.tensors[layer.output].channels, bits[0], runs)
            assert table.weight_bytes[row, w, a] == stored


@every_device
@few
@given(seed=seeds)
def test_batch_equals_one_by_one_equals_numpy(name: str, seed: int) -> None:
    workload = random_network(np.random.default_rng(seed))
    table = price(catalogue.load(name), workload)
    plans = random_plans(table, 150, seed)
    batch, twin = cost.estimate(table, plans), plain(table, plans)
    np.testing.assert_allclose(batch.latency_s, twin.latency_s, rtol=1e-12)
    np.testing.assert_allclose(batch.energy_j, twin.energy_j, rtol=1e-12)
    np.testing.assert_array_equal(batch.weight_bytes, twin.weight_bytes)
    np.testing.assert_array_equal(batch.peak_activation_bytes, twin.peak_activation_bytes)
    for i in (0, 63, 64, 149):
        for many, one in zip(batch, cost.estimate(table, plans[i]), strict=True):
            assert many[i] == one[0]


@every_device
@few
@given(seed=seeds, factor=st.floats(1.0, 50.0))
@example(seed=50619422, factor=2.0)
@example(seed=5505, factor=2.0)
@example(seed=441159, factor=2.0)
def test_more_of_a_resource_never_slows(name: str, seed: int, factor: float) -> None:
    target, rng = catalogue.load(name), np.random.default_rng(seed)
    workload = random_network(rng)
    with schedules() as decided:
        before = price(target, workload)
    for what, richer in improved(target, factor, rng):
        with schedules() as decided_again:
            after = price(richer, workload)
        if [one.choice for one in decided_again] != [one.choice for one in decided]:
            # Vela copies weights on chip as early as layers leave time for, before it asks which maps have room: whatever makes a
            # layer faster may put a map outside.
            continue
        ours, theirs, later = after.latency_s, before.latency_s, 0.0
        if decided or (target.npu is not None and target.npu.weights_ahead is not None):
            # A faster layer leaves the weights of the next one less time to arrive ahead: networks of one width are compared.
            same = np.arange(ours.shape[2])
            ours, theirs = ours.sum(axis=0)[:, same, same], theirs.sum(axis=0)[:, same, same]
        if decided:
            # By Vela's estimate of the faster layer, which can fall by more than our price of it.
            cycles = max(one.slack - again.slack for one, again in zip(decided, decided_again, strict=True))
            later = max(cycles, 0.0) / number(target, "npu.clock_hz")
        assert np.all(ours <= theirs * (1 + 1e-12) + later), what
        assert after.inference_s <= before.inference_s


class Decided(NamedTuple):
    """``choice``: which maps stay on chip, rows of cascades, weights that are copied, in which slices and beside what;
    ``slack``: cycles that all copies find to hide in."""

    choice: tuple[bytes, ...]
    slack: float


@contextmanager
def schedules() -> Iterator[list[Decided]]:
    """What is decided for an Ethos-U meanwhile."""
    found: list[Decided] = []
    original = layers.Pricing.schedule

    def noted(*args):
        made = original(*args)
        copies = [[one and (one.sizes, one.ahead) for one in own] for own in made.copies.found]
        choice = (made.inside.tobytes(), made.rows.tobytes(), repr(copies).encode())
        found.append(Decided(choice, sum(sum(each) for each in made.copies.slack)))
        return made

    with mock.patch.object(layers.Pricing, "schedule", noted):
        yield found


def improved(target: Device, factor: float, rng: np.random.Generator) -> list[tuple[str, Device]]:
    """The device with one resource multiplied: each bandwidth, on-chip capacity, cache, one rate, all rates."""
    found = []
    for memory in ("onchip", "dram", "flash"):
        for field in ("bytes", "bytes_per_s"):
            table = getattr(target.memory, memory)
            if table is not None and getattr(table, field) is not None:
                better = table.model_copy(update={field: Quantity(value=getattr(table, field).value * factor)})
                memories = target.memory.model_copy(update={memory: better})
                found.append((f"{memory}.{field}", target.model_copy(update={"memory": memories})))
    for field in ("vector_bytes_per_s", "host_bytes_per_s"):
        if target.npu is not None and getattr(target.npu, field) is not None:
            better = target.npu.model_copy(update={field: Quantity(value=getattr(target.npu, field).value * factor)})
            found.append((f"npu.{field}", target.model_copy(update={"npu": better})))
    faster = {key: Quantity(value=rate.value * factor) for key, rate in target.rates.items()}
    caches = {"npu.fused_bytes", "mcu.weight_cache_bytes"} & {key for key, _ in target.quantities()}
    for key in caches:
        found.append((key, with_numbers(target, {key: Quantity(value=number(target, key) * factor + 4096)})))
    one = str(rng.choice(list(target.rates)))
    found.append(("rates", target.model_copy(update={"rates": faster})))
    found.append((one, target.model_copy(update={"rates": {**target.rates, one: faster[one]}})))
    return found


@every_device
@few
@given(seed=seeds)
@example(seed=35775)
@example(seed=51219)
def test_fewer_bits_never_store_or_move_more(name: str, seed: int) -> None:
    workload = random_network(np.random.default_rng(seed))
    table = price(catalogue.load(name), workload)
    # A channel of fewer than four weights is the exception: its integer form needs a scale, its half-precision form does not.
    large = [i for i, c in enumerate(workload.layers) if c.weight_count >= 4 * workload.tensors[c.output].channels]
    for axis in (1, 2):
        assert np.all(np.diff(table.weight_bytes[large], axis=axis) >= 0)
        assert np.all(np.diff(table.weight_s, axis=axis) >= 0)
    for axis in (2, 3):
        assert np.all(np.diff(table.activation_s, axis=axis) >= 0)
    assert np.all(np.diff(table.element_bytes) >= 0)


@every_device
@few
@given(seed=seeds)
def test_no_width_is_faster_than_the_native_one_that_holds_it(name: str, seed: int) -> None:
    target = catalogue.load(name)
    workload = random_network(np.random.default_rng(seed))
    table = price(target, workload)
    for w in range(len(table.weight_bits)):
        for a, activation_bits in enumerate(table.activation_bits):
            runs = target.runs_as(target.weight_formats[w], target.tensor_formats[a])
            alone = Widths.of(workload, (runs.weights,), (runs.activations,))
            floor = cost.lower(target, workload, alone).compute_s[:, 0, 0, 0]
            weighted = list(workload.weighted)
            arithmetic = table.compute_s[weighted, w, a, 0]
            if target.kind == "mcu":
                # Patches of narrower stored activations are cheaper to copy; arithmetic is what must not get cheaper.
                floor = floor[weighted] - np.array([_patch_s(target, workload, i, runs.activation_bits) for i in weighted])
                arithmetic = arithmetic - np.array([_patch_s(target, workload, i, activation_bits) for i in weighted])
            else:
                floor = floor[weighted]
            assert np.all(arithmetic >= floor * (1 - 1e-9))


@every_device
@few
@example(seed=2177, factor=1.5)  # a copy of weights that is as fast as none
@given(seed=seeds, factor=st.floats(0.01, 100.0))
def test_units_scale(name: str, seed: int, factor: float) -> None:
    """The same device by a clock that ticks ``factor`` times as fast: seconds are multiplied, bytes and joules stay."""
    target = catalogue.load(name)
    changed = {}
    for key, quantity in target.quantities():
        if key.endswith(("bytes_per_s", "clock_hz")) or "rates." in key or key.endswith("static_w"):
            changed[key] = quantity.value / factor
        elif key.endswith("_s"):
            changed[key] = quantity.value * factor
    slower = with_numbers(target, {key: Quantity(value=value) for key, value in changed.items()})
    workload = random_network(np.random.default_rng(seed))
    before, after = price(target, workload), price(slower, workload)
    plans = random_plans(before, 20, seed)
    ours, theirs = cost.estimate(before, plans), cost.estimate(after, plans)
    np.testing.assert_allclose(theirs.latency_s, ours.latency_s * factor, rtol=1e-9)
    np.testing.assert_allclose(theirs.energy_j, ours.energy_j, rtol=1e-9)
    np.testing.assert_array_equal(theirs.weight_bytes, ours.weight_bytes)
    np.testing.assert_array_equal(theirs.peak_activation_bytes, ours.peak_activation_bytes)


@every_device
@few
@given(seed=seeds)
def test_the_order_of_independent_layers_does_not_matter(name: str, seed: int) -> None:
    """Two branches that meet in a sum, each layer of one before or after the layers of the other: all that a schedule may change
    is how much is alive at once, which cannot matter where everything fits, and which weights have time to arrive ahead."""
    target, rng = catalogue.load(name), np.random.default_rng(seed)
    if target.npu is not None and target.npu.weights_ahead is not None:
        target = with_numbers(target, {"npu.weights_ahead": Quantity(value=0.0)})
    widths = [8 * int(rng.integers(1, 4)) for _ in range(4)]
    orders = [list(rng.permutation([0] * 3 + [1] * 3)) for _ in range(2)]
    # What an Ethos-U copies ahead hides behind the layer before: without copies.
    with mock.patch.object(buffering, "decide", return_value=None):
        prices = [
            cost.uniform(
                target, two_branches(order, widths), max(target.native, key=lambda p: (-p.weight_bits, -p.activation_bits))
            )
            for order in orders
        ]
    assert prices[0].latency_s == pytest.approx(prices[1].latency_s, rel=1e-9)
    assert prices[0].energy_j == pytest.approx(prices[1].energy_j, rel=1e-9)
    assert prices[0].weight_bytes == prices[1].weight_bytes


def two_branches(order: list[int], widths: list[int]) -> Workload:
    """A head, two branches of three layers executed in the given order of branches, and their sum."""
    channels, size = [8, 8, *widths[:2], 16, *widths[2:], 16], 6
    layers = [make_layer("head", "conv", (0,), 1, 64 * size**2, 64, 8)]
    inside = {0: [1, 2, 3, 4], 1: [1, 5, 6, 7]}
    done = [0, 0]
    producers = {0: -1, 1: 0}
    for branch in order:
        source, target = inside[branch][done[branch]], inside[branch][done[branch] + 1]
        kernel = (1, 1) if done[branch] == 1 else (3, 3)
        weights = kernel[0] * kernel[1] * channels[source] * channels[target]
        producers[target] = len(layers)
        name = f"{branch}.{done[branch]}"
        layers.append(
            make_layer(name, "conv", (source,), target, weights * size**2, weights, channels[target], kernel, activation="relu")
        )
        done[branch] += 1
    producers[8] = len(layers)
    layers.append(make_layer("sum", "add", (4, 7), 8))
    tensors = tuple(
        Tensor(f"t{t}", c, size, size, producers[t], tuple(i for i, x in enumerate(layers) if t in x.inputs), t)
        for t, c in enumerate([*channels, 16])
    )
    return Workload("branches", tuple(layers), tensors, tuple(t.name for t in tensors))


def _patch_s(target: Device, workload: Workload, row: int, bits: int) -> float:
    layer = workload.layers[row]
    assert target.mcu is not None
    depthwise = layer.groups == workload.tensors[layer.inputs[0]].channels > 1
    if layer.kernel == (1, 1) or (depthwise and not target.mcu.gathers_depthwise):
        return 0.0
    pixels = workload.tensors[layer.output].height * workload.tensors[layer.output].width
    patch = layer.kernel[0] * layer.kernel[1] * workload.tensors[layer.inputs[0]].channels * (2 if bits > 8 else 1)
    return pixels * patch * target.mcu.cycles_per_im2col_byte.value / target.mcu.clock_hz.value
