"""Measurements shared by devices: each gets what it would get alone, measured once where widths mean the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwmodels.numbers import FP16, INT8
from hwsearch.contracts import tiny_graph, tiny_pairs
from hwsearch.quality.damage import Damage
from hwsearch.quality.evaluate import Score
from hwsearch.quality.measurement_cache import MeasurementCache, union, within
from hwsearch.quality.proxies import PROXIES
from hwsearch.quant.calibrate import Calibration, calibrate
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload
from searchspaces.space import SearchSpace, build_space

WIDTHS = (((2, 4, 8), (8,)), ((4, 6, 8), (8, 16)))
"""What two devices offer: weights and tensors."""


@pytest.fixture(scope="module")
def graph() -> Graph:
    return tiny_graph()


@pytest.fixture(scope="module")
def spaces(graph: Graph) -> list[SearchSpace]:
    return [build_space(to_workload(graph, 32, 32), *widths) for widths in WIDTHS]


def untold(what: str, share: float) -> None:
    return


def test_every_device_gets_the_damage_that_it_would_get_alone(graph: Graph, spaces: list[SearchSpace]) -> None:
    pairs = tiny_pairs()
    lows = [pair.low for pair in pairs]
    both = MeasurementCache(None, spaces)  # type: ignore[arg-type]  # nothing is loaded here
    measured = []
    of_choices = {name: info for name, info in PROXIES.items() if name != "centred_sqnr"}  # that one is of a space as a whole

    def measure(whole: Calibration) -> dict[str, Damage]:
        measured.append(whole)
        return {name: info.measure(whole, pairs, 0) for name, info in of_choices.items()}

    for space in spaces:
        calibration = both.calibration(graph, lows, space, 0, untold)
        tables = both.tables(space, measure)
        alone = calibrate(graph, lows, space, seed=0)
        for name, info in of_choices.items():
            np.testing.assert_allclose(tables[name].noise, info.measure(alone, pairs, 0).noise, rtol=1e-9, err_msg=name)
        plan = space.uniform(4, 8)
        assert np.array_equal(calibration.simulate(plan, lows[0]).numpy(), alone.simulate(plan, lows[0]).numpy())
    assert len(measured) == 1


def test_a_union_holds_each_space_and_tables_are_cut_out_of_it(spaces: list[SearchSpace]) -> None:
    whole = union(spaces)
    assert (whole.weight_bits, whole.activation_bits) == ((2, 4, 6, 8), (8, 16))
    noise = np.arange(1.0, whole.allowed.size + 1).reshape(whole.allowed.shape)
    for space in spaces:
        cut = within(noise, whole, space)
        for d in range(space.decisions):
            wanted = [noise[d, whole.widths(d).index(bits)] for bits in space.widths(d)]
            assert cut[d, : len(wanted)].tolist() == wanted
            assert not cut[d, len(wanted) :].any()


@pytest.mark.parametrize(
    ("changes", "shared"), [({}, True), ({"tensor_formats": (INT8, FP16)}, False), ({"symmetric_activations": True}, False)]
)
def test_scores_are_shared_where_widths_mean_the_same(spaces: list[SearchSpace], changes: dict[str, Any], shared: bool) -> None:
    first, second = spaces[0], replace(spaces[1], **changes)
    both = MeasurementCache(None, [first, second])  # type: ignore[arg-type]
    one, other = Score(30.0, 0.1, 0.0), Score(31.0, 0.2, 0.0)
    assert both.score(first.uniform(4, 8), lambda _: one) is one
    assert both.score(second.uniform(4, 8), lambda _: other) is (one if shared else other)
    both.remember(first, [(first.uniform(2, 8), one)])
    assert both.score(first.uniform(2, 8), lambda _: other) is one
