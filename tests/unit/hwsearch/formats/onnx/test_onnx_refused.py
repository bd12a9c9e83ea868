"""ONNX files that are no network of pictures, or not a safe one: what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_files import array, node, written

from hwmodels.errors import FileError, UncountedError, UsageError
from hwsearch.formats.reading import file_network
from hwsearch.formats.reading.readers import inspect

I64 = np.int64


def small(path: Path, **more: Any) -> Path:
    return written(path, [node("Conv", "w", pads=[1, 1, 1, 1])], {"w": array(4, 4, 3, 3)}, **more)


def test_an_operator_that_is_not_read_is_named_with_its_node(tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", [helper.make_node("Det", ["x"], ["d"], name="/head/det"), node("Asin", out="y")])
    with pytest.raises(UncountedError, match="Asin y"):
        file_network.load(path)


@pytest.mark.parametrize(
    ("location", "message"),
    [("../w.bin", "outside"), ("/etc/passwd", "outside"), ("missing.bin", "not there"), ("short.bin", "has 10")],
)
def test_weights_in_another_file(location: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(4 * 4 * 9 * 4))
    (tmp_path / "in" / "short.bin").write_bytes(bytes(10))
    path = small(tmp_path / "in" / "net.onnx")
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="length", value=str(4 * 4 * 9 * 4))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FileError, match=message):
        inspect(path)


def test_weights_behind_a_link_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(4 * 4 * 9 * 4))
    (tmp_path / "in" / "w.bin").symlink_to(tmp_path / "w.bin")
    path = small(tmp_path / "in" / "net.onnx")
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FileError, match="outside"):
        inspect(path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"opset": 8}, "operator set 8"),
        ({"sides": (2, 4, 8, 8)}, "2 pictures at once"),
        ({"sides": ("n", "c", 8, 8)}, "channels"),
        ({"sides": ("n", 4, 8)}, "3 axes"),
        ({"sides": (1, 4, 8, "w")}, "one side"),
        ({"sides": (1, 5, 8, 8)}, "weights for 4 channels read 5"),
        ({"output": "nobody"}, "output"),
    ],
)
def test_what_is_no_network_of_pictures(how: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=message):
        inspect(small(tmp_path / "net.onnx", **how))


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", [node("Conv", "w.weight")], {"w.weight": np.full((4, 4, 1, 1), np.nan, np.float32)})
    with pytest.raises(FileError, match=r"w\.weight"):
        file_network.load(path)


def test_a_network_that_gives_no_picture(tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", [node("Flatten")])
    with pytest.raises(UsageError, match="becomes"):
        file_network.load(path)


def test_a_table_of_a_few_bytes_that_asks_for_all_memory(tmp_path: Path) -> None:
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["big"]), node("Add", "big")]
    with pytest.raises(FileError, match="numbers"):
        inspect(written(tmp_path / "net.onnx", nodes, {"s": np.array([1 << 20, 1 << 20], I64)}))
