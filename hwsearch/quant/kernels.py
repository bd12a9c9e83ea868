"""Which of the CPU's arithmetics runs a layer: all give the same sums, so the fastest that is there and suits the layer.

The order was measured. A CPU whose int8 kernel is exact for all weights has VNNI, and nothing beats it. Elsewhere come integer
Winograd convolution and direct pair products, whichever needs less work, then the int8 kernel for narrow weights, and
floating-point convolutions for the rest, by the carrier that ``integer.prove_layer`` found.
"""

from __future__ import annotations

import torch

from hwsearch.quant import int8_kernel, pair_products
from hwsearch.quant.bands import BandConv
from hwsearch.quant.int8_kernel import Int8Conv
from hwsearch.quant.model import LayerIntegers, TensorFormat
from hwsearch.quant.pair_conv import PairConv
from hwsearch.quant.winograd import Winograd
from searchspaces.graph import Node

Kernel = BandConv | Int8Conv


def kernel(node: Node, layer: LayerIntegers, source: TensorFormat, bound: int) -> type[Kernel] | None:
    """What computes the sums of a layer, at most ``bound`` in magnitude, here; None for a convolution in floating point."""
    int8 = bound <= int8_kernel.LARGEST_SUM and int8_kernel.usable(layer, source)
    if int8 and int8_kernel.capability() == "full":
        return Int8Conv
    if source.carrier == torch.int16 and pair_products.available():
        direct = PairConv.suits(node, layer, source, bound)
        if Winograd.suits(node, layer, source, bound) and not (
            direct and PairConv.work(node, layer) < Winograd.work(node, layer)
        ):
            return Winograd
        if direct:
            return PairConv
    return Int8Conv if int8 else None
