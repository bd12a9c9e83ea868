"""Which of the CPU's arithmetics runs a layer. All give the same sums, so it is a matter of speed alone.

A CPU whose int8 kernel is exact for all weights has VNNI, and that kernel goes first. On others come integer Winograd convolution
and direct pair products, whichever needs less work, then the int8 kernel where narrow weights make it exact, and for the rest
convolutions in floating point, in the carrier that ``proof.prove_layer`` found.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numba.core.errors import NumbaError

from hwsearch.quant.engine.kernels import int8_kernel, pair_products
from hwsearch.quant.engine.kernels.bands import BandConv, all_sums
from hwsearch.quant.engine.kernels.int8_kernel import Int8Conv
from hwsearch.quant.engine.kernels.pair_conv import PairConv
from hwsearch.quant.engine.kernels.winograd import Winograd
from hwsearch.quant.engine.proof import FLOAT32_LIMIT
from hwsearch.quant.formats import TensorFormat
from hwsearch.quant.graph import LayerIntegers
from searchspaces.ir.graph import Node

Kernel = BandConv | Int8Conv

SELF_TEST: tuple[tuple[type[BandConv], int, int], ...] = (
    (Winograd, pair_products.PANEL + 3, 1),
    (PairConv, pair_products.PANEL + 3, 1),
    (PairConv, pair_products.LANES // 2, 2),
)
"""Arithmetic, outputs and stride: wide and narrow panels, strides and folded weights."""


def kernel(node: Node, layer: LayerIntegers, source: TensorFormat, bound: int) -> type[Kernel] | None:
    """What computes the sums of a layer here, at most ``bound`` in magnitude; None for a convolution in floating point."""
    int8 = bound <= FLOAT32_LIMIT and int8_kernel.usable(layer, source)  # its sums are float32
    if int8 and int8_kernel.capability() == "full":
        return Int8Conv
    if source.carrier == torch.int16 and band_convolutions_work():
        suitable = [kind for kind in (Winograd, PairConv) if kind.suits(node, layer, source, bound)]
        if suitable:
            return min(suitable, key=lambda kind: kind.work(node, layer))
    return Int8Conv if int8 else None


@lru_cache(maxsize=1)
def band_convolutions_work() -> bool:
    """Whether this CPU has the instruction, and a self-test, once a process, finds the sums that it must find.

    It guards against a version of numba or llvmlite that compiles these kernels to something else, or not at all.
    """
    return pair_products.compiles() and all(_exact(*layer) for layer in SELF_TEST)


def _exact(kind: type[BandConv], outputs: int, stride: int) -> bool:
    """Whether a layer of the most extreme codes and weights has the sums of a convolution in float64.

    At stride 1 the picture takes several bands, and by Winograd several blocks of tiles, whose seams are the places to err.
    """
    rng = np.random.default_rng(0)
    weight = rng.choice(np.array([-127, -126, 1, 127], np.int8), (outputs, 7, 3, 3))
    layer = LayerIntegers(8, weight, np.ones(outputs, np.float32), rng.integers(-9999, 9999, outputs))
    attrs = {"stride": stride, "padding": (1, 1, 1, 1), "dilation": 1, "groups": 1}
    x = rng.choice(np.array([-255, -3, 0, 254, 255], np.int16), (20, 350, 7))
    w, b = torch.from_numpy(weight).double(), torch.from_numpy(layer.bias).double()
    codes = torch.from_numpy(x).double().permute(2, 0, 1)[None]
    expected = F.conv2d(codes, w, b, stride=stride, padding=1)[0].permute(1, 2, 0)
    try:
        sums = all_sums(kind(Node("test", "conv", ("x",), attrs), layer), x)
    except (NumbaError, AttributeError, RuntimeError, NotImplementedError, TypeError, ValueError):
        return False
    return np.array_equal(sums, expected.numpy())
