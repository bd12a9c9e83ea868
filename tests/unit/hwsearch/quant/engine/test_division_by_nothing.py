"""Quotients of 0 / 0 and roots of what rounding took below zero, which few bits make of small numbers: nothing, in the
simulation, in the integer engine and in the file; and a damage like any other to those who measure it."""

from __future__ import annotations

import byte_ends
import numpy as np
import pytest
import torch
from dividing_network import Deviating, Dividing
from torch import Tensor, nn

from hwsearch.formats.onnx import ort, write
from hwsearch.quality.evaluate import Evaluator
from hwsearch.quality.finite import finite
from hwsearch.quality.proxies import PROXIES
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.simulate import simulated
from searchspaces.data.pictures import Pair
from searchspaces.ir.graph import Graph, execute
from searchspaces.ir.lower import to_workload
from searchspaces.ops.maps.activation import Sqrt
from searchspaces.ops.maps.elementwise import Div
from searchspaces.space import build_space
from searchspaces.tasks.image import SuperResolution
from searchspaces.tracing.trace import trace

PICTURES = [torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(i)) for i in range(4)]


def calibrated(network: nn.Module, widths: tuple[int, int], *, symmetric: bool = False) -> tuple[Graph, Calibration]:
    graph = trace(network, 1, "dividing")
    space = build_space(to_workload(graph, 16, 16), (4, 8), widths, symmetric_activations=symmetric)
    return graph, calibrate(graph, PICTURES, space, method="mse")


def test_the_simulation_and_the_engine_agree() -> None:
    graph, calibration = calibrated(Dividing(), (4, 8))
    quantized = byte_ends.draft_of(calibration, 4, 4).quantized
    (quotient,) = (node for node in graph.nodes if isinstance(node.op, Div))
    seen: dict[str, Tensor] = {}
    execute(graph, PICTURES[0], lambda node, y: seen.setdefault(node.name, y))
    above, below = (quantized.formats[name].fake(seen[name]) for name in quotient.inputs)
    assert float(seen[quotient.inputs[1]].min()) > 0
    assert bool(((above == 0) & (below == 0)).any())
    found = simulated(quantized, PICTURES[0])
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found, integer.run(quantized, PICTURES[0]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("bits", [8, 16])
def test_roots_of_what_lies_below_zero(bits: int) -> None:
    """As a table of all codes (8 bits; without zero points some are below zero) and as a function between codes (16)."""
    graph, calibration = calibrated(Deviating(), (8, 16), symmetric=True)
    quantized = byte_ends.draft_of(calibration, 8, bits).quantized
    (root,) = (node for node in graph.nodes if isinstance(node.op, Sqrt))
    below = quantized.formats[root.inputs[0]]
    assert below.scale * (below.qmin - below.zero_point) < 0
    codes = integer.run_codes(quantized, PICTURES[0])
    negative = codes[root.inputs[0]] < below.zero_point
    assert bool((codes[root.name] == quantized.formats[root.name].zero_point)[negative].all())
    with np.errstate(invalid="raise"):
        model = write.to_model(quantized).SerializeToString()
    torch.testing.assert_close(ort.run_onnx(model)(PICTURES[0]), integer.run(quantized, PICTURES[0]), rtol=0, atol=2e-4)


@pytest.mark.parametrize("network", [Dividing, Deviating])
def test_the_damage_of_such_widths_is_finite(network: type[nn.Module]) -> None:
    _, calibration = calibrated(network(), (4, 8))
    pairs = [Pair(f"{i}", low, np.zeros((32, 32), np.float32)) for i, low in enumerate(PICTURES)]
    damage = PROXIES["output_sqnr"].measure(calibration, pairs, 0, None, SuperResolution.of(pairs))
    assert np.isfinite(damage.noise).all()


def test_a_picture_with_holes_has_a_quality() -> None:
    """As a plan with half-precision tensors may give one."""
    pairs = [Pair("a", PICTURES[0], np.full((32, 32), 100.0, np.float32))]
    evaluator = Evaluator(lambda x: torch.full((1, 1, 32, 32), 0.4), pairs, SuperResolution.of(pairs))
    holes = torch.full((1, 1, 32, 32), 0.4)
    holes[0, 0, 16, 16], holes[0, 0, 16, 17] = float("nan"), float("inf")
    (loss,) = evaluator.losses_db(lambda x: holes)
    (filled,) = evaluator.losses_db(lambda x: finite(holes))
    assert loss == filled > 0
    assert finite(holes)[0, 0, 16, 16:18].tolist() == [0.0, pytest.approx(0.4)]
