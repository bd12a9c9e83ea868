"""What ONNX Runtime does for every layer of a network on a processor, counted once, whatever each piece of it costs.

Its files hold several operators in place of some layers. Integers have kernels for convolutions, sums, matrix products and
softmax; what is computed between codes otherwise is decoded, computed in single precision, rounded, bounded and encoded by nine
or ten operators (``slope_s``: so is a slope behind a convolution), and a function of one value is looked up. A dense layer of
codes is a convolution of as many pictures of one pixel as there are rows, each of which is a call by itself (``row_s``). A
picture that is moved around its edges is cut and put together again, along rows and along columns: four copies.
"""

from __future__ import annotations

import math
from collections import defaultdict
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hwmodels.classes import onnxruntime_float, onnxruntime_transposes
from hwmodels.classes.onnxruntime_transposes import Permuted, is_copy
from hwmodels.numbers import FP32
from hwmodels.workload import POINT, Contract, Layer, Map, Move, Reduce, Workload

SECONDS = (
    "convert_s", "tap_s", "row_s", "output_s", "slope_s", "elementwise_s", "copy_s", "shuffle_s", "lookup_s",
    "layout_s", "transpose_s", "normalize_s", "softmax_s",
)  # fmt: skip
"""Constants of kernels that are seconds for each of something that a layer has."""

CACHE_STRIDE = 4096
"""Bytes from one line of a set of the first cache to the next: 64 sets of 64 bytes, on x86 as on most ARM cores."""

DECODED, ENCODED, SLOPED = 3, 6, 10
"""Operators that decode an operand, that compute and encode the result, and of a slope behind a convolution."""
DOUBLE = 2
"""A sum of codes is one of double precision: a conversion, a difference and the sum take as long as twice a slope."""

ROLLED, PADDED = 4, 3
"""Copies of a picture that is moved around its edges; of codes that get a margin, in single precision between two conversions."""


class Same:
    """A workload as a key: the same one, not one that is equal."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload

    def __hash__(self) -> int:
        return id(self.workload)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.workload is other.workload


class Counted(NamedTuple):
    """What layers have, ``float64[L]``: ``elements [K, L]`` of what takes each of ``SECONDS``; ``products`` of matrix products
    with columns padded to whole vectors, and the ``outputs`` of these; see ``cpu.CpuConstants`` for the others."""

    elements: np.ndarray
    products: np.ndarray
    outputs: np.ndarray
    patches: np.ndarray
    idle: np.ndarray
    done: np.ndarray


@lru_cache(maxsize=512)
def counted(same: Same, lanes: float, blocks: bool, codes: bool) -> Counted:
    """What is counted once for a workload, whatever it costs. ``blocks``: whether channels lie in blocks of ``lanes``; ``codes``:
    whether tensors are integers."""
    workload = same.workload
    count = len(workload.layers)
    elements = np.zeros((len(SECONDS), count))
    products, outputs, patches, idle, done = (np.zeros(count) for _ in range(5))
    transposes, planes = onnxruntime_transposes.executed(workload), _in_planes(workload, codes)
    for row, layer in enumerate(workload.layers):
        found = _elements(workload, layer, transposes[row], codes)
        if pixels := planes.get(layer.inputs[0], 0):
            found |= _across_planes(workload, layer, pixels, codes)
        for name, of in found.items():
            elements[SECONDS.index(name), row] = of
        idle[row] = layer.moves("view") or (isinstance(layer.work, Move) and layer.work.axes != () and transposes[row] is None)
        output = workload.tensors[layer.output]
        if isinstance(layer.work, Contract) and layer.product:
            outputs[row] = output.elements / output.channels * math.ceil(output.channels / lanes) * lanes
            products[row] = outputs[row] * layer.work.depth
        elif isinstance(layer.work, Contract) and not layer.channelwise and layer.window != POINT:
            patches[row] = _gathered(workload, layer)
    if blocks:
        laid = onnxruntime_float.executed(workload, round(lanes))
        done = np.array(laid.fused, dtype=np.float64)
        for row, layer in enumerate(workload.layers):
            if laid.planes[row]:  # patches and a matrix product, channel by channel of a group
                products[row], elements[SECONDS.index("copy_s"), row] = layer.macs, _gathered(workload, layer)
        elements *= 1.0 - done
        elements[SECONDS.index("layout_s")] += [sum(workload.tensors[i].elements for i in rows) for rows in laid.converted]
    return Counted(elements, products, outputs, patches, np.maximum(idle, done), done)


def _gathered(workload: Workload, layer: Layer) -> float:
    """Values of the patches of a convolution."""
    output = workload.tensors[layer.output]
    depth = layer.work.depth if isinstance(layer.work, Contract) else 0
    return float(output.height * output.width * depth * layer.groups) if layer.window != POINT else 0.0


def _elements(workload: Workload, layer: Layer, transposed: Permuted | None, codes: bool) -> dict[str, float]:
    """How many of what takes each of ``SECONDS`` one layer has, the network's input and output included where it reads or writes
    them. ``transposed``: the transpose that is executed there."""
    inputs, output = [workload.tensors[i] for i in layer.inputs], workload.tensors[layer.output]
    ends = sum(t.elements for t in inputs if t.producer < 0) + (0 if output.readers else output.elements)
    found = defaultdict[str, float](float, convert_s=ends)
    read, written = sum(t.elements for t in inputs), output.elements
    match layer.work:
        case Contract(kernel=(rows, columns)):
            taps = rows * columns
            if layer.product and not layer.of_tensors:
                found["row_s"] = written / output.channels
            if taps > 1 and not layer.channelwise:
                found["tap_s"] = output.height * output.width * taps
            found["output_s"] = written
            if layer.finish not in ("none", "clamp"):
                found["slope_s"] = written
        case Move(how="transpose", axes=axes) if axes:
            if transposed is not None:
                steps = onnxruntime_transposes.steps(transposed)
                matrices = steps == 0 and not codes and not is_copy(transposed)
                found |= {"layout_s" if matrices else "copy_s": written, "transpose_s": steps}
        case Move(how="view"):
            pass
        case Move(how="shuffle" | "resize"):
            found["shuffle_s"] = written
        case Move(how="copy"):
            found["copy_s"] = ROLLED * written
        case Move(how="pad") if codes:
            found["copy_s"] = PADDED * written
        case Move():
            found["copy_s"] = written
        case Map(function="function"):
            found["lookup_s"] = written
        case Map(function=function) if codes and (function != "add" or layer.constants or layer.finish not in ("none", "clamp")):
            found["slope_s"] = written * (ENCODED + DECODED * len(layer.inputs)) / SLOPED
        case Map():  # sums, products, and functions that are a comparison and a product
            repeated = written if any(constant.elements > 1 for constant in layer.constants) else 0
            found["elementwise_s"] = max(read, written) + repeated
        case Reduce(passes=passes, keeps=keeps, function=function):
            whole = "softmax_s" if function == "function" else "normalize_s"
            if keeps:
                found[whole] = max(read, written)
            elif codes:
                found["slope_s"] = read * DOUBLE
            else:
                found["elementwise_s"] = max(read, written) * passes
    return found


def _across_planes(workload: Workload, layer: Layer, pixels: int, codes: bool) -> dict[str, float]:
    """What a normalization takes more whose values lie in planes of so many ``pixels``: its sums go from plane to plane, as
    conversions of layout do. Where planes lie a multiple of ``CACHE_STRIDE`` apart, all values of a sum compete for one set of
    the first cache, and each is fetched by itself, as single values of a transpose are."""
    if not (isinstance(layer.work, Reduce) and layer.work.keeps):
        return {}
    elements = workload.tensors[layer.inputs[0]].elements
    return {
        "layout_s": 0 if codes else layer.work.passes * elements,
        "transpose_s": elements if pixels * FP32.whole_bytes % CACHE_STRIDE == 0 else 0,
    }


def _in_planes(workload: Workload, codes: bool) -> dict[int, int]:
    """Tensors that still lie in planes, and the pixels of each plane, although channels were brought behind the pixels: ONNX
    Runtime moves that transpose behind what follows value by value, and behind normalizations. Convolutions of ``codes`` write
    channels behind pixels themselves, so that there is nothing to move but behind a view (three axes)."""
    found: dict[int, int] = {}
    for layer in workload.layers:
        work = layer.work
        if isinstance(work, Move) and work.axes[-1:] == (1,) and (len(work.axes) == 3 or (len(work.axes) == 4 and not codes)):
            found[layer.output] = math.prod(work.shape[2:])
        stays = isinstance(work, Map) or (isinstance(work, Reduce) and work.keeps)
        if stays and all(i in found for i in layer.inputs):
            found[layer.output] = found[layer.inputs[0]]
    return found
