"""Damaged plans, integers, model files and pictures: a message and an exit code, never a traceback and never half a file.

Hypothesis cuts files, flips their bytes, and puts absurd values into plans.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lone_plan import lone_plan
from onnx import numpy_helper
from PIL import Image
from random_networks import float_graph, quantize

from hwmodels.errors import FileError, HwsearchError, UsageError
from hwsearch.cli import main
from hwsearch.documents.files import write_json
from hwsearch.formats.reading import pricing
from hwsearch.formats.reading.readers import inspect
from hwsearch.formats.writing.exporters import EXPORTERS
from searchspaces.data import decoding

FEW = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
REFUSED = (2, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan with its integers, as a run writes them, and an exported file."""
    folder = tmp_path_factory.mktemp("whole")
    q = quantize(float_graph("fsrcnn-relu"), 5, 7)
    plan = lone_plan(folder, q, {"input": 7})
    write_json(folder / "plan-01.json", plan)
    EXPORTERS["onnx"](q, folder / "net.onnx", metadata=plan.origin)
    return folder


def damaged(data: bytes, draw: st.DataObject) -> bytes:
    """A file cut short, or with some bytes changed."""
    if draw.draw(st.booleans(), label="cut"):
        return data[: draw.draw(st.integers(0, len(data) - 1))]
    changed = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 8))):
        changed[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    return bytes(changed)


@FEW
@given(draw=st.data())
@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_damaged_plan_is_refused_or_exported_whole(suffix: str, folder: Path, tmp_path: Path, draw: st.DataObject) -> None:
    for kind in (".json", ".safetensors"):
        data = (folder / f"plan-01{kind}").read_bytes()
        (tmp_path / f"plan-01{kind}").write_bytes(damaged(data, draw) if kind == suffix else data)
    out = tmp_path / "out" / "net.onnx"
    out.unlink(missing_ok=True)
    code = main(["export", str(tmp_path / "plan-01.json"), "--out", str(out), "--quiet"])
    assert code in (0, *REFUSED)
    if code == 0:
        onnx.checker.check_model(onnx.load(out))
    else:
        assert not out.exists()
    assert not out.parent.exists() or [p.name for p in out.parent.iterdir()] == (["net.onnx"] if code == 0 else [])


@pytest.mark.parametrize("name", EXPORTERS)
@pytest.mark.parametrize("what", ["nan scale", "zero scale", "infinite bias", "huge codes", "other graph"])
def test_no_exporter_writes_numbers_that_make_no_network(name: str, what: str, tmp_path: Path) -> None:
    q = quantize(float_graph("fsrcnn-relu"))
    first = q.graph.convs[0].name
    layer, fmt = q.layers[first], q.formats[first]
    match what:
        case "nan scale":
            scale = np.full_like(layer.scale, np.nan)  # type: ignore[union-attr]
            bad = replace(q, layers={**q.layers, first: replace(layer, scale=scale)})  # type: ignore[call-arg]
        case "zero scale":
            bad = replace(q, formats={**q.formats, first: replace(fmt, scale=0.0)})
        case "infinite bias":
            bad = replace(q, layers={**q.layers, first: replace(layer, bias=layer.bias + 2**40)})
        case "huge codes":
            bad = replace(q, formats={**q.formats, first: replace(fmt, qmax=70000)})
        case _:
            bad = replace(q, layers={key: value for key, value in q.layers.items() if key != first})
    path = tmp_path / "file"
    with pytest.raises(HwsearchError):
        EXPORTERS[name](bad, path)
    assert list(tmp_path.iterdir()) == []


@FEW
@given(draw=st.data())
def test_a_damaged_model_file_is_refused_or_read(folder: Path, tmp_path: Path, draw: st.DataObject) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(damaged((folder / "net.onnx").read_bytes(), draw))
    with contextlib.suppress(HwsearchError):
        found = inspect(path)
        assert found.layers
        assert pricing.price(found, "jetson", (24, 32)).latency_s > 0


def edited(folder: Path, change) -> onnx.ModelProto:  # type: ignore[no-untyped-def]
    model = onnx.load(folder / "net.onnx")
    change(model.graph)
    return model


def absurd_shape(graph: onnx.GraphProto) -> None:
    weight = next(t for t in graph.initializer if t.name.endswith(".weight"))
    weight.dims[0] = 2**40


def outside(graph: onnx.GraphProto) -> None:
    weight = next(t for t in graph.initializer if t.name.endswith(".weight"))
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")


def dangling(graph: onnx.GraphProto) -> None:
    graph.node[3].input[0] = "nothing"


def no_output(graph: onnx.GraphProto) -> None:
    del graph.output[:]


def two_inputs(graph: onnx.GraphProto) -> None:
    graph.input.add().CopyFrom(onnx.helper.make_tensor_value_info("other", 1, [1, 1, 8, 8]))


def negative_factor(graph: onnx.GraphProto) -> None:
    shuffle = next(node for node in graph.node if node.op_type == "DepthToSpace")
    next(a for a in shuffle.attribute if a.name == "blocksize").i = 0


@pytest.mark.parametrize("change", [absurd_shape, outside, dangling, no_output, two_inputs, negative_factor])
def test_models_that_make_no_sense_are_refused_with_a_reason(change, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "net.onnx"
    path.write_bytes(edited(folder, change).SerializeToString())
    with pytest.raises(FileError, match=r"net\.onnx"):
        inspect(path)
    assert main(["inspect", str(path), "--json"]) == 3


def test_what_is_no_model_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.pt").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"\.onnx"):
        inspect(tmp_path / "net.pt")
    with pytest.raises(FileError, match="no such file"):
        inspect(tmp_path / "absent.onnx")
    assert main(["inspect", str(tmp_path / "net.pt"), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["hint"]


@FEW
@given(draw=st.data())
def test_a_damaged_picture_is_refused_or_read(tmp_path: Path, draw: st.DataObject) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(whole)
    path = tmp_path / "damaged.png"
    path.write_bytes(damaged(whole.read_bytes(), draw))
    with contextlib.suppress(FileError):
        assert decoding.load_picture(path).ndim == 3


def test_a_tensor_of_text_is_no_weight(folder: Path, tmp_path: Path) -> None:
    def text(graph: onnx.GraphProto) -> None:
        weight = next(t for t in graph.initializer if t.name.endswith(".weight"))
        weight.CopyFrom(numpy_helper.from_array(np.array(["a", "b"], dtype=object), weight.name))

    (tmp_path / "net.onnx").write_bytes(edited(folder, text).SerializeToString())
    with pytest.raises(FileError):
        inspect(tmp_path / "net.onnx")
