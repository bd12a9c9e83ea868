"""A change of width between neighbours has a price, and the exact solver sees it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from cost_twins import space_of
from words import make_layer

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.numbers import FP16
from hwmodels.workload import Tensor, Workload
from hwsearch.search.exact import exact
from searchspaces.space import build_space

LAUNCH_S = 4.56e-6
"""Of a kernel on this board, by its device file."""


def chain_of_three() -> Workload:
    """Three convolutions of 16 channels, one after another."""
    shape = {"channels": 16, "height": 90, "width": 160}
    layers = tuple(
        make_layer(f"conv{i}", "conv", (i,), i + 1, macs=90 * 160 * 2304, weight_count=2304, bias_count=16, kernel=(3, 3))
        for i in range(3)
    )
    tensors = tuple(Tensor(f"t{i}", **shape, producer=i - 1, readers=(i,) if i < 3 else (), group=i) for i in range(4))
    return Workload("chain", layers, tensors, tuple(t.name for t in tensors))


def test_a_change_of_format_between_neighbours_costs_a_kernel_on_jetson() -> None:
    """By hand: a layer in half precision that reads codes and writes codes needs a kernel before it and one behind it."""
    workload = chain_of_three()
    target = catalogue.load("jetson")
    table = cost.lower(target, workload, space_of(target, workload))
    codes = workload.tensors[0].elements
    # The network's ends pass the DRAM.
    one_kernel_s = LAUNCH_S + codes * (1 + 2) / 68e9
    middle, w = table.overhead_s[1], table.weight_bits.index(16)
    assert middle[w, 1, 1] == pytest.approx(LAUNCH_S)
    # An integer layer scales its sums to whatever is stored: free.
    assert middle[0, 0, 1] == middle[0, 0, 0] == pytest.approx(LAUNCH_S)
    assert table.overhead_s[0][w, 0, 1] - LAUNCH_S == pytest.approx(one_kernel_s)
    assert table.overhead_s[2][w, 1, 0] - LAUNCH_S == pytest.approx(one_kernel_s)
    assert middle[w, 0, 0] > middle[w, 0, 1] > middle[w, 1, 1]
    # Its inner maps stay in the cache, which has no stated bandwidth: only the launches are left.
    assert middle[w, 0, 0] == pytest.approx(3 * LAUNCH_S)


def test_the_solver_sees_the_price_of_a_change_of_width() -> None:
    """The middle layer gains much by half precision. What that costs depends on the formats of its neighbours: the solver agrees
    with an exhaustive search, and one that did not know the price of conversion would break the budget."""
    workload = chain_of_three()
    target = catalogue.load("jetson")
    space = build_space(workload, (8, 16), (8, 16), wide=FP16)
    table = cost.lower(target, workload, space)
    blind = replace(table, latency_s=table.latency_s - table.overhead_s + LAUNCH_S)
    noise = np.zeros(space.allowed.shape)
    noise[:, 0] = [0.1, 5.0, 0.1, 0.1, 0.2, 0.2, 0.1]
    plans = np.array(list(itertools.product((0, 1), repeat=space.decisions)))
    latency = cost.estimate(table, plans).latency_s
    damage = noise[np.arange(space.decisions), plans].sum(axis=1)
    broken = 0
    for budget in np.unique(latency.round(12))[:8] + 1e-9:
        found = exact.solve(table, noise, {"latency_s": budget}, space)
        assert found.objective == pytest.approx(damage[latency <= budget].min(), abs=1e-9)
        unaware = exact.solve(blind, noise, {"latency_s": budget}, space)
        broken += int(cost.estimate(table, unaware.plan).latency_s[0] > budget)
    assert broken
