"""Operators of TFLite files as they are read, against LiteRT on the same file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite
import torch

from hwmodels.errors import FileError, UncountedError
from hwsearch.cli import main
from hwsearch.formats.reading import file_network, readers
from hwsearch.formats.tflite import litert
from hwsearch.formats.tflite.writing.file import FlatModel, Options
from searchspaces.ir.graph import execute

SHAPE = (1, 6, 8, 4)
VALID, SAME = 1, 0
RELU, RELU_N1_TO_1, RELU6 = 1, 2, 3


def array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def file(
    path: Path,
    operator: str,
    output: tuple[int, ...],
    constants: list[np.ndarray] | None = None,
    options: tuple[str, Mapping[str, Any]] | None = None,
    *,
    twice: bool = False,
    constant_first: bool = False,
) -> Path:
    """One operator of the input and constants; ``twice``: of the input and the input once more."""
    model = FlatModel()
    x = model.tensor("x", SHAPE, "float32")
    fixed = [model.tensor(f"c{i}", c.shape, str(c.dtype), data=c) for i, c in enumerate(constants or [])]
    y = model.tensor("y", output, "float32")
    inputs = [*fixed, x] if constant_first else [x, *([x] if twice else []), *fixed]
    model.op(operator, inputs, y, None if options is None else Options(*options))
    path.write_bytes(model.serialize([x], [y], "one", {}))
    return path


def pair(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Ours and LiteRT's output of a random picture, both as the file has them."""
    found = readers.inspect(path)
    assert found.graph.uncounted == ()
    x = torch.rand(1, SHAPE[3], *SHAPE[1:3], generator=torch.Generator().manual_seed(0)) - 0.25
    (theirs,) = litert.invoke(litert.interpreter(path.read_bytes()), x.permute(0, 2, 3, 1).numpy())
    ours = execute(found.graph, x).numpy()
    return (ours.transpose(0, 2, 3, 1) if ours.ndim == 4 else ours), theirs


def window(padding: int, stride: int, activation: int = 0, **more: int) -> dict[str, int]:
    return {"Padding": padding, "StrideH": stride, "StrideW": stride, "FusedActivationFunction": activation, **more}


DILATED = {"DilationHFactor": 1, "DilationWFactor": 1}
I32 = np.int32
ONE: dict[str, tuple[tuple[int, ...], list[np.ndarray], tuple[str, Mapping[str, Any]] | None]] = {
    "CONV_2D": ((1, 6, 8, 5), [array(5, 3, 3, 4), array(5)], ("Conv2DOptions", {**window(SAME, 1, RELU), **DILATED})),
    "CONV_2D strided": ((1, 3, 4, 5), [array(5, 4, 4, 4), array(5)], ("Conv2DOptions", {**window(SAME, 2), **DILATED})),
    "CONV_2D valid": ((1, 4, 6, 5), [array(5, 3, 3, 4), array(5)], ("Conv2DOptions", {**window(VALID, 1, RELU6), **DILATED})),
    "DEPTHWISE_CONV_2D": (
        (1, 6, 8, 8),
        [array(1, 3, 3, 8), array(8)],
        ("DepthwiseConv2DOptions", {**window(SAME, 1, RELU_N1_TO_1), "DepthMultiplier": 2, **DILATED}),
    ),
    "FULLY_CONNECTED": (
        (1, 6, 8, 3),
        [array(3, 4), array(3)],
        ("FullyConnectedOptions", {"FusedActivationFunction": RELU, "KeepNumDims": True}),
    ),
    "ADD": (SHAPE, [array(4)], ("AddOptions", {"FusedActivationFunction": RELU})),
    "SUB": (SHAPE, [array(1)], ("SubOptions", {"FusedActivationFunction": 0})),
    "MUL": (SHAPE, [array(6, 8, 1)], ("MulOptions", {"FusedActivationFunction": 0})),
    "DIV": (SHAPE, [np.abs(array(4)) + 1], ("DivOptions", {"FusedActivationFunction": 0})),
    "MAXIMUM": (SHAPE, [array(1)], None),
    "MINIMUM": (SHAPE, [array(4)], None),
    "SQUARED_DIFFERENCE": (SHAPE, [array(4)], None),
    "LOGISTIC": (SHAPE, [], None),
    "TANH": (SHAPE, [], None),
    "HARD_SWISH": (SHAPE, [], None),
    "ELU": (SHAPE, [], None),
    "EXP": (SHAPE, [], None),
    "ABS": (SHAPE, [], None),
    "NEG": (SHAPE, [], None),
    "SQUARE": (SHAPE, [], None),
    "RELU_N1_TO_1": (SHAPE, [], None),
    "LEAKY_RELU": (SHAPE, [], ("LeakyReluOptions", {"Alpha": 0.3})),
    "GELU": (SHAPE, [], ("GeluOptions", {"Approximate": True})),
    "PRELU": (SHAPE, [array(1, 1, 4)], None),
    "SOFTMAX": (SHAPE, [], ("SoftmaxOptions", {"Beta": 1.0})),
    "LOG_SOFTMAX": (SHAPE, [], None),
    "L2_NORMALIZATION": (SHAPE, [], ("L2NormOptions", {"FusedActivationFunction": 0})),
    "MEAN": ((1, 1, 1, 4), [np.array([1, 2], I32)], ("ReducerOptions", {"KeepDims": True})),
    "MEAN of channels": ((1, 6, 8), [np.array([3], I32)], ("ReducerOptions", {"KeepDims": False})),
    "SUM": ((1, 6, 8, 1), [np.array([-1], I32)], ("ReducerOptions", {"KeepDims": True})),
    "REDUCE_MAX": ((1, 1, 8, 4), [np.array([1], I32)], ("ReducerOptions", {"KeepDims": True})),
    "MAX_POOL_2D": ((1, 3, 4, 4), [], ("Pool2DOptions", {**window(VALID, 2), "FilterHeight": 2, "FilterWidth": 2})),
    "AVERAGE_POOL_2D": ((1, 6, 8, 4), [], ("Pool2DOptions", {**window(SAME, 1), "FilterHeight": 3, "FilterWidth": 3})),
    "RESHAPE": ((1, 48, 4), [np.array([1, 48, 4], I32)], None),
    "TRANSPOSE": ((1, 4, 8, 6), [np.array([0, 3, 2, 1], I32)], None),
    "SLICE": ((1, 6, 4, 2), [np.array([0, 0, 2, 1], I32), np.array([1, -1, 4, 2], I32)], None),
    "STRIDED_SLICE": (
        (1, 3, 8, 4),
        [np.array([0, 1, 0, 0], I32), np.array([1, 6, 8, 4], I32), np.array([1, 2, 1, 1], I32)],
        ("StridedSliceOptions", {"BeginMask": 13, "EndMask": 13}),
    ),
    "STRIDED_SLICE ellipsis": (
        (1, 6, 8, 2),
        [np.array([0, 1], I32), np.array([0, 3], I32), np.array([1, 1], I32)],
        ("StridedSliceOptions", {"EllipsisMask": 1}),
    ),
    "STRIDED_SLICE new axis": (
        (1, 1, 6, 8, 2),
        [np.array([0, 0, 0, 0, 1], I32), np.array([1, 0, 6, 8, 3], I32), np.array([1, 1, 1, 1, 1], I32)],
        ("StridedSliceOptions", {"NewAxisMask": 2}),
    ),
    "STRIDED_SLICE one place": (
        (1, 8, 4),
        [np.array([0, 2], I32), np.array([1, 3], I32), np.array([1, 1], I32)],
        ("StridedSliceOptions", {"ShrinkAxisMask": 2}),
    ),
    "STRIDED_SLICE backwards": (
        (1, 6, 8, 2),
        [np.array([0, 0, 0, 3], I32), np.array([1, 6, 8, -9], I32), np.array([1, 1, 1, -2], I32)],
        ("StridedSliceOptions", {}),
    ),
    "STRIDED_SLICE counted from where it begins": (
        (1, 6, 8, 2),
        [np.array([0, 0, 0, 1], I32), np.array([1, 6, 8, 2], I32), np.array([1, 1, 1, 1], I32)],
        ("StridedSliceOptions", {"Offset": True}),
    ),
    "STRIDED_SLICE counted from behind, and from its side": (
        (1, 6, 3, 1),
        [np.array([0, 0, 5, -2], I32), np.array([1, 6, 3, 1], I32), np.array([1, 1, 1, 1], I32)],
        ("StridedSliceOptions", {"Offset": True, "BeginMask": 4}),
    ),
    "GATHER": ((1, 6, 8, 3), [np.array([2, 1, 0], I32)], ("GatherOptions", {"Axis": 3})),
    "REVERSE_V2": (SHAPE, [np.array([2], I32)], None),
    "TILE": ((1, 6, 16, 8), [np.array([1, 1, 2, 2], I32)], None),
    "PAD": ((1, 9, 10, 4), [np.array([[0, 0], [1, 2], [2, 0], [0, 0]], I32)], None),
    "PADV2": ((1, 6, 8, 6), [np.array([[0, 0], [0, 0], [0, 0], [1, 1]], I32), np.array([0.5], np.float32)], None),
    "MIRROR_PAD": ((1, 8, 10, 4), [np.array([[0, 0], [1, 1], [1, 1], [0, 0]], I32)], ("MirrorPadOptions", {"Mode": 0})),
    "DEPTH_TO_SPACE": ((1, 12, 16, 1), [], ("DepthToSpaceOptions", {"BlockSize": 2})),
    "SPACE_TO_DEPTH": ((1, 3, 4, 16), [], ("SpaceToDepthOptions", {"BlockSize": 2})),
    "RESIZE_BILINEAR": ((1, 12, 16, 4), [np.array([12, 16], I32)], ("ResizeBilinearOptions", {"HalfPixelCenters": True})),
    "RESIZE_BILINEAR corners": ((1, 9, 15, 4), [np.array([9, 15], I32)], ("ResizeBilinearOptions", {"AlignCorners": True})),
    "RESIZE_NEAREST_NEIGHBOR": ((1, 18, 24, 4), [np.array([18, 24], I32)], ("ResizeNearestNeighborOptions", {})),
    "EXPAND_DIMS": ((1, 6, 8, 1, 4), [np.array([3], I32)], None),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_one_operator(name: str, tmp_path: Path) -> None:
    output, constants, options = ONE[name]
    ours, theirs = pair(file(tmp_path / "one.tflite", name.split(" ", maxsplit=1)[0], output, constants, options))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-5 * max(np.abs(theirs).max(), 1e-6)


@pytest.mark.parametrize(
    ("padding", "stride", "side", "grown"), [(SAME, 2, 3, 0), (SAME, 2, 4, 0), (VALID, 2, 4, 2), (VALID, 3, 2, 0)]
)
def test_transposed_convolution(padding: int, stride: int, side: int, grown: int, tmp_path: Path) -> None:
    output = (1, 6 * stride + grown, 8 * stride + grown, 3)
    constants = [np.array(output, I32), array(3, side, side, 4)]
    options = ("TransposeConvOptions", {"Padding": padding, "StrideH": stride, "StrideW": stride})
    ours, theirs = pair(file(tmp_path / "one.tflite", "TRANSPOSE_CONV", output, constants, options, constant_first=True))
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


# Whole files


def test_the_cases_are_read_and_searched(shared: Path) -> None:
    """Half precision, old uint8, weights in integers alone, a weight of -128: compared with LiteRT when they are loaded."""
    wanted = {"float16": (16, ""), "uint8": (8, "0..255"), "hybrid": (8, ""), "minus128": (8, "0..255")}
    for name, (bits, values) in wanted.items():
        path = shared / "cases" / f"{name}.tflite"
        found = readers.inspect(path)
        assert [layer.weight_bits for layer in found.layers] == [bits] * 7
        assert found.weight_bytes == 42345 * (2 if bits == 16 else 1)
        network = file_network.load(path)
        assert (network.scale, network.channels, network.value_range) == (3, 3, values)


def test_several_subgraphs_the_first_is_read_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(tmp_path / "one.tflite", "RELU", SHAPE)
    monkeypatch.setattr(tflite.Model, "SubgraphsLength", lambda self: 3)
    assert "first of 3 subgraphs" in readers.inspect(path).remarks[0]


def test_an_operator_that_is_not_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file(tmp_path / "one.tflite", "CUMSUM", SHAPE)
    with pytest.raises(UncountedError, match="CUMSUM y"):
        file_network.load(path)
    assert main(["inspect", str(path)]) == 0
    assert "CUMSUM" in capsys.readouterr().out


def test_another_function_than_the_runtimes_is_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a faulty reader gives never begins a search."""
    from hwsearch.formats.reading import agreement

    path = file(tmp_path / "one.tflite", "ABS", SHAPE)
    monkeypatch.setattr(agreement, "execute", lambda graph, x: x * 1.001)
    with pytest.raises(FileError, match="LiteRT"):
        file_network.load(path)
