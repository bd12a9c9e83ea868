"""Networks of tokens end to end: calibrated, simulated and run in integers at 8 and 16 bits."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import onnxruntime
import pytest
import torch
from block_networks import build
from torch import Tensor

from hwmodels.errors import UsageError
from hwsearch.formats.onnx.write import to_model
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.network import storage
from hwsearch.quant.observe.sizes import Sizes, several
from searchspaces.ir.graph import Graph, execute
from searchspaces.ir.lower import to_workload
from searchspaces.ir.shapes import known_channel_axes, shapes
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.reductions.softmax import Softmax
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace

SIZE = (24, 32)


@cache
def traced(name: str) -> Graph:
    return trace(build(name), 3, name, size=SIZE if name == "shifted" else None)


def pictures(count: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(4)
    coarse = torch.rand(count, 3, 7, 9, generator=random)
    return list(torch.nn.functional.interpolate(coarse, size=(40, 44), mode="bicubic").clamp(0, 1).split(1))


@cache
def calibrated(name: str) -> Calibration:
    graph = traced(name)
    space = build_space(to_workload(graph, *SIZE), (8,), (8, 16))
    return calibrate(graph, pictures(6), space, method="minmax")


def snr_db(found: Tensor, exact: Tensor) -> float:
    """Signal to noise of an output, of what a picture can show."""
    shown = exact.clamp(0, 1)
    signal = (shown - shown.mean()).square().mean()
    return float(10 * torch.log10(signal / (found.clamp(0, 1) - shown).square().mean()))


@pytest.mark.parametrize("name", ["swin", "shifted", "hat", "transposed", "naf", "attention"])
def test_more_bits_are_nearer_to_floating_point(name: str) -> None:
    """Simulated; and in integers the same up to rare codes that a rounding tips."""
    calibration, graph = calibrated(name), traced(name)
    x = Sizes((24, 32)).fitted(pictures(7)[-1])
    with torch.no_grad():
        exact = execute(graph, x)
    heard = []
    for bits in (8, 16):
        plan = calibration.space.uniform(8, bits)
        simulated, run = calibration.simulate(plan, x), integer.run(calibration.quantized(plan), x)
        heard.append(snr_db(simulated, exact))
        assert abs(snr_db(run, exact) - heard[-1]) < 0.1 * abs(heard[-1]) + 0.3
    assert heard[1] > heard[0] + 3


def test_the_arithmetic_of_linear_layers_is_told() -> None:
    """All layers are counted: `upscale` and `validate --runtime engine` tell what runs them."""
    quantized = calibrated("swin").quantized(calibrated("swin").space.uniform(8, 8))
    counts = [int(part.split()[0]) for part in integer.path(quantized).split(", ")]
    assert sum(counts) == len(quantized.graph.convs)
    assert any(isinstance(node.op, Linear) for node in quantized.graph.convs)


@pytest.mark.parametrize("name", ["swin", "shifted"])
@pytest.mark.parametrize("method", ["output_noise", "nearest", "gptq"])
def test_methods_quantize_linear_layers(name: str, method: str) -> None:
    calibration = calibrated(name).by(method)
    graph = calibration.graph
    plan = calibration.space.uniform(8, 16)
    layer = next(node for node in graph.convs if isinstance(node.op, Linear))
    held, rounded = layer.weights["weight"], calibration.weight(layer.name, 0)
    assert held.shape == rounded.shape
    assert 0 < (held - rounded).abs().max() <= 4 * held.abs().amax() / 127
    integers = calibration.quantized(plan).layers[layer.name]
    assert integers.weight.shape == (*held.shape, 1, 1)


def test_a_plan_is_polished_one_picture_at_a_time() -> None:
    calibration = calibrated("shifted").by("output_noise")
    finished = calibration.finished(calibration.space.uniform(8, 8))
    assert integer.run(finished, Sizes(SIZE).fitted(pictures(1)[0])).isfinite().all()


def test_shares_have_the_grid_of_runtimes() -> None:
    calibration = calibrated("swin")
    name = next(node.name for node in calibration.graph.nodes if isinstance(node.op, Softmax))
    eight, sixteen = (calibration.format(name, choice) for choice in (0, 1))
    assert (eight.scale, eight.zero_point) == (1 / 256, 0)
    assert (sixteen.scale, sixteen.zero_point) == (1 / 32768, 32768)


def test_channels_are_known_where_no_picture_changes_their_number() -> None:
    graph = traced("swin")
    axes, small, large = known_channel_axes(graph), shapes(graph, 16, 20), shapes(graph, 40, 28)
    known = [name for name, axis in axes.items() if axis is not None]
    assert all(small[name][axes[name]] == large[name][axes[name]] for name in known)
    assert {"head", "block.attn.qkv", "norm", "tail.1"} <= set(known)


def test_pictures_are_brought_to_sizes_that_the_network_takes() -> None:
    x = pictures(1)[0]
    assert Sizes(None, 16).fitted(x).shape == (1, 3, 32, 32)
    assert torch.equal(Sizes(None, 16).fitted(x), x[:, :, 4:36, 6:38])
    larger = Sizes((48, 30)).fitted(x)
    assert larger.shape == (1, 3, 48, 30)
    assert torch.equal(larger[:, :, 4:44], x[..., 7:37])
    assert torch.equal(larger[:, :, 3], larger[:, :, 4])


def test_several_pictures_at_once_only_where_the_graph_takes_them() -> None:
    assert several(traced("swin"))
    assert not several(traced("shifted"))


def test_the_size_of_a_network_is_stored(tmp_path: Path) -> None:
    calibration = calibrated("shifted")
    q = calibration.quantized(calibration.space.uniform(8, 8))
    again = storage.load(tmp_path / "q", storage.save(q, tmp_path / "q"))
    assert (again.graph.size, again.graph.multiple) == (SIZE, 1)
    x = Sizes(SIZE).fitted(pictures(1)[0])
    assert torch.equal(integer.run(again, x), integer.run(q, x))
    session = onnxruntime.InferenceSession(to_model(q).SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, 3, *SIZE]
    step = q.formats[q.graph.output.name].scale
    theirs = torch.from_numpy(session.run(None, {"input": x.numpy()})[0])
    assert (theirs - integer.run(q, x)).abs().max() < 3.5 * step  # layer normalization is a float island there
    with pytest.raises(UsageError, match=r"traced for 24x32 pixels .*, not for 40x40"):
        integer.run(again, torch.rand(1, 3, 40, 40))
