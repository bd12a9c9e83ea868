"""Weights of layers that are computed in floating point: in which format, and what is left of them there.

Two kinds of narrow weights are expanded to it before they are multiplied. Eight floating-point bits have too short a range for a
whole layer, so each output channel has a scale (as TensorRT and ONNX store them). Integers in groups have a scale for each few
weights of a channel, kept in half precision, which is how GPTQ, AWQ and blocked ONNX files lie in memory; within a group they are
rounded to the nearest.
"""

from __future__ import annotations

import numpy as np
import torch

from hwmodels.numbers import FP16, FP32, Float, Int, NumberFormat
from hwsearch.quant.network.formats import power_of_two_scale, rounded_array, scaled_and_rounded


def computed_in(weights: NumberFormat, tensor: NumberFormat) -> Float | None:
    """The floating-point format that multiplies such weights with such a tensor: that of the two which holds the other, or
    else the narrowest usual one that holds both; None where both are integers with one scale a channel."""
    if not weights.is_float and not tensor.is_float and not (isinstance(weights, Int) and weights.group):
        return None
    candidates = [fmt for fmt in (weights, tensor, FP16, FP32) if isinstance(fmt, Float)]
    return next(fmt for fmt in candidates if fmt.holds(weights) and fmt.holds(tensor))


def rounded_weights(weight: np.ndarray, fmt: Float) -> np.ndarray:
    """What is left of weights ``[O, ...]`` in a format, as float32; of at most a byte by a scale for each output channel."""
    if fmt.is_wide:
        return rounded_array(weight, fmt)
    rows = torch.from_numpy(weight.astype(np.float32)).flatten(1)
    scales = torch.tensor([[power_of_two_scale(float(row.abs().max()), fmt)] for row in rows])
    found: np.ndarray = scaled_and_rounded(rows, fmt, scales).numpy()
    return found.reshape(weight.shape)


def rounded_in_groups(weight: np.ndarray, number: Int) -> np.ndarray:
    """What is left of weights ``[O, ...]`` in integers of a scale for every ``number.group`` weights of an output channel, in
    the order in which they lie there; the last group of a channel may be smaller. As float32."""
    assert number.group is not None
    rows = weight.reshape(len(weight), -1).astype(np.float32)
    groups = number.scales(rows.shape[1])
    padded = np.zeros((len(rows), groups * number.group), dtype=np.float32)
    padded[:, : rows.shape[1]] = rows
    grouped = padded.reshape(len(rows), groups, number.group)
    reach = np.abs(grouped).max(axis=2, keepdims=True)
    scale = np.where(reach > 0, reach / number.narrow_limit, 1.0).astype(np.float16).astype(np.float32)
    scale = np.maximum(scale, np.finfo(np.float16).smallest_subnormal)
    codes = np.clip(np.rint(grouped / scale), -number.narrow_limit, number.narrow_limit)
    found: np.ndarray = (codes * scale).reshape(len(rows), -1)[:, : rows.shape[1]]
    return found.reshape(weight.shape)
