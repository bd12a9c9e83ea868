"""Quotients of 0 / 0, which few bits make of small numbers: nothing, in the simulation as in the integer engine."""

from __future__ import annotations

import byte_ends
import torch
from dividing_network import Dividing
from torch import Tensor

from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.simulate import simulated
from searchspaces.ir.graph import execute
from searchspaces.ir.lower import to_workload
from searchspaces.ops.maps.elementwise import Div
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace


def test_the_simulation_and_the_engine_agree() -> None:
    graph = trace(Dividing(), 1, "dividing")
    pictures = [torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    space = build_space(to_workload(graph, 16, 16), (4, 8), (4, 8))
    quantized = byte_ends.draft_of(calibrate(graph, pictures, space, method="mse"), 4, 4).quantized
    (quotient,) = (node for node in graph.nodes if isinstance(node.op, Div))
    seen: dict[str, Tensor] = {}
    execute(graph, pictures[0], lambda node, y: seen.setdefault(node.name, y))
    above, below = (quantized.formats[name].fake(seen[name]) for name in quotient.inputs)
    assert float(seen[quotient.inputs[1]].min()) > 0
    assert bool(((above == 0) & (below == 0)).any())
    found = simulated(quantized, pictures[0])
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found, integer.run(quantized, pictures[0]), rtol=0, atol=1e-6)
