"""Transformers with published weights in integers: what they lose, and how near they stay to floating point."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer
from searchspaces.data import pictures
from searchspaces.data.pictures import Pair
from searchspaces.ir.graph import Graph, execute
from searchspaces.networks import registry
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.reductions.norm import LayerNorm
from searchspaces.space import PlanRow, build_space
from searchspaces.tasks.image import to_picture
from searchspaces.tasks.metrics import psnr_y
from searchspaces.tracing.trace import to_workload, trace

SCALE = 4


def residual_stream(graph: Graph) -> set[str]:
    """Width groups of what is added up, and of what normalizations read."""
    groups = graph.width_groups()
    added = {
        name for node in graph.nodes if isinstance(node.op, Add) and len(node.inputs) == 2 for name in (*node.inputs, node.name)
    }
    return {groups[name] for name in added} | {groups[n.inputs[0]] for n in graph.nodes if isinstance(n.op, LayerNorm)}


@pytest.fixture(scope="module")
def mobilesr(shared: Path) -> tuple[Calibration, Pair]:
    """The network, calibrated on sixteen photos by their extremes, and one picture of Set5."""
    network = registry.load("mobilesr", scale=SCALE, weights=shared / "data" / "weights" / "mobilesr_x4.safetensors")
    graph = trace(network.module, 3, "mobilesr", SCALE)
    photos = pictures.load_folder(shared / "data" / "photos" / "train")[:16]
    crops = [crop.low for crop in pictures.crops(photos, SCALE, 3)]
    calibration = calibrate(graph, crops, build_space(to_workload(graph, 64, 64), (8,), (8, 16)), method="minmax")
    (butterfly,) = (one for one in pictures.load_folder(shared / "data" / "Set5") if one.name == "butterfly")
    return calibration, pictures.make_pair(butterfly.name, butterfly.rgb, SCALE, 3)


def plan(calibration: Calibration, wide: set[str]) -> PlanRow:
    """8 bits everywhere but in these groups, which have 16."""
    space = calibration.space
    layers = dict.fromkeys(space.layer_names, 8)
    return space.plan(layers, {name: 16 if name in wide else 8 for name in space.group_names})


@pytest.mark.parametrize(
    ("tensors", "most_lost_db", "least_db"), [("8", 0.4, 37), ("residual stream", 0.18, 43), ("16", 0.06, 50)]
)
def test_mobilesr_in_integers(mobilesr: tuple[Calibration, Pair], tensors: str, most_lost_db: float, least_db: float) -> None:
    """Measured on butterfly, the hardest of Set5: 0.297, 0.139 and 0.039 dB lost; 38.1, 44.2 and 51.5 dB to floating point."""
    calibration, pair = mobilesr
    graph = calibration.graph
    wide = {"8": set(), "residual stream": residual_stream(graph), "16": set(calibration.space.group_names)}[tensors]
    with torch.no_grad():
        real = execute(graph, pair.low)
    found = integer.run(calibration.quantized(plan(calibration, wide)), pair.low)

    def psnr(y: Tensor) -> float:
        return psnr_y(to_picture(y), pair.high, SCALE)

    assert -0.02 < psnr(real) - psnr(found) < most_lost_db
    error = (real.clamp(0, 1) - found.clamp(0, 1)).square().mean()
    assert float(-10 * torch.log10(error)) > least_db
