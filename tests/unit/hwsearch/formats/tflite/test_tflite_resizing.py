"""Where TFLite files put the pixels of a picture that they resize: read as what LiteRT computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwsearch.formats.reading import file_network, readers
from hwsearch.formats.tflite.writing.file import FlatModel, Options

HEIGHT, WIDTH = 12, 16


def _file(path: Path, kind: str, corners: bool, half: bool, size: tuple[int, int]) -> Path:
    """A 1x1 convolution in floating point and a resize behind it."""
    model, rng = FlatModel(), np.random.default_rng(5)
    x, y = (model.tensor(name, (1, HEIGHT, WIDTH, 3), "float32") for name in ("picture", "mixed"))
    weights = model.tensor("weight", (3, 1, 1, 3), "float32", data=rng.normal(size=(3, 1, 1, 3)).astype(np.float32))
    bias = model.tensor("bias", (3,), "float32", data=rng.normal(size=3).astype(np.float32))
    window = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    model.op("CONV_2D", [x, weights, bias], y, Options("Conv2DOptions", {**window, "FusedActivationFunction": 0}), 1)
    sides = model.tensor("size", (2,), "int32", data=np.array(size, np.int32))
    large = model.tensor("large", (1, *size, 3), "float32")
    options = Options(
        "ResizeBilinearOptions" if "BILINEAR" in kind else "ResizeNearestNeighborOptions",
        {"AlignCorners": corners, "HalfPixelCenters": half},
    )
    model.op(kind, [y, sides], large, options, 3)
    path.write_bytes(model.serialize([x], [large], "resized", {}))
    return path


@pytest.mark.parametrize("size", [(24, 32), (36, 48)])
@pytest.mark.parametrize(
    ("kind", "corners", "half"),
    [
        ("RESIZE_BILINEAR", False, False),
        ("RESIZE_BILINEAR", True, False),
        ("RESIZE_BILINEAR", False, True),
        ("RESIZE_NEAREST_NEIGHBOR", False, False),
        ("RESIZE_NEAREST_NEIGHBOR", False, True),
    ],
)
def test_a_resize_is_litert_s(kind: str, corners: bool, half: bool, size: tuple[int, int], tmp_path: Path) -> None:
    """Loading compares the graph with LiteRT."""
    path = _file(tmp_path / "net.tflite", kind, corners, half, size)
    loaded = file_network.load(path)
    assert loaded.scale == size[0] // HEIGHT


def test_what_is_not_read_is_told(tmp_path: Path) -> None:
    path = _file(tmp_path / "net.tflite", "RESIZE_NEAREST_NEIGHBOR", True, False, (24, 32))
    (line,) = readers.inspect(path).graph.uncounted
    assert "corners that lie on each other" in line
    path = _file(tmp_path / "part.tflite", "RESIZE_BILINEAR", False, False, (18, 24))
    (line,) = readers.inspect(path).graph.uncounted
    assert "factor that is not whole" in line
