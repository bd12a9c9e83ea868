"""Commands on a plan file: validate, export, upscale, estimate, and what they answer when the file is not right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from lone_plan import lone_plan
from PIL import Image

from hwsearch.cli import main
from hwsearch.documents.files import write_json
from hwsearch.documents.plan import Plan
from hwsearch.formats.c import emulator
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.network import storage
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.data import pictures
from searchspaces.ir.lower import to_workload
from searchspaces.networks.cnn.fsrcnn import FSRCNN
from searchspaces.space import build_space
from searchspaces.tracing import trace


@dataclass(frozen=True)
class Made:
    """A plan file of a small untrained network, and what it holds."""

    path: Path
    plan: Plan
    qgraph: QuantizedGraph


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    torch.manual_seed(0)
    module = FSRCNN(scale=2, channels=1, d=6, s=4, m=1).eval()
    graph = trace.trace(module, 1, "fsrcnn")
    workload = to_workload(graph, 24, 32)
    space = build_space(workload, (4, 8), (8, 16))
    crops = pictures.crops(pictures.shipped()[:2], 2, 1, count=2, size=24)
    row = space.uniform(4, 8)
    qgraph = calibrate(graph, [crop.low for crop in crops], space).quantized(row)
    folder = tmp_path_factory.mktemp("plans")
    plan = lone_plan(folder, qgraph, space.named(row)[1], d=6, s=4, m=1)
    write_json(folder / "plan-01.json", plan.sealed())
    return Made(folder / "plan-01.json", plan, qgraph)


@pytest.mark.parametrize("runtime", ["engine", "ort", "litert", "tflm"])
def test_upscale_command(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], runtime: str) -> None:
    Image.fromarray(np.zeros((9, 14, 4), dtype=np.uint8), "RGBA").save(tmp_path / "in.png")
    words = ["upscale", str(tmp_path / "in.png"), str(tmp_path / "out.png"), "--plan", str(made.path), "--runtime", runtime]
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["width"], json.loads(out)["in_one_piece"]) == (28, False)
    assert "transparency" not in err
    with Image.open(tmp_path / "out.png") as image:
        assert (image.size, image.mode) == ((28, 18), "RGBA")


def test_upscale_keeps_the_original(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "in.png"
    Image.new("RGB", (8, 8)).save(picture)
    before = picture.read_bytes()
    assert main(["upscale", str(picture), str(picture), "--plan", str(made.path)]) == 2
    assert main(["upscale", str(picture), str(tmp_path / "out.xyz"), "--plan", str(made.path)]) == 2
    assert ".png" in capsys.readouterr().err
    assert picture.read_bytes() == before


def test_export_writes_what_onnx_runtime_runs_like_the_engine(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    assert main(["export", str(made.path), "--to", "onnx", "--out", str(file), "--quiet"]) == 0
    x = torch.rand(1, 1, 11, 13, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    y = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    assert np.array_equal(np.rint(y * 255), np.rint(integer.run(made.qgraph, x).numpy() * 255))


def test_export_to_c_is_a_folder_for_one_size(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "net"
    assert main(["export", str(made.path), "--to", "c", "--input", "10x14", "--out", str(folder), "--json", "--quiet"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    header = (folder / "plan_01.h").read_text()
    assert "plan: plan-01" in header
    assert "#define PLAN_01_INPUT_HEIGHT 10\n#define PLAN_01_INPUT_WIDTH 14\n" in header
    assert main(["export", str(made.path), "--to", "onnx", "--input", "10x14", "--out", str(tmp_path / "a.onnx")]) == 2
    assert main(["export", str(made.path), "--to", "c", "--input", "10", "--out", str(folder)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_validate_on_a_microcontroller(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if missing := emulator.missing_tools():
        pytest.skip(f"NOT RUN: no {' and no '.join(missing)}. {emulator.INSTALL}")
    Image.fromarray(pictures.shipped()[0].rgb[:64, :80]).save(tmp_path / "one.png")
    assert main(["validate", str(made.path), "--images", str(tmp_path), "--runtime", "qemu", "--json", "--quiet"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["mismatched_codes"], verdict["codes"]) == (0, 64 * 80)
    assert list(verdict["instructions"]) == [node.name for node in made.qgraph.graph.nodes[1:]]
    assert min(verdict["instructions"].values()) > 0


def test_export_of_an_unknown_format_names_the_closest(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(made.path), "--to", "onxx", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], "onnx" in error["hint"]) == (2, True)


@pytest.mark.parametrize("runtime", ["engine", "ort", "litert", "tflm"])
def test_validate_measures_and_compares(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], runtime: str) -> None:
    Image.fromarray(pictures.shipped()[0].rgb[:64, :80]).save(tmp_path / "one.png")
    assert main(["validate", str(made.path), "--images", str(tmp_path), "--runtime", runtime, "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    verdict = json.loads(out)
    assert (verdict["pictures"], verdict["mismatched_codes"], verdict["codes"]) == (["one"], 0, 64 * 80)
    assert err == ""


def test_validate_refuses_integers_that_do_not_belong_to_the_plan(made: Made, tmp_path: Path) -> None:
    (tmp_path / "plan-01.json").write_bytes(made.path.read_bytes())
    assert main(["validate", str(tmp_path / "plan-01.json"), "--quiet"]) == 3
    good = (made.path.parent / "plan-01.safetensors").read_bytes()
    (tmp_path / "plan-01.safetensors").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert main(["validate", str(tmp_path / "plan-01.json"), "--quiet"]) == 3


def test_validate_exits_5_when_the_exported_file_is_another_one(made: Made, tmp_path: Path) -> None:
    for suffix in (".json", ".safetensors"):
        (tmp_path / f"plan-01{suffix}").write_bytes(made.path.with_suffix(suffix).read_bytes())
    other = storage.load(made.path.with_suffix(".safetensors"))
    first = next(iter(other.layers))
    other.layers[first].weight[0] *= -1  # type: ignore[index]
    from hwsearch.formats.onnx import write

    write.export(other, tmp_path / "plan-01.onnx")
    (tmp_path / "pictures").mkdir()
    Image.fromarray(pictures.shipped()[0].rgb[:64, :64]).save(tmp_path / "pictures" / "one.png")
    assert main(["validate", str(tmp_path / "plan-01.json"), "--images", str(tmp_path / "pictures"), "--quiet"]) == 5


def test_a_damaged_plan_says_every_mistake(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(made.path.read_text())
    del document["scale"]
    document["colour"] = "blue"
    (tmp_path / "plan.json").write_text(json.dumps(document))
    assert main(["export", str(tmp_path / "plan.json")]) == 3
    err = capsys.readouterr().err
    assert "scale" in err
    assert "colour" in err
    for text in ("", "[]", '{"schema_version": 7}'):
        (tmp_path / "plan.json").write_text(text)
        assert main(["export", str(tmp_path / "plan.json")]) == 3
    assert main(["export", str(tmp_path / "absent.json")]) == 3
