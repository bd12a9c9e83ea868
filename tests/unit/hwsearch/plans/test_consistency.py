"""What a plan and its integers say of the enlargement."""

from __future__ import annotations

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
