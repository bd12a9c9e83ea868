"""Transformers that ship in code, small and with random weights: calibrated, and run in integers at 8 and 16 bits."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer
from searchspaces.ir.graph import execute
from searchspaces.networks import registry
from searchspaces.space import build_space
from searchspaces.tracing.trace import to_workload, trace

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
            assert torch.equal(found, simulated)
    assert errors[16] < errors[8]
