"""Why the sums of a layer lose nothing: for each layer a bound on every partial sum, and a carrier that is exact up to it.

For an output channel no partial sum, in any order, exceeds ``max(H P + L N, H N + L P) + |bias|``, where the shifted codes lie in
``-L .. H`` and P and N are the sums of the positive and of the negative weights. So up to 2^24 a float32 convolution is exact and
not approximately right. Where that bound does not hold, the input is split in two or three limbs (``hi * R + lo``), each of
which is bounded separately and whose sums are put together in float64; and where not even that holds, the whole convolution
runs in float64 (2^53). This holds on every machine; which arithmetic runs a layer here is the matter of ``kernels.choice``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers

FLOAT32_LIMIT, FLOAT64_LIMIT, INT32_LIMIT = 2**24, 2**53, 2**31 - 1


@dataclass(frozen=True)
class OverflowProof:
    """Why a layer's sums lose nothing.

    Attributes:
        bound: largest magnitude, over output channels, that any partial sum can reach.
        carrier: "float32", "float32 limbs" or "float64"; "half precision" for a layer that is no integer layer (bound 0).
        limit: largest integer magnitude up to which the carrier is exact.
        limbs, radix: how many convolutions share the work, and the base of the limbs.
        int32: the sums also fit the 32-bit accumulator of runtimes (of each limb, for a 16-bit input).
    """

    layer: str
    bound: int
    carrier: str
    limit: int
    limbs: int
    radix: int
    int32: bool


def reach(fmt: TensorFormat) -> int:
    """Largest ``|q - z|`` that a tensor of this format can hold."""
    return max(fmt.qmax - fmt.zero_point, fmt.zero_point - fmt.qmin, 0)


def largest_sums(rows: np.ndarray, bias: np.ndarray, source: TensorFormat) -> np.ndarray:
    """The largest magnitude of any partial sum by output channel ``[O]``, in the type of the weights ``rows [O, K]``."""
    up, down = np.maximum(rows, 0).sum(axis=1), np.maximum(-rows, 0).sum(axis=1)
    most, least = max(source.qmax - source.zero_point, 0), max(source.zero_point - source.qmin, 0)
    found: np.ndarray = np.maximum(most * up + least * down, most * down + least * up) + np.abs(bias)
    return found


def prove_layer(name: str, layer: LayerIntegers | LayerFloats, source: TensorFormat) -> OverflowProof:
    """The carrier of one layer that reads a tensor of format ``source``."""
    if isinstance(layer, LayerFloats):
        return OverflowProof(name, 0, "half precision", 0, 1, 1, False)
    rows = layer.weight.astype(np.int64).reshape(layer.weight.shape[0], -1)
    bound = int(largest_sums(rows, layer.bias.astype(np.int64), source).max())
    weight = np.abs(rows).sum(axis=1)
    # A runtime convolves the two bytes of a 16-bit tensor apart, each with sums of 32 bits, and joins them in wider numbers.
    int32 = int(256 * weight.max()) <= INT32_LIMIT if source.is_wide else bound <= INT32_LIMIT
    if bound <= FLOAT32_LIMIT:
        return OverflowProof(name, bound, "float32", FLOAT32_LIMIT, 1, 1, int32)
    for limbs in (2, 3):
        radix = 1 << -(-source.number.bits // limbs)
        largest = max(reach(source) // radix ** (limbs - 1) + 1, radix - 1)
        if largest * int(weight.max()) <= FLOAT32_LIMIT and bound <= FLOAT64_LIMIT:
            return OverflowProof(name, bound, "float32 limbs", FLOAT64_LIMIT, limbs, radix, int32)
    if bound <= FLOAT64_LIMIT:
        return OverflowProof(name, bound, "float64", FLOAT64_LIMIT, 1, 1, int32)
    raise ValueError(f"layer {name!r}: sums up to {bound} cannot be computed exactly")
