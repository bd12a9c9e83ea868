"""Every kind of Resize in ONNX files, against ONNX Runtime on the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_files import SIZES, difference, node, written

from hwsearch.formats.reading.readers import inspect

TIMES: dict[str, tuple[float, float]] = {"half as large": (0.5, 0.5), "twice": (2, 2), "uneven": (3, 2), "between": (1.5, 1.25)}
RESIZED: dict[str, dict[str, Any]] = {
    "nearest, half pixel": {},
    **{
        f"nearest, {where}, {rounding}": {"nearest_mode": rounding, "coordinate_transformation_mode": where}
        for where in ("half_pixel", "asymmetric", "align_corners", "tf_half_pixel_for_nn")
        for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    },
    **{
        f"{mode}, {where}": {"mode": mode, "coordinate_transformation_mode": where}
        for mode in ("linear", "cubic")
        for where in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
    },
    "cubic, sharp": {"mode": "cubic", "cubic_coeff_a": -0.5},
    "cubic, without what lies outside": {"mode": "cubic", "exclude_outside": 1},
    "linear, filtered": {"mode": "linear", "antialias": 1},
    "cubic, filtered": {"mode": "cubic", "antialias": 1},
    "cubic, sharp, filtered, without what lies outside": {
        "mode": "cubic", "antialias": 1, "cubic_coeff_a": -0.5, "exclude_outside": 1
    },
}  # fmt: skip


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("name", RESIZED)
def test_resizing(name: str, times: str, tmp_path: Path) -> None:
    """Of one size, as matrices and lists of places for a side need it; ties of nearest pixels are not told by random values."""
    one = node("Resize", "", "s", **RESIZED[name])
    path = written(
        tmp_path / "net.onnx", [one], {"s": np.array([1, 1, *TIMES[times]], np.float32)}, opset=19, sides=(1, 4, 24, 32)
    )
    assert difference(path, SIZES[:1]) < 1e-5


ODD: dict[str, tuple[dict[str, Any], tuple[float, float], tuple[int, int]]] = {
    "rows alone": ({"mode": "cubic", "cubic_coeff_a": -0.5}, (2, 1), (10, 10)),
    "rows alone, from the corner": ({"mode": "linear", "coordinate_transformation_mode": "asymmetric"}, (1.5, 1), (10, 10)),
    "20.5 pixels are 20": ({"mode": "cubic"}, (2.05, 2.05), (10, 10)),
    "20.5 pixels are 20, nearest": (
        {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}, (2.05, 2.05), (10, 10)
    ),
    "0.7 in single precision": ({"mode": "linear"}, (0.7, 0.7), (10, 20)),
    "ties in single precision": ({"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}, (1.1, 1.1), (24, 32)),
    "too little for a pixel more": ({"mode": "cubic", "cubic_coeff_a": -0.5}, (1.01, 1.01), (24, 32)),
    "too little for a row more, filtered": ({"mode": "cubic", "antialias": 1}, (1.1, 1.1), (9, 15)),
    "rows as they are": ({"mode": "linear", "coordinate_transformation_mode": "tf_half_pixel_for_nn"}, (1, 2), (5, 7)),
    "one row": ({"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}, (0.1, 0.1), (10, 10)),
    "corners, filtered": (
        {"mode": "linear", "coordinate_transformation_mode": "align_corners", "antialias": 1}, (3, 3), (10, 10)
    ),
}  # fmt: skip
"""Attributes, factors and the size of a picture."""


@pytest.mark.parametrize("name", ODD)
def test_resizing_by_odd_factors_and_of_one_side(name: str, tmp_path: Path) -> None:
    attrs, factors, size = ODD[name]
    factor = {"s": np.array([1, 1, *factors], np.float32)}
    path = written(tmp_path / "net.onnx", [node("Resize", "", "s", **attrs)], factor, opset=19, sides=(1, 3, *size))
    assert difference(path, (size,)) < 1e-5


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("name", ["cubic, sharp", "cubic, asymmetric", "linear, half_pixel_symmetric"])
def test_enlargements_by_whole_factors_are_read_for_every_size(name: str, factor: int, tmp_path: Path) -> None:
    one = node("Resize", "", "s", **RESIZED[name])
    path = written(tmp_path / "net.onnx", [one], {"s": np.array([1, 1, factor, factor], np.float32)}, opset=19)
    assert inspect(path).graph.size is None
    assert difference(path) < 1e-5


def test_a_part_of_a_picture_is_refused_with_what_to_do(tmp_path: Path) -> None:
    one = node("Resize", "roi", "s", coordinate_transformation_mode="tf_crop_and_resize", mode="linear")
    arrays = {"s": np.array([1, 1, 2, 2], np.float32), "roi": np.array([0, 0, 0.1, 0, 1, 1, 0.9, 1], np.float32)}
    found = inspect(written(tmp_path / "net.onnx", [one], arrays, opset=19))
    assert "tf_crop_and_resize: cut the picture with a Slice" in found.graph.uncounted[0]
