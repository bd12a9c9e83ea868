"""What ONNX Runtime does for every layer of a network on a processor, counted once, whatever each piece of it costs.

Its files hold several operators in place of some layers. Integers have kernels for convolutions, sums, matrix products and
softmax; what is computed between codes otherwise is decoded, computed in single precision, rounded, bounded and encoded by nine
to twelve operators (``slope_s``: so is a slope behind a convolution), and a function of one value is looked up. A dense layer of
codes is a convolution of as many pictures of one pixel as there are rows, each of which is begun anew (``row_s``); so are rows
of a normalization, and in single precision those of a softmax. A product of two tensors is a call for each pair of matrices. A
picture that is moved around its edges is cut and put together again, along rows and along columns: four copies.

A convolution of codes with a slope behind it keeps its sums (ConvInteger). It lies in planes, so that pixels are the columns of
its matrix product: output channels are not padded, and patches are copied row by row of a plane and then packed for the product
(``pack_s``).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hwmodels.classes import onnxruntime_float, onnxruntime_transposes
from hwmodels.classes.onnxruntime_transposes import Permuted, is_copy
from hwmodels.numbers import FP32
from hwmodels.workload import POINT, Contract, Layer, Map, Move, Reduce, Tensor, Workload

SECONDS = (
    "convert_s", "tap_s", "pack_s", "row_s", "matrix_s", "output_s", "slope_s", "elementwise_s", "copy_s", "shuffle_s",
    "lookup_s", "layout_s", "transpose_s", "normalize_s", "softmax_s",
)  # fmt: skip
"""Constants of kernels that are seconds for each of something that a layer has."""

CACHE_STRIDE = 4096
"""Bytes from one line of a set of the first cache to the next: 64 sets of 64 bytes, on x86 as on most ARM cores."""

FUSED = ("none", "clamp")
"""What a kernel does itself behind a convolution or sum of codes."""
DECODED, ENCODED, SLOPED = 3, 6, 11
"""Operators that decode an operand, that compute and encode the result, and of a slope behind a convolution."""
COPIED_ROW = 55
"""Values that are packed in the time in which a row of a patch is copied: 3.3 ns on a Zen 4, where packing takes 0.06."""
COLLIDING = 2.2
"""What packing takes more, in values, where planes lie a multiple of ``CACHE_STRIDE`` apart: lines are fetched several times."""
BEGUN = 3
"""Beginnings of a row of a normalization in single precision: mean and variance are sums of their own. A softmax has one."""
NORMALIZED = 9
"""Operators of a normalization."""
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
    with columns padded to whole vectors, and the ``outputs`` of these; ``dense``, whether one side is weights; ``sums``, products
    of convolutions that keep their sums; see ``cpu.CpuConstants`` for the others."""

    elements: np.ndarray
    products: np.ndarray
    outputs: np.ndarray
    dense: np.ndarray
    sums: np.ndarray
    patches: np.ndarray
    idle: np.ndarray
    calls: np.ndarray


@lru_cache(maxsize=512)
def counted(same: Same, lanes: float, blocks: bool, codes: bool) -> Counted:
    """What is counted once for a workload, whatever it costs. ``blocks``: whether channels lie in blocks of ``lanes``; ``codes``:
    whether tensors are integers."""
    workload = same.workload
    count = len(workload.layers)
    elements = np.zeros((len(SECONDS), count))
    products, outputs, dense, sums, patches, idle, done = (np.zeros(count) for _ in range(7))
    calls = np.array([_calls(layer, codes) for layer in workload.layers], dtype=np.float64)
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
            dense[row] = not layer.of_tensors
        elif isinstance(layer.work, Contract) and not layer.channelwise:
            kept = codes and _packs(layer)
            sums[row] = layer.macs if kept else 0.0
            if not (kept and _collides(output)):  # waiting for colliding lines takes longer
                patches[row] = _gathered(workload, layer)
    if blocks:
        laid = onnxruntime_float.executed(workload, round(lanes))
        done = np.array(laid.fused, dtype=np.float64)
        for row, layer in enumerate(workload.layers):
            if laid.planes[row]:  # patches and a matrix product, channel by channel of a group
                products[row], elements[SECONDS.index("copy_s"), row] = layer.macs, _gathered(workload, layer)
        elements *= 1.0 - done
        elements[SECONDS.index("layout_s")] += [sum(workload.tensors[i].elements for i in rows) for rows in laid.converted]
    return Counted(elements, products, outputs, dense, sums, patches, np.maximum(idle, done), calls * (1.0 - done))


def _is_sloped(layer: Layer) -> bool:
    """Whether products of codes are summed by one operator and finished by others: a slope is fused behind none of them."""
    return layer.contracts and layer.finish not in FUSED


def _packs(layer: Layer) -> bool:
    """Whether it is such a convolution whose kernel packs patches: no matrix product, and not one channel by itself."""
    return _is_sloped(layer) and not layer.product and not layer.channelwise


def _is_decoded(layer: Layer) -> bool:
    """Whether an element-wise operation between codes is computed in single precision."""
    work = layer.work
    added = isinstance(work, Map) and work.function == "add" and not layer.constants and layer.finish in FUSED
    return isinstance(work, Map) and work.function != "function" and not added


def _calls(layer: Layer, codes: bool) -> int:
    """Operators that run for a layer."""
    work = layer.work
    if layer.is_normalization:
        return NORMALIZED + (DECODED + ENCODED if codes else 0)
    if not codes:
        return 1
    if _is_sloped(layer):
        return 1 + SLOPED
    if _is_decoded(layer):
        return ENCODED + DECODED * len(layer.inputs)
    return 2 if isinstance(work, Map) and work.function == "function" else 1


def _packed(workload: Workload, layer: Layer) -> float:
    """Values of the patches that are packed where sums are kept, with what copying and collisions take more."""
    output = workload.tensors[layer.output]
    rows = COPIED_ROW / output.width if layer.window != POINT else 0.0
    return _patches(workload, layer) * (1 + rows + (COLLIDING if _collides(output) else 0.0))


def _collides(planes: Tensor) -> bool:
    """Whether planes of codes lie a multiple of ``CACHE_STRIDE`` apart."""
    return planes.height * planes.width % CACHE_STRIDE == 0


def _gathered(workload: Workload, layer: Layer) -> float:
    """Values of the patches that have to be gathered: those of one pixel lie together as they are."""
    return _patches(workload, layer) if layer.window != POINT else 0.0


def _patches(workload: Workload, layer: Layer) -> float:
    """Values of the patches of a convolution."""
    output = workload.tensors[layer.output]
    depth = layer.work.depth if isinstance(layer.work, Contract) else 0
    return float(output.height * output.width * depth * layer.groups)


def _elements(workload: Workload, layer: Layer, transposed: Permuted | None, codes: bool) -> dict[str, float]:
    """How many of what takes each of ``SECONDS`` one layer has, the network's input and output included where it reads or writes
    them; none of those that are not named. ``transposed``: the transpose that is executed there."""
    inputs, output = [workload.tensors[i] for i in layer.inputs], workload.tensors[layer.output]
    ends = sum(t.elements for t in inputs if t.producer < 0) + (0 if output.readers else output.elements)
    read, written = sum(t.elements for t in inputs), output.elements
    match layer.work:
        case Contract() as work:
            found = _of_contraction(workload, layer, work, codes)
        case Move() as work:
            found = _of_move(work, written, transposed, codes)
        case Map() as work:
            found = _of_map(layer, work, read, written, codes)
        case Reduce() as work:
            found = _of_reduction(work, read, written, codes)
    return {"convert_s": ends} | found


def _of_contraction(workload: Workload, layer: Layer, work: Contract, codes: bool) -> dict[str, float]:
    output, (rows, columns) = workload.tensors[layer.output], work.kernel
    found: dict[str, float] = {}
    if layer.of_tensors:
        # B pairs of [M, K] and [K, N]: B M K times B K N times B M N over the square of B M K N is B.
        found["matrix_s"] = math.prod(workload.tensors[i].elements for i in (*layer.inputs, layer.output)) / work.macs**2
    elif layer.product and codes:
        found["row_s"] = output.elements / output.channels
    if codes and _packs(layer):
        found["pack_s"] = _packed(workload, layer)
    elif rows * columns > 1 and not layer.channelwise:
        # Of a group only its own channels lie side by side, not a row of taps.
        found["tap_s"] = output.height * output.width * rows * (work.groups * columns if work.groups > 1 else 1)
    sloped = _is_sloped(layer)
    if sloped:
        found["slope_s"] = output.elements
    if not (sloped and codes):  # what sums that are kept take until they are codes is all in the operators behind them
        found["output_s"] = output.elements
    return found


def _of_move(work: Move, written: int, transposed: Permuted | None, codes: bool) -> dict[str, float]:
    if work.how == "transpose" and work.axes:
        if transposed is None:
            return {}
        steps = onnxruntime_transposes.steps(transposed)
        matrices = steps == 0 and not codes and not is_copy(transposed)
        return {"layout_s" if matrices else "copy_s": written, "transpose_s": steps}
    match work.how:
        case "view":
            return {}
        case "shuffle" | "resize":
            return {"shuffle_s": written}
        case "copy":
            return {"copy_s": ROLLED * written}
        case "pad" if codes:
            return {"copy_s": PADDED * written}
    return {"copy_s": written}


def _of_map(layer: Layer, work: Map, read: int, written: int, codes: bool) -> dict[str, float]:
    if work.function == "function":
        return {"lookup_s": written}
    if codes and _is_decoded(layer):
        return {"slope_s": written * _calls(layer, codes) / SLOPED}
    # Sums, products, and functions that are a comparison and a product.
    repeated = written if any(constant.elements > 1 for constant in layer.constants) else 0
    return {"elementwise_s": max(read, written) + repeated}


def _of_reduction(work: Reduce, read: int, written: int, codes: bool) -> dict[str, float]:
    if work.keeps:
        rows = _begun(work.is_softmax, codes) * read / work.over
        return {"softmax_s" if work.is_softmax else "normalize_s": max(read, written), "row_s": rows}
    return {"slope_s": read * DOUBLE} if codes else {"elementwise_s": max(read, written) * work.passes}


def _begun(is_softmax: bool, codes: bool) -> int:
    """How often a row of a softmax or a normalization begins anew."""
    if is_softmax:
        return 0 if codes else 1
    return 1 if codes else BEGUN


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
