"""Which of the CPU's arithmetics runs a layer. All give the same sums, so it is a matter of speed alone.

On CPUs with VNNI it is measured (``timing``): integer Winograd convolution, direct products of 8-bit or 16-bit integers, and
torch's int8 kernel, which is exact there, each win some layers. On others come Winograd and direct pair products, whichever needs
less work, then the int8 kernel where narrow weights make it exact, and for the rest convolutions in floating point, in the
carrier that ``proof.prove_layer`` found.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numba.core.errors import NumbaError

from hwmodels.numbers import Int
from hwsearch.quant.engine.kernels import cpu, int8_kernel
from hwsearch.quant.engine.kernels.bands import BandConv, all_sums
from hwsearch.quant.engine.kernels.cpu import LANES
from hwsearch.quant.engine.kernels.int8_kernel import Int8Conv
from hwsearch.quant.engine.kernels.pair_conv import PairConv
from hwsearch.quant.engine.kernels.products.word_products import PANEL
from hwsearch.quant.engine.kernels.quad_conv import QuadConv
from hwsearch.quant.engine.kernels.tile_conv import TileConv
from hwsearch.quant.engine.kernels.timing import Kernel, fastest
from hwsearch.quant.engine.kernels.winograd import Winograd
from hwsearch.quant.engine.proof import FLOAT32_LIMIT
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Node
from searchspaces.ops.contractions.conv import Conv

SELF_TEST: dict[type[BandConv], tuple[tuple[int, int], ...]] = {
    Winograd: ((PANEL + 3, 1),),
    PairConv: ((PANEL + 3, 1), (LANES // 2, 2)),
    QuadConv: ((PANEL + 3, 1), (LANES // 2, 2)),
    TileConv: ((PANEL + 3, 1), (LANES // 2, 2)),
}
"""Arithmetic, in the order of preference -> outputs and stride of layers that try it: wide and narrow panels, strides and folded
weights."""


def kernel(node: Node, layer: LayerIntegers, source: TensorFormat, bound: int) -> type[Kernel] | None:
    """What computes the sums of a layer here, at most ``bound`` in magnitude; None for a convolution in floating point."""
    bands = [kind for kind in SELF_TEST if kind.suits(node, layer, source, bound) and works(kind)] if fits(source) else []
    int8 = bound <= FLOAT32_LIMIT and int8_kernel.usable(layer, source)  # its sums are float32
    if cpu.multiplies_quads() and bands:
        return fastest([*bands, Int8Conv] if int8 else bands, node, layer, source)
    if int8 and int8_kernel.capability() == "full":
        return Int8Conv
    if bands:
        return min(bands, key=lambda kind: kind.work(node, layer))
    return Int8Conv if int8 else None


def fits(source: TensorFormat) -> bool:
    """Whether the engine holds a tensor of this format in 8 or 16 bits, as convolutions in bands need it."""
    return source.carrier in (torch.uint8, torch.int16)


@cache
def works(kind: type[BandConv]) -> bool:
    """Whether this CPU has the instructions, and a self-test, once a process, finds the sums that it must find.

    It guards against a version of numba or llvmlite that compiles these kernels to something else, or not at all.
    """
    return kind.possible() and all(_exact(kind, *layer) for layer in SELF_TEST[kind])


def _exact(kind: type[BandConv], outputs: int, stride: int) -> bool:
    """Whether a layer of the most extreme codes and weights has the sums of a convolution in float64.

    Codes are carried in 8 bits, with either sign, and where the kernel takes it in 16. At stride 1 the picture takes several
    bands, and by Winograd several blocks of tiles, whose seams are the places to err.
    """
    rng = np.random.default_rng(0)
    weight = rng.choice(np.array([-127, -126, 1, 127], np.int8), (outputs, 7, 3, 3))
    layer = LayerIntegers(8, weight, np.ones(outputs, np.float32), rng.integers(-9999, 9999, outputs))
    node = Node("test", Conv(stride, (1, 1, 1, 1)), ("x",))
    w, b = torch.from_numpy(weight).double(), torch.from_numpy(layer.bias).double()
    for source in (TensorFormat(Int(8)), TensorFormat(Int(8), 1.0, 252), TensorFormat(Int(16), 1.0, 252)):
        if not kind.suits(node, layer, source, 0):
            continue
        codes = torch.from_numpy(rng.choice(np.array([0, 1, 254, 255]), (20, 350, 7))) - source.zero_point
        expected = F.conv2d(codes.double().permute(2, 0, 1)[None], w, b, stride=stride, padding=1)[0].permute(1, 2, 0)
        try:
            sums = all_sums(kind(node, layer, source), source.carried(codes).numpy())
        except (NumbaError, AttributeError, RuntimeError, NotImplementedError, TypeError, ValueError):
            return False
        if not np.array_equal(sums, expected.numpy()):
            return False
    return True
