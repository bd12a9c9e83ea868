"""Built-in convolutional networks, small and with random weights, in integers at 8 and 16 bits: the engine is what is simulated,
and what ONNX Runtime computes of the exported file."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from hwsearch.formats.onnx.write import to_model
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer
from searchspaces.ir.graph import execute
from searchspaces.ir.lower import to_workload
from searchspaces.networks import registry
from searchspaces.networks.adapted import value_range
from searchspaces.networks.registry import NETWORKS
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace

SMALL = {
    "etds": {"m": 2, "c": 8},
    "lapsrn": {"depth": 2, "width": 8},
    "carn_m": {"width": 16, "groups": 4},
    "srvgg": {"depth": 3, "width": 8},
    "srmdnf": {"depth": 4, "width": 8, "code": 5},
    "rrdb": {"n_blocks": 1, "width": 8, "growth": 4},
    "pan": {"nf": 8, "unf": 6, "n_blocks": 2},
    "rfdn": {"nf": 12, "n_blocks": 2},
    "bsrn": {"nf": 8, "n_blocks": 2},
    "rcan": {"n_groups": 1, "n_blocks": 2, "n_feats": 8, "reduction": 4},
    "rcan_basicsr": {"n_groups": 1, "n_blocks": 2, "n_feats": 8, "reduction": 4},
    "resnet18": {"width": 4, "classes": 10},
    "vgg16": {"width": 2, "hidden": 12, "classes": 10},
}


def pictures(count: int, channels: int, size: tuple[int, int]) -> list[Tensor]:
    random = torch.Generator().manual_seed(4)
    coarse = torch.rand(count, channels, 7, 9, generator=random)
    return list(torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1).split(1))


@cache
def calibrated(name: str) -> tuple[Calibration, Tensor]:
    """A network of that name, calibrated, and another picture."""
    known, torch_state = NETWORKS[name], torch.get_rng_state()
    torch.manual_seed(7)
    module: nn.Module = registry.build(name, known.scales[0], **SMALL[name])
    torch.set_rng_state(torch_state)
    if known.value_range:
        values = value_range.parse(known.value_range)
        module = value_range.Ranged(module, values, None if known.task else values).eval()
    size = known.size if known.size and name == "vgg16" else (32, 36)
    channels = known.channels or 3
    graph = trace(module, channels, name, size=size if name == "vgg16" else None)
    *seen, other = pictures(4, channels, size)
    space = build_space(to_workload(graph, *size), (8,), (8, 16))
    return calibrate(graph, seen, space, method="minmax"), other


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("bits", [8, 16])
def test_the_engine_is_what_is_simulated(name: str, bits: int) -> None:
    calibration, x = calibrated(name)
    quantized = calibration.quantized(calibration.space.uniform(8, bits))
    step = quantized.formats[quantized.graph.output.name].scale
    run, simulated = integer.run(quantized, x), calibration.simulate(calibration.space.uniform(8, bits), x)
    codes = (run - simulated).abs() / step
    assert float((codes > 0.5).float().mean()) < (0.005 if bits == 8 else 0.1)
    assert float(codes.max()) < (1.5 if bits == 8 else 2.5)


@pytest.mark.parametrize("name", SMALL)
def test_sixteen_bits_are_nearer_to_floating_point(name: str) -> None:
    calibration, x = calibrated(name)
    with torch.no_grad():
        real = execute(calibration.graph, x)
    runs = [integer.run(calibration.quantized(calibration.space.uniform(8, bits)), x) for bits in (8, 16)]
    eight, sixteen = (float((run - real).square().mean()) for run in runs)
    assert sixteen < 0.7 * eight


@pytest.mark.parametrize("name", SMALL)
def test_the_engine_is_onnx_runtime(name: str) -> None:
    """Code for code where that is claimed; a resize or a deviation in floating point may tip a rounding."""
    calibration, x = calibrated(name)
    quantized = calibration.quantized(calibration.space.uniform(8, 8))
    session = onnxruntime.InferenceSession(to_model(quantized).SerializeToString(), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    codes = np.abs(theirs - integer.run(quantized, x).numpy()) / quantized.formats[quantized.graph.output.name].scale
    assert integer.exact(quantized) == (name not in ("pan", "rfdn", "bsrn"))
    if integer.exact(quantized):
        assert codes.max() < 0.5
    else:
        assert (codes > 0.5).mean() < 0.02
