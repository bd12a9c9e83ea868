"""Readers of resizing. What PyTorch interpolates as well is that operator. Of the rest, the nearest pixels are lists of rows and
columns; a sum of pixels, enlarged by a whole factor, is a convolution of each channel and a pixel shuffle, of which the border is
repeated as often as the kernel reaches; and any other sum is a product with a matrix along the rows, and along the columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hwsearch.formats.onnx.reading.pictures import padded
from hwsearch.formats.onnx.reading.products import linear
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import Map, tensor
from hwsearch.formats.reading.resizing import from_corners
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.moves.move import Gather, PixelShuffle
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.resize import Mode, Resize
from searchspaces.ops.reading import NotRead

CROPPED = "tf_crop_and_resize"
"""Places in a part of a picture."""
LONGEST = 1024
"""Pixels along a side beyond which a matrix for it is not written down."""
REACH: Mapping[str, float] = {"linear": 1.0, "cubic": 2.0}
"""How far from a place pixels count, in pixels."""


@dataclass(frozen=True)
class _Rule:
    """How the file resizes, in the words of the operator.

    Attributes:
        curve: the coefficient of cubic interpolation.
        exclude: weights of pixels beyond the border are left out, and the others grown to a sum of one.
    """

    kind: str
    where: str
    rounding: str
    curve: float
    exclude: bool
    antialias: bool


@READS.register("Resize", "Upsample", becomes=(Resize, Gather, Pad, Conv, PixelShuffle, Linear))
def _resize(walk: Walk, call: Call) -> Value:
    value = call.map()
    shape = walk.shape(value)
    factors, after = _target(call, shape)
    changed = [axis for axis in range(len(shape)) if after[axis] != shape[axis]]
    if len(shape) != 4 or len(changed) > 2:
        raise NotRead(f"{list(shape)} to {list(after)}")
    value = walk.ending_in(value, changed)
    axes = (value.axes.index(2), value.axes.index(3))
    before, wanted = [shape[axis] for axis in axes], [after[axis] for axis in axes]
    scales = None if factors is None else [factors[axis] for axis in axes]
    rule = _rule(call)
    if not changed and rule.where != CROPPED:
        return value  # ONNX Runtime copies it, whatever the factors
    # A size that is a whole number of times as large need not have been asked for by that number: 10 pixels times 2.05 are 20.
    times = [new // old if new % old == 0 else 0 for new, old in zip(wanted, before, strict=True)]
    exact = all(times) and (scales is None or scales == times)
    whole = exact and times[0] == times[1]
    if exact and rule.kind == "linear" and rule.where == "asymmetric" and not rule.antialias:
        made = from_corners(walk, call.name, walk.whole(value.name), (wanted[0], wanted[1]))
        return Map(made.name, value.axes)
    alone = rule.where == "pytorch_half_pixel" and any(new == 1 < old for new, old in zip(wanted, before, strict=True))
    how = None if alone else _of_pytorch(rule, whole, all(new >= old for new, old in zip(wanted, before, strict=True)))
    each = scales or [new / old for new, old in zip(wanted, before, strict=True)]
    uneven = scales is not None and scales[0] != scales[1] and any(int(s * f) != s * f for s, f in zip(before, each, strict=True))
    if how is None or uneven or not (whole or _as_pytorch(rule, how["mode"], before, wanted, each, by_size=scales is None)):
        made = _spelled_out(walk, call.name, walk.whole(value.name), rule, wanted, each)
        return Map(walk.lying(made), value.axes)
    if whole:
        op = Resize(factor=times[0], **how)
    elif scales is not None and scales[0] == scales[1]:
        op = Resize(factor=float(scales[0]), **how)
    else:
        op = Resize(size=(wanted[0], wanted[1]), **how)
    return Map(walk.emit(call.name, op, [value.name]), value.axes)


def _rule(call: Call) -> _Rule:
    old = call.kind == "Upsample" or call.opset < 11
    where = "asymmetric" if old else call.text("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old else call.text("nearest_mode", "round_prefer_floor")
    flags = [bool(call.attrs.get(name, 0)) for name in ("exclude_outside", "antialias")]
    return _Rule(call.text("mode", "nearest"), where, rounding, float(call.attrs.get("cubic_coeff_a", -0.75)), flags[0], flags[1])


def _target(call: Call, shape: tuple[int, ...]) -> tuple[list[float] | None, list[int]]:
    """Factors, if the file has them, and the sides that come out."""
    if call.kind == "Upsample" or call.opset < 11:
        factors = call.attrs["scales"] if "scales" in call.attrs else call.numbers(1, "its factors").reshape(-1).tolist()
    elif call.has(3) and call.numbers(3).size:
        sizes = call.numbers(3, "its sizes").astype(int).reshape(-1).tolist()
        if call.text("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise NotRead("to a size that keeps the aspect ratio")
        return None, _over_axes(call, sizes, shape)
    else:
        factors = call.numbers(2, "its factors").reshape(-1).tolist()
    factors = _over_axes(call, [float(factor) for factor in factors], (1.0,) * len(shape))
    # In single precision, as ONNX Runtime does: 10 pixels times 0.7 are 7, and in double precision, of a 0.7 in single, 6.
    return factors, [int(np.float32(side) * np.float32(factor)) for side, factor in zip(shape, factors, strict=True)]


def _over_axes(call: Call, given: list[Any], others: tuple[Any, ...]) -> list[Any]:
    axes = call.integers("axes", default=list(range(len(others))))
    found = list(others)
    if len(axes) != len(given):
        raise NotRead(f"{given} for {len(others)} axes")
    for axis, item in zip(axes, given, strict=True):
        found[axis] = item
    return found


def _of_pytorch(rule: _Rule, whole: bool, enlarges: bool) -> dict[str, Any] | None:
    """Mode, corners and antialiasing of PyTorch's operator; None where it has no such resize."""
    where = rule.where
    if where == "half_pixel_symmetric" and whole:
        where = "half_pixel"  # they differ where the sizes are no factors
    if rule.kind == "nearest":
        exact = where in ("half_pixel", "pytorch_half_pixel") and rule.rounding.startswith("round")
        if rule.rounding == "floor" and (where == "asymmetric" or (where == "tf_half_pixel_for_nn" and whole)):
            mode: Mode = "nearest"
        elif exact and whole and enlarges:
            mode = "nearest"
        elif exact and rule.rounding == "round_prefer_ceil":
            mode = "nearest-exact"
        else:
            return None
        return {"mode": mode, "align_corners": False, "antialias": False}
    modes: Mapping[str, Mode] = {"linear": "bilinear", "cubic": "bicubic"}
    if rule.kind not in modes or where not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return None
    if rule.kind == "cubic" and abs(rule.curve - (-0.5 if rule.antialias else -0.75)) > 1e-6:
        return None
    if rule.antialias and where == "align_corners":
        return None
    if rule.exclude != rule.antialias and (rule.kind == "cubic" or (rule.antialias and not enlarges)):
        return None
    return {"mode": modes[rule.kind], "align_corners": where == "align_corners", "antialias": rule.antialias}


def _as_pytorch(
    rule: _Rule, mode: Mode, sides: Sequence[int], wanted: Sequence[int], scales: Sequence[float], *, by_size: bool
) -> bool:
    """Whether PyTorch rounds to the same sides, and to the same nearest pixels: both take single precision, but it multiplies by
    the reciprocal of a factor. ``by_size``: it is told the sides; else, or where both factors are not one, the factors."""
    for side, result, scale in zip(sides, wanted, scales, strict=True):
        if rule.kind != "nearest":
            same = by_size or scales[0] != scales[1] or int(side * scale) == result
        else:
            how: dict[str, Any] = {"size": (result, 1)} if by_size or scales[0] != scales[1] else {"scale_factor": (scale, 1.0)}
            column = torch.nn.functional.interpolate(torch.arange(float(side))[None, None, :, None], mode=mode, **how)
            same = np.array_equal(column.flatten().numpy(), _nearest(rule, side, result, scale))
        if not same:
            return False
    return True


def _spelled_out(walk: Walk, name: str, value: Map, rule: _Rule, wanted: Sequence[int], scales: Sequence[float]) -> Map:
    """A resize that PyTorch does not have, of a picture ``[N, C, H, W]`` to the height and width ``wanted``.

    Raises:
        NotRead: of parts of a picture (tf_crop_and_resize), an unknown mode, or a side too long for a matrix.
    """
    sides = walk.shape(value)[2:]
    if rule.kind == "nearest":
        for axis, (side, result, scale) in enumerate(zip(sides, wanted, scales, strict=True), 2):
            value = walk.gathered(f"{name}.{axis}", value, _nearest(rule, side, result, scale).tolist(), axis)
        return value
    if rule.kind not in REACH:
        raise NotRead(f"{rule.kind}, {rule.where}: no such resize is known")
    matrices = [_matrix(rule, side, result, scale) for side, result, scale in zip(sides, wanted, scales, strict=True)]
    factor = wanted[0] // sides[0]
    if all(factor * side == result for side, result in zip(sides, wanted, strict=True)) and factor > 1:
        kernels = [_kernel(matrix, factor) for matrix in matrices]
        if kernels[0] is not None and kernels[1] is not None and np.array_equal(kernels[0], kernels[1]):
            return _convolved(walk, name, value, kernels[0], factor)
    if max(*sides, *wanted) > LONGEST:
        raise NotRead(f"{rule.kind}, {rule.where}, of more than {LONGEST} pixels: use a mode of torch.nn.functional.interpolate")
    for axis, matrix in zip((2, 3), matrices, strict=True):
        if not np.array_equal(matrix, np.eye(len(matrix))):
            order = [other for other in range(4) if other != axis] + [axis]
            made = linear(walk, walk.turned(value, order), walk.number(matrix.astype(np.float32), f"{name}.{axis}"), matrix)
            value = walk.turned(made, [order.index(other) for other in range(4)])
    return value


def _nearest(rule: _Rule, side: int, result: int, scale: float) -> np.ndarray:
    """Which pixel of ``side`` each of ``result`` is: ``int64[result]``. In single precision, as ONNX Runtime rounds."""
    places = _places(rule.where, side, result, np.float32(scale))
    return _rounded(places, rule.rounding).clip(0, side - 1).astype(np.int64)


def _places(where: str, side: int, result: int, scale: float | np.float32) -> np.ndarray:
    """Where each of ``result`` pixels lies among ``side`` of the input, by the operator's definition: ``float[result]``, in the
    precision of ``scale``."""
    at = np.arange(result, dtype=np.asarray(scale).dtype)
    if scale == 1 and where != CROPPED:
        return at  # so ONNX Runtime, by tf_half_pixel_for_nn, too
    match where:
        case "asymmetric":
            return at / scale
        case "tf_half_pixel_for_nn":
            return (at + 0.5) / scale
        case "align_corners":
            return at * (side - 1) / (result - 1) if result > 1 else np.zeros(1)
        case "pytorch_half_pixel":
            return (at + 0.5) / scale - 0.5 if result > 1 else np.zeros(1)
        case "half_pixel":
            return (at + 0.5) / scale - 0.5
        case "half_pixel_symmetric":
            return side / 2 * (1 - result / (scale * side)) + (at + 0.5) / scale - 0.5
    raise NotRead(f"{where}: cut the picture with a Slice in front of it")


def _rounded(places: np.ndarray, rounding: str) -> np.ndarray:
    """The nearest whole place, as the operator rounds."""
    rules: Mapping[str, np.ndarray] = {
        "floor": np.floor(places), "ceil": np.ceil(places),
        "round_prefer_ceil": np.floor(places + 0.5), "round_prefer_floor": np.ceil(places - 0.5),
    }  # fmt: skip
    if rounding not in rules:
        raise NotRead(f"nearest, {rounding}")
    return rules[rounding]


def _matrix(rule: _Rule, side: int, result: int, scale: float) -> np.ndarray:
    """How much of every pixel of a line is in every pixel of the result: ``float64[result, side]``, rows of a sum of one."""
    if rule.antialias and side == result:
        return np.eye(side)
    places = _places(rule.where, side, result, scale)
    wider = max(1.0, 1.0 / scale) if rule.antialias else 1.0
    reach = int(np.ceil(REACH[rule.kind] * wider)) + 1
    matrix = np.zeros((result, side))
    for row, place in enumerate(places):
        near = np.arange(int(np.floor(place)) - reach, int(np.floor(place)) + reach + 1)
        weights = _curve(rule, (near - place) / wider)
        inside = (near >= 0) & (near < side)
        if rule.exclude:
            near, weights = near[inside], weights[inside]
        np.add.at(matrix[row], near.clip(0, side - 1), weights / weights.sum())
    return matrix


def _curve(rule: _Rule, apart: np.ndarray) -> np.ndarray:
    """The weight of a pixel so far apart: linear, or the cubic convolution of Keys (1981) with the coefficient of the file."""
    x, a = np.abs(apart), rule.curve
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    cubic = np.where(x < 1, inner, np.where(x < 2, outer, 0.0))
    found: np.ndarray = np.maximum(1 - x, 0) if rule.kind == "linear" else cubic
    return found


def _kernel(matrix: np.ndarray, factor: int) -> np.ndarray | None:
    """The weights of the pixels around each for the ``factor`` pixels that it becomes, ``float64[factor, taps]``; None where the
    rows of a matrix are no such kernel on a line that repeats its border."""
    side = matrix.shape[1]
    middle = side // 2
    rows = matrix[middle * factor : (middle + 1) * factor]
    used = np.flatnonzero(rows.any(axis=0))
    reach = int(max(middle - used.min(), used.max() - middle))
    if reach > min(middle, side - 1 - middle):
        return None
    kernel: np.ndarray = rows[:, middle - reach : middle + reach + 1]
    again = np.zeros_like(matrix)
    for place in range(side):
        near = np.arange(place - reach, place + reach + 1).clip(0, side - 1)
        for phase in range(factor):
            np.add.at(again[place * factor + phase], near, kernel[phase])
    return kernel.round(12) if np.allclose(again, matrix, atol=1e-9) else None


def _convolved(walk: Walk, name: str, value: Map, kernel: np.ndarray, factor: int) -> Map:
    """A picture enlarged by the weights of each place, ``[factor, taps]`` along rows and along columns."""
    channels, reach = walk.shape(value)[1], kernel.shape[1] // 2
    square = np.einsum("ai,bj->abij", kernel, kernel).reshape(factor**2, 1, *[kernel.shape[1]] * 2)
    wider = padded(walk, f"{name}.border", value, {2: (reach, reach), 3: (reach, reach)}, "edge")
    weights = {"weight": tensor(np.tile(square, (channels, 1, 1, 1)))}
    return walk.put(name, PixelShuffle(factor), [walk.put(f"{name}.phases", Conv(groups=channels), [wider], weights)])
