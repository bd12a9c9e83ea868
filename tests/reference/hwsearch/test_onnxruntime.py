"""The exported file under ONNX Runtime against the integer engine: every output code equal; and what an exported file must be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from random_networks import MODULES, float_graph, picture, quantize

from hwmodels.errors import FileError, MismatchError, UsageError
from hwmodels.numbers import FP16, Int
from hwsearch.contracts import check_exporter
from hwsearch.formats.onnx import ort
from hwsearch.formats.onnx import write as exported
from hwsearch.formats.running import reach
from hwsearch.formats.running.runtime import compare
from hwsearch.formats.writing.exporters import EXPORTERS, exporter
from hwsearch.plans import verify
from hwsearch.plans.enlarge.tiles import Tiles, in_strips
from hwsearch.quant.engine import integer
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from searchspaces.data.pictures import Pair
from searchspaces.ir.graph import execute
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.task import Signature

WIDTHS = [(8, 8), (4, 8), (3, 5), (2, 2), (6, 4), (8, 16), (4, 16), (5, 7)]


def outputs(q: QuantizedGraph, height: int = 21, width: int = 30) -> tuple[np.ndarray, np.ndarray, bytes]:
    """Decoded outputs of ONNX Runtime and of the engine, on a picture that was not used to set ranges; and the file."""
    data = exported.to_model(q).SerializeToString()
    x = picture(q.graph, height, width, seed=77)
    return exported.session(data, threads=1).run(None, {"input": x.numpy()})[0], integer.run(q, x).numpy(), data


@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS)
@pytest.mark.parametrize("name", MODULES)
def test_every_code_is_equal_and_no_convolution_is_left_in_floating_point(
    name: str, weight_bits: int, activation_bits: int
) -> None:
    q = quantize(float_graph(name), weight_bits, activation_bits)
    theirs, ours, data = outputs(q)
    assert len(np.unique(ours)) >= min(2**activation_bits, 12) / 2
    assert np.array_equal(theirs, ours)
    exported.assert_integer(q, data)
    assert integer.exact(q)


@pytest.mark.parametrize("name", MODULES)
def test_symmetric_activations_are_equal_too(name: str) -> None:
    theirs, ours, _ = outputs(quantize(float_graph(name), symmetric=True))
    assert np.array_equal(theirs, ours)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_interpolation_is_within_one_code(mode: str) -> None:
    from random_networks import Attention

    from searchspaces.tracing.trace import trace

    torch.manual_seed(0)
    q = quantize(trace(Attention(mode=mode).eval(), 3, mode))
    theirs, ours, _ = outputs(q, 22, 30)
    assert not integer.exact(q)
    different, beyond, total = compare(torch.from_numpy(theirs), torch.from_numpy(ours), q.formats[q.graph.output.name])
    assert beyond == 0
    assert different < 0.02 * total


@pytest.mark.parametrize("name", MODULES)
def test_half_precision_is_within_one_picture_level(name: str) -> None:
    q = quantize(float_graph(name), 8, 16, wide=FP16)
    theirs, ours, data = outputs(q, 22, 30)
    exported.assert_integer(q, data)
    assert np.abs(theirs - ours).max() <= 2e-3 * np.abs(ours).max()


def test_int8_and_half_precision_layers_may_follow_each_other() -> None:
    graph = float_graph("fsrcnn-prelu")
    first = graph.convs[0].name
    q = quantize(graph, 8, {first: 16}, wide=FP16)
    assert len(q.float_layers) == 1
    theirs, ours, data = outputs(q)
    different, beyond, total = compare(torch.from_numpy(theirs), torch.from_numpy(ours), q.formats[q.graph.output.name])
    assert beyond == 0
    assert different < 0.01 * total
    assert exported.assert_integer(q, data)["ConvInteger"] == len(graph.convs) - 2


def _with_int8_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with int8 weights where the exporter chose uint8 with zero point 128."""
    arrays = {t.name: t for t in model.graph.initializer}
    readers = [n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in arrays]
    for node in readers:
        old = arrays[node.input[0]]
        if old.data_type == TensorProto.UINT8:
            values = onnx.numpy_helper.to_array(old).astype(np.int16) - 128
            old.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.int8), old.name))
            zeros = onnx.numpy_helper.from_array(np.zeros(values.shape[0], np.int8), f"{old.name}.zero")
            model.graph.initializer.append(zeros)
            node.input[2] = zeros.name
    return model


def test_full_range_weights_do_not_saturate() -> None:
    """Weights of +-127 on bright pictures: with int8 weights the kernels of x86 without VNNI are wrong in most codes."""
    q = quantize(float_graph("edsr"))
    rng = np.random.default_rng(0)
    loud = {
        name: replace(layer, weight=rng.choice(np.array([-127, 127], np.int8), layer.weight.shape))
        for name, layer in q.layers.items()
        if isinstance(layer, LayerIntegers)
    }
    formats = {name: replace(f, scale=f.scale if name == "input" else f.scale * 16) for name, f in q.formats.items()}
    q = QuantizedGraph(q.graph, formats, loud)
    model = exported.to_model(q)
    x = 1 - 0.1 * picture(q.graph, seed=3)
    ours = integer.run(q, x).numpy()
    plain = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.array_equal(plain.run(None, {"input": x.numpy()})[0], ours)
    # Files of others, with int8 weights, are exact with the session option, which our files bear as well.
    ours_too = exported.session(model.SerializeToString(), threads=1, foreign=True)
    assert np.array_equal(ours_too.run(None, {"input": x.numpy()})[0], ours)
    signed = exported.session(_with_int8_weights(model).SerializeToString(), threads=1, foreign=True)
    assert np.array_equal(signed.run(None, {"input": x.numpy()})[0], ours)
    assert any("saturate" in note for note in exported.notes(q))


def test_narrow_weights_are_packed_and_the_file_shrinks(tmp_path: Path) -> None:
    graph = float_graph("edsr")
    sizes = {bits: exported.export(quantize(graph, bits), tmp_path / f"{bits}.onnx").stat().st_size for bits in (8, 4, 3, 2)}
    weights = sum(node.weights["weight"].numel() for node in graph.convs)
    assert sizes[8] - sizes[4] > 0.4 * weights
    assert sizes[4] - sizes[2] > 0.2 * weights
    assert abs(sizes[3] - sizes[4]) < 100  # the carried network is another text
    for bits, kind in ((4, TensorProto.INT4), (3, TensorProto.INT4), (2, TensorProto.INT2)):
        packed = onnx.load(tmp_path / f"{bits}.onnx").graph.initializer
        assert sum(t.data_type == kind for t in packed) == len(graph.convs)


def test_the_file_says_where_it_came_from_and_is_the_same_every_time(tmp_path: Path) -> None:
    q = quantize(float_graph("fsrcnn-relu"))
    a = exporter("onnx")(q, tmp_path / "a.onnx", metadata={"plan": "abc", "target": "jetson"})
    b = EXPORTERS["onnx"](q, tmp_path / "b.onnx", metadata={"plan": "abc", "target": "jetson"})
    assert a.read_bytes() == b.read_bytes()
    model = onnx.load(a)
    facts = {p.key: p.value for p in model.metadata_props}
    assert facts["plan"] == "abc"
    assert facts["requantization"] == "f32"
    assert model.graph.input[0].type.tensor_type.shape.dim[2].dim_param == "height"


def test_unknown_names_are_answered_with_known_ones() -> None:
    with pytest.raises(UsageError, match="onnx"):
        exporter("onx")


def test_values_that_make_no_network_are_refused_before_writing(tmp_path: Path) -> None:
    q = quantize(float_graph("fsrcnn-relu"))
    name = q.graph.convs[0].name
    layer = q.layers[name]
    assert isinstance(layer, LayerIntegers)
    nan = layer.scale.copy()
    nan[0] = np.nan
    spoiled = {
        "weight scale": replace(q, layers={**q.layers, name: replace(layer, scale=nan)}),
        "exceed 3 bits": replace(q, layers={**q.layers, name: replace(layer, bits=3)}),
        "overflow": replace(q, layers={**q.layers, name: replace(layer, bias=layer.bias + 2**33)}),
        "scale 0.0": replace(q, formats={**q.formats, name: TensorFormat(Int(8), 0.0)}),
        "do not fit": replace(q, formats={**q.formats, name: TensorFormat(Int(8), 1.0, 300)}),
    }
    for message, bad in spoiled.items():
        with pytest.raises(FileError, match=message):
            exported.export(bad, tmp_path / "bad.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(FileError, match=r"x\.onnx"):
        ort.run_onnx(tmp_path / "x.onnx")


def _pairs(q: QuantizedGraph, scale: int) -> list[Pair]:
    rng = np.random.default_rng(0)
    shape = (24 * scale, 20 * scale) + ((3,) if q.graph.channels == 3 else ())
    return [Pair(f"p{i}", picture(q.graph, seed=i), rng.integers(0, 256, shape).astype(np.float64)) for i in range(2)]


@pytest.mark.parametrize("name", ["fsrcnn-relu", "edsr"])
def test_the_proof_measures_and_finds_no_difference(name: str, tmp_path: Path) -> None:
    q = quantize(float_graph(name))
    path = exported.export(q, tmp_path / "q.onnx")
    measured = verify.prove(q, path, _pairs(q, 2), SuperResolution(Signature(2, 1)), lambda x: execute(q.graph, x))
    assert measured.mismatched_codes == 0
    assert measured.codes == 2 * 48 * 40 * (3 if name == "edsr" else 1)
    assert measured.runtime.startswith("onnxruntime")
    run = ort.run_onnx(path)
    errors = [float((run(p.low).clamp(0, 1) - execute(q.graph, p.low).clamp(0, 1)).square().mean()) for p in _pairs(q, 2)]
    assert measured.near_db == pytest.approx(-10 * np.log10(np.mean(errors)), abs=1e-3)
    same = verify.prove(q, path, _pairs(q, 2), SuperResolution(Signature(2, 1)), lambda x: integer.run(q, x))
    assert same.near_db == 120
    assert same.loss_db == 0
    assert same.quality_db == measured.quality_db


def test_the_proof_fails_when_the_file_is_another_network(tmp_path: Path) -> None:
    graph = float_graph("fsrcnn-relu")
    path = exported.export(quantize(graph, 7), tmp_path / "q.onnx")
    q = quantize(graph, 8)
    with pytest.raises(MismatchError, match="codes differ"):
        verify.prove(q, path, _pairs(q, 2), SuperResolution(Signature(2, 1)), lambda x: execute(graph, x))


def test_a_file_that_runs_in_floating_point_is_no_proof() -> None:
    q = quantize(float_graph("fsrcnn-relu"))
    floating = exported.to_model(quantize(q.graph, 8, 16, wide=FP16)).SerializeToString()
    with pytest.raises(MismatchError, match="floating point"):
        exported.assert_integer(q, floating)


def test_additions_of_this_runtime_are_those_of_the_engine_or_it_is_noticed() -> None:
    assert isinstance(ort.additions_are_fused(), bool)
    if onnxruntime.get_device() == "CPU" and "avx2" in Path("/proc/cpuinfo").read_text():
        assert ort.additions_are_fused()


@pytest.mark.parametrize("name", ["fsrcnn-prelu", "abpn", "edsr", "vdsr"])
def test_tiles_give_what_the_whole_picture_gives(name: str) -> None:
    q = quantize(float_graph(name), 4, 6)
    x = picture(q.graph, 50, 43)
    radius = reach.receptive_radius(q.graph)
    assert radius
    whole = integer.run(q, x)
    seen: list[None] = []

    def tiled(halo: int) -> torch.Tensor:
        def run(part: torch.Tensor) -> torch.Tensor:
            return integer.run(q, part)

        cut = Tiles(16, 16, halo)
        strips = in_strips(run, lambda top, bottom: x[:, :, top:bottom], 50, 43, cut, lambda: seen.append(None))
        return torch.cat([strip for _, _, strip in strips], dim=2)

    assert torch.equal(tiled(radius), whole)
    assert len(seen) == 12
    assert not torch.equal(tiled(radius // 3), whole)


def test_a_network_with_pooling_cannot_be_cut_and_strides_align_tiles() -> None:
    assert reach.receptive_radius(float_graph("attention")) is None
    assert reach.coarsest_step(float_graph("attention")) == 2
    assert reach.coarsest_step(float_graph("fsrcnn-relu")) == 1
    with pytest.raises(UsageError):
        Tiles(0, 4, 1)


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_exporter_keeps_the_contract(name: str) -> None:
    check_exporter(EXPORTERS[name])
