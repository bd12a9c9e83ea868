"""The CPU's int8 convolution (oneDNN, shipped with torch), used where it is provably and demonstrably exact.

The kernel multiplies uint8 codes by int8 weights. On x86 CPUs without VNNI it adds two products in 16 saturating bits, so a layer
is safe there only if ``2 * 255 * max|w|`` stays within them: weights of 7 bits and less always do. Whether this CPU's kernel
saturates, or is there at all, a self-test says: random layers whose sums are known, once a process. Sums come back as
float32, exact up to 2^24, which ``proof.prove_layer`` bounds. ``choice`` says what runs the rest.

The operators are not a public interface of torch: a version in which they are gone or mean something else fails the self-test.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hwmodels.numbers import Int
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Node, conv_of
from searchspaces.ops.contractions.conv import Conv

INT16_SATURATION = 32767
LEAST_WORK = 50
"""Products an output below which the conversion of codes costs more than the kernel saves (measured on AVX2)."""


def saturates(layer: LayerIntegers, source: TensorFormat) -> bool:
    """Whether sums of two products of this layer could exceed 16 bits."""
    largest = int(np.abs(layer.weight.astype(np.int64)).max(initial=0))
    return 2 * max(source.qmax, source.zero_point) * largest > INT16_SATURATION


class Int8Conv:
    """One convolution of codes ``uint8 [1, C, H, W]`` to its sums, bias included, ``float32 [1, O, H', W']``."""

    by = "by the CPU's int8 kernel"

    def __init__(self, node: Node, layer: LayerIntegers, source: TensorFormat) -> None:
        op = conv_of(node)
        self.zero, self.padding = source.zero_point, op.padding
        self.window: list[Any] = [list(op.strides), [0, 0], list(op.dilations), op.groups]
        outputs = len(layer.weight)
        self.scale, self.zeros = torch.ones(outputs), torch.zeros(outputs, dtype=torch.int64)
        self.bias = torch.from_numpy(layer.bias.astype(np.float32))
        left, right, top, bottom = self.padding
        self.even = left == right and top == bottom
        if self.even:
            self.window[1] = [top, left]
        stride, padding, dilation, groups = self.window
        weight = torch.from_numpy(np.ascontiguousarray(layer.weight))
        # The scale and zero point of the input go into a correction of the sums that oneDNN makes here, padding included.
        self.packed = torch.ops.onednn.qconv_prepack(weight, self.scale, 1.0, self.zero, stride, padding, dilation, groups, None)

    def __call__(self, codes: Tensor) -> Tensor:
        if not self.even:
            codes = F.pad(codes, self.padding, value=self.zero)
        codes = codes.contiguous(memory_format=torch.channels_last)
        stride, padding, dilation, groups = self.window
        sums: Tensor = torch.ops.onednn.qconv2d_pointwise(
            codes, 1.0, self.zero, self.packed, self.scale, self.zeros, self.bias,
            stride, padding, dilation, groups, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return sums


@lru_cache(maxsize=1)
def capability() -> str:
    """What the self-test found: "full" (exact for all weights), "narrow" (exact where nothing saturates) or "none"."""
    for top, found in ((127, "full"), (64, "narrow")):
        if all(_exact(top, channels, groups, zero) for channels, groups, zero in ((64, 1, 0), (24, 1, 131), (32, 32, 7))):
            return found
    return "none"


def _exact(top: int, channels: int, groups: int, zero: int) -> bool:
    """Whether one random layer with weights in ``-top .. top``, its largest ones frequent, has the sums it must have."""
    rng = np.random.default_rng(channels)
    shape = (32, channels // groups, 3, 3)
    weight = np.where(rng.random(shape) < 0.5, rng.choice([-top, top], shape), rng.integers(-top, top + 1, shape)).astype(np.int8)
    layer = LayerIntegers(8, weight, np.ones(32, np.float32), rng.integers(-9999, 9999, 32))
    op = Conv(padding=(1, 1, 1, 1), groups=groups)
    codes = np.where(rng.random((1, channels, 9, 11)) < 0.5, 255, rng.integers(0, 256, (1, channels, 9, 11)))
    x = torch.from_numpy((codes - zero).astype(np.float32))
    carried = torch.from_numpy(codes.astype(np.uint8))
    bias, w = (torch.from_numpy(array.astype(np.float32)) for array in (layer.bias, weight))
    with torch.no_grad(), torch.backends.nnpack.flags(enabled=False):
        expected = F.conv2d(x, w, bias, padding=1, groups=groups)
        try:
            got = Int8Conv(Node("test", op, ("x",)), layer, TensorFormat(Int(8), 1.0, zero))(carried)
        except (AttributeError, RuntimeError, NotImplementedError, TypeError, ValueError):
            return False
    return torch.equal(got, expected)


def usable(layer: LayerIntegers, source: TensorFormat) -> bool:
    """Whether this layer, whose sums stay below 2^24, should run on the int8 kernel here."""
    if source.carrier != torch.uint8 or layer.weight[0].size < LEAST_WORK:
        return False
    found = capability()
    return found == "full" or (found == "narrow" and not saturates(layer, source))
