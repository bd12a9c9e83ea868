"""Plans that are stored alike are one plan: a layer has the width in which the device keeps it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwmodels import cost
from hwmodels.device import catalogue
from hwsearch.problem.pose import Problem, pose
from hwsearch.problem.request import Request
from hwsearch.search.propose import random_plans
from searchspaces.ir.lower import to_workload
from searchspaces.networks import registry
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace

DEVICES = ("jetson-orin-nano", "jetson-agx-orin-dla", "rk3588", "mali-g78")
"""They build half-precision weights for layers that run in half precision, however these were rounded."""


@pytest.fixture(scope="module", params=DEVICES)
def problem(request: pytest.FixtureRequest) -> Problem:
    return pose(Request(target=request.param))


def test_a_layer_has_the_width_that_is_stored(problem: Problem) -> None:
    space = problem.space
    for plan in random_plans.sample(space, 60, seed=1):
        for layer in cost.explain(problem.table, plan):
            if layer["weight_bytes"]:
                stored = {"fp16": 16, "8 bit": 8}[layer["stored_as"]]
                assert layer["weight_bits"] == stored
        # By hand: the mean over weights of what is stored.
        rows = [layer for layer in cost.explain(problem.table, plan) if layer["weight_bytes"]]
        counts = [layer.weight_count for layer in problem.workload.layers if layer.weight_count]
        mean = sum(n * (16 if row["stored_as"] == "fp16" else 8) for n, row in zip(counts, rows, strict=True)) / sum(counts)
        assert space.counting is not None
        assert space.counting.mean_bits(np.asarray(plan))[0] == pytest.approx(mean)


def test_what_becomes_of_a_choice_costs_the_same(problem: Problem) -> None:
    """Every price of a plan as chosen is that of the plan that it is taken for."""
    space = problem.space
    chosen = space.random(np.random.default_rng(0), 300)
    taken = np.stack([np.asarray(space.row(choices)) for choices in chosen])
    assert (chosen != taken).any()
    assert (chosen <= taken).all()
    for before, after in zip(cost.estimate(problem.table, chosen), cost.estimate(problem.table, taken), strict=True):
        assert np.array_equal(before, after, equal_nan=True)


def test_plans_are_counted_once() -> None:
    device, net = catalogue.load("jetson"), registry.build("espcn", 2)
    workload = to_workload(trace(net, 3, "espcn"), 24, 32)
    space = build_space(workload, device.weight_formats, device.tensor_formats, stored=device.keeps)
    options = [space.choices(d) for d in range(space.decisions)]
    assert space.size == len({space.row(choices) for choices in itertools.product(*options)})
    assert space.size < np.prod([len(own) for own in options])


def test_a_width_that_a_person_fixed_stays_and_counts_as_stored() -> None:
    problem = pose(Request(target="jetson", weight_bits=(8,)))
    space = problem.space
    plan = space.uniform(8, 16)
    assert set(space.named(plan)[0].values()) == {8}
    assert space.counting is not None
    assert space.counting.mean_bits(np.asarray(plan))[0] == 16
    assert space.counting.mean_bits(np.asarray(space.uniform(8, 8)))[0] == 8


def test_devices_that_expand_weights_when_they_load_them_keep_them_narrow() -> None:
    problem = pose(Request(target="adreno-740"))
    plan = problem.space.uniform(8, 16)
    assert set(problem.space.named(plan)[0].values()) == {8}


@pytest.mark.parametrize("name", catalogue.names())
def test_the_rule_stands_once(name: str) -> None:
    """What the device says is kept is what its weight bytes are, for every pair of widths on offer."""
    problem = pose(Request(target=name, input_size=(24, 32)))
    device, space, table = problem.device, problem.space, problem.table
    row = next(i for i, layer in enumerate(problem.workload.layers) if layer.weight_count)
    for w, weights in enumerate(space.weight_formats):
        for a, read in enumerate(space.tensor_formats):
            kept = device.keeps(weights, read)
            assert kept.is_float == table.stored_as[row][w][a].startswith(("fp", "bf"))
            assert space.counting is not None
            assert space.counting.weight_bits[w, a] == kept.bits
