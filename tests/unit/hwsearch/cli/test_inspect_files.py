"""`hwsearch inspect` of model files: what it says of the network as a whole."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hwsearch.cli import main
from hwsearch.formats.onnx.float_network import to_float_model
from searchspaces.data.scale import Scale
from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.input import Input
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.reductions.reduce import Mean

FACTORS: list[tuple[Scale, int | str, str]] = [(3, 3, "x3, 1 channel"), (Fraction(3, 2), "1.5", "x1.5, 1 channel")]


def saved(node: Node, folder: Path) -> Path:
    onnx.save(to_float_model(Graph("net", (Node("input", Input(1)), node))), folder / "net.onnx")
    return folder / "net.onnx"


@pytest.mark.parametrize(("scale", "spelled", "said"), FACTORS)
def test_by_what_a_network_enlarges_is_said(
    scale: Scale, spelled: int | str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(Node("y", Resize("nearest" if scale == 3 else "bilinear", float(scale)), ("input",)), tmp_path)
    assert main(["inspect", str(file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["scale"], document["channels"]) == (spelled, 1)
    assert main(["inspect", str(file)]) == 0
    assert said in capsys.readouterr().out


def test_what_gives_no_picture_has_no_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(saved(Node("y", Mean((2, 3), keepdims=False), ("input",)), tmp_path)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scale"] is None


def test_a_size_without_a_device_is_not_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "net.onnx"), "--input", "24x24"]) == 2
    assert "--input is the size at which a file is priced" in capsys.readouterr().err


def test_numbers_that_are_not_finite_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weight = numpy_helper.from_array(np.full((4, 1, 3, 3), np.inf, np.float32), "w")
    ends = [[helper.make_tensor_value_info(name, 1, [1, channels, 8, 8])] for name, channels in (("x", 1), ("y", 4))]
    conv = helper.make_node("Conv", ["x", "w"], ["y"], name="c", pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    model = helper.make_model(helper.make_graph([conv], "g", *ends, [weight]), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, tmp_path / "n.onnx")
    assert main(["inspect", str(tmp_path / "n.onnx")]) == 0
    said = capsys.readouterr()
    assert "Not finite: w.weight." in said.out + said.err
