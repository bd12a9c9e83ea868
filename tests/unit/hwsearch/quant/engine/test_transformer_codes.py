"""Transformers that ship in code, small and with random weights: calibrated, and run in integers at 8 and 16 bits."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer, simulate
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Node, execute
from searchspaces.ir.lower import to_workload
from searchspaces.networks import registry
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace

SMALL = {
    "mobilesr": {"width": 16},
    "imdtn": {"width": 16},
    "ngswin": {"width": 16, "outer": 2, "inner": 1},
    "eswt": {"width": 20, "groups": 1, "depth": 2},
    "swinir": {"width": 12, "groups": 1, "depth": 2, "heads": 2, "side": 4, "inner": 24},
}
SIDES = (24, 30)
ALL_CODES = ("mobilesr", "eswt", "swinir")
"""Networks of which every 8-bit code is simulated."""


def picture(seed: int) -> torch.Tensor:
    return torch.rand(1, 3, *SIDES, generator=torch.Generator().manual_seed(seed))


@cache
def calibrated(name: str) -> Calibration:
    torch.manual_seed(0)
    module = registry.build(name, registry.spec(name).scales[0], **SMALL[name])
    graph = trace(module, 3, name, size=SIDES)
    space = build_space(to_workload(graph, *SIDES), (8,), (8, 16))
    return calibrate(graph, [picture(seed) for seed in range(2)], space, method="minmax")


@pytest.mark.parametrize("name", SMALL)
def test_integers_are_what_is_simulated(name: str) -> None:
    """Codes differ by little beside what quantization itself changes, and 16 bits are nearer to floating point than 8."""
    calibration, x = calibrated(name), picture(9)
    with torch.no_grad():
        real = execute(calibration.graph, x)
    errors = {}
    for bits in (8, 16):
        plan = calibration.space.uniform(8, bits)
        found, simulated = integer.run(calibration.quantized(plan), x), calibration.simulate(plan, x)
        errors[bits] = float((found - real).square().mean())
        assert float((found - simulated).square().mean()) < 0.25 * errors[bits]
        if bits == 8 and name in ALL_CODES:
            assert float((found != simulated).double().mean()) < 0.05  # on some processors none: a code tips by the order of sums
    assert errors[16] < errors[8]


@pytest.mark.parametrize("name", ALL_CODES)
def test_operators_of_mixed_plans_are_simulated_to_a_code(name: str) -> None:
    """Where 8 and 16 bits meet, a code of 8 bits that tips is 256 codes of 16 bits behind it, so whole networks say nothing: each
    operator, for the codes that the simulation has before it, must give what is simulated, up to one code in one of fifty: sums
    in single precision are those of the processor."""
    calibration, x = calibrated(name), picture(9)
    space, draw = calibration.space, np.random.default_rng(0)
    wide = {group: int(draw.choice([8, 16])) for group in space.group_names}
    quantized = calibration.quantized(space.plan(dict.fromkeys(space.layer_names, 8), wide))
    for node, own, simulated in by_operator(quantized, x):
        difference = (own - simulated).abs()
        assert difference.max() <= 1, node.name
        assert (difference > 0).double().mean() < 0.02, node.name


def by_operator(quantized: QuantizedGraph, x: Tensor) -> list[tuple[Node, Tensor, Tensor]]:
    """Every operator with what the engine and what the simulation write, for what the simulation reads; codes less the zero
    point, in float64."""
    formats, found = quantized.formats, []
    graph, steps = quantized.graph.at(*x.shape[2:]), integer.engine(quantized).steps_for(*x.shape[2:])

    def layer(node: Node) -> simulate.Prepared:
        return simulate.prepare(node, quantized.layers[node.name], formats[node.inputs[0]], formats[node.name])

    simulated: dict[str, Tensor] = {}
    with torch.no_grad():
        for node in graph.nodes:
            site = simulate.Site(node, [formats[name] for name in node.inputs], formats[node.name], layer)
            before = [simulated[name] for name in node.inputs]
            step = simulate.SIMULATED.get(node.op)
            assert step is not None
            simulated[node.name] = step(site, before or [x])
            carried = [fmt.carried(value) for fmt, value in zip(site.before, before, strict=True)]
            own = formats[node.name].shifted(steps[node.name](carried or [x]))
            found.append((node, own.double(), simulated[node.name].double()))
    return found
