"""What a plan and its integers say of the enlargement."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from random_networks import float_graph, quantize

from hwsearch.plans.consistency import differences


@pytest.mark.parametrize(("network", "scale", "agree"), [("vdsr", 2, True), ("fsrcnn-relu", 2, True), ("fsrcnn-relu", 3, False)])
def test_a_network_behind_an_enlargement_fits_any_scale(network: str, scale: int, agree: bool) -> None:
    """Its integers enlarge by 1; others by the plan's scale."""
    q = quantize(float_graph(network))
    plan: Any = SimpleNamespace(network=q.graph.name, scale=scale, requantization=q.rule, weight_bits={}, activation_bits={})
    assert any("scale" in line for line in differences(plan, q)) != agree


def test_a_network_for_one_size_only() -> None:
    """Masks and places in it are made for pictures of one size; widths are compared without any."""
    q = quantize(float_graph("fsrcnn-relu"))
    alone = replace(q, graph=replace(q.graph, size=(20, 28)))
    groups = {name: alone.formats[name].bits for name in alone.graph.width_groups().values()}
    layers = {name: layer.bits for name, layer in alone.layers.items()}
    plan: Any = SimpleNamespace(network=q.graph.name, scale=2, requantization=q.rule, weight_bits=layers, activation_bits=groups)
    assert not differences(plan, alone)
    plan.activation_bits = groups | {alone.graph.output.name: 4}
    assert differences(plan, alone)
