"""One convolution of the integer engine: codes to sums by the arithmetic that ``kernels.choice`` chose, and sums to the
codes of the next tensor.

In floating point the convolutions are those of torch: exact on integers as long as no partial sum leaves the range in which the
carrier holds every integer, which ``proof`` shows.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hwsearch.quant.engine import buffers, requant
from hwsearch.quant.engine.kernels.bands import BandConv, Epilogue, copy_sums, run_bands
from hwsearch.quant.engine.kernels.choice import kernel
from hwsearch.quant.engine.kernels.timing import Kernel
from hwsearch.quant.engine.proof import INT32_LIMIT, prove_layer
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers
from searchspaces.ir.graph import Node, conv_of
from searchspaces.ops.maps.activation import activate

I16_LIMIT = 2**47 - 1
"""Largest sum that the 64-bit product with a 16-bit multiplier of arithmetic "i16" bears."""


def store(real: Tensor, fmt: TensorFormat) -> Tensor:
    """Real values to what the engine carries: codes, or rounded floating-point values."""
    return fmt.carried(fmt.stored(real))


def load(value: Tensor, fmt: TensorFormat) -> Tensor:
    """Real values of what ``store`` gives."""
    return fmt.real(fmt.shifted(value).float())


class Conv:
    """One convolution, prepared: weights in the carrier, multipliers, bounds."""

    def __init__(
        self, node: Node, layer: LayerIntegers | LayerFloats, source: TensorFormat, target: TensorFormat, rule: str = "f32"
    ) -> None:
        self.node, self.source, self.target = node, source, target
        self.floats = isinstance(layer, LayerFloats)
        self.proof = prove_layer(node.name, layer, source)
        if isinstance(layer, LayerIntegers) and source.is_float:
            raise ValueError(f"layer {node.name!r} has integer weights but reads a floating-point tensor")
        dtype = torch.float64 if self.proof.carrier == "float64" else torch.float32
        self.weight = torch.from_numpy(np.ascontiguousarray(layer.weight)).to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = torch.from_numpy(np.ascontiguousarray(layer.bias)).to(torch.float64)
        if isinstance(layer, LayerFloats):
            return
        if rule != "f32" and self.proof.bound > (limit := I16_LIMIT if source.is_wide or target.is_wide else INT32_LIMIT):
            raise ValueError(
                f"layer {node.name!r}: sums up to {self.proof.bound} overflow the {limit.bit_length()} bits of {rule!r}"
            )
        found = kernel(node, layer, source, self.proof.bound)
        self.kernel: Kernel | None = None
        if found is not None:
            self.kernel = found(node, layer, source)
        if target.is_float:
            self.m = torch.from_numpy(requant.multipliers(layer, source, target)).view(1, -1, 1, 1)
        else:
            self.requantize = requant.requantizer(node, layer, source, target, rule)

    def _conv(self, x: Tensor, bias: Tensor | None) -> Tensor:
        op = conv_of(self.node)
        left, right, top, bottom = op.padding
        padding = (top, left)
        if left != right or top != bottom:
            x, padding = F.pad(x, (left, right, top, bottom)), (0, 0)
        return F.conv2d(
            x.to(self.weight.dtype),
            self.weight,
            None if bias is None else bias.to(self.weight.dtype),
            stride=op.strides,
            padding=padding,
            dilation=op.dilations,
            groups=op.groups,
        )

    def _bands(self, conv: BandConv, x: Tensor, finish: Epilogue, dtype: torch.dtype) -> Tensor:
        """What ``finish`` makes of the sums of each picture of ``x [N, C, H, W]``."""
        height, width = conv.size(*x.shape[2:])
        out = buffers.channels_last((len(x), conv.outputs, height, width), dtype)
        for i in range(len(x)):
            run_bands(conv, requant.pixels(x[i : i + 1]), finish, requant.pixels(out[i : i + 1]), torch.get_num_threads())
        return out

    def accumulate(self, x: Tensor) -> Tensor:
        """Codes as they are carried to sums, bias included: exact integers in int32, float32 or float64."""
        if isinstance(self.kernel, BandConv):
            return self._bands(self.kernel, x, copy_sums, torch.int32)
        if self.kernel is not None:
            return self.kernel(x)
        x = self.source.shifted(x).to(self.weight.dtype)
        if self.proof.carrier != "float32 limbs":
            return self._conv(x, self.bias)
        radix, total = self.proof.radix, self.bias.view(1, -1, 1, 1)
        for power in range(self.proof.limbs):
            rest = torch.floor(x / radix) if power < self.proof.limbs - 1 else torch.zeros_like(x)
            total = total + self._conv(x - rest * radix, None).double() * radix**power
            x = rest
        return total

    def __call__(self, x: Tensor) -> Tensor:
        if self.floats:
            real = self._conv(load(x, self.source), self.bias)
            return store(activate(real, self.node.activation, self.node.weights), self.target)
        if isinstance(self.kernel, BandConv) and not self.target.is_float:
            return self._bands(self.kernel, x, self.requantize, self.target.carrier)
        acc = self.accumulate(x)
        if self.target.is_float:
            real = (acc.to(self.m.dtype) * self.m).float()
            return store(activate(real, self.node.activation, self.node.weights), self.target)
        out = buffers.channels_last(tuple(acc.shape), self.target.carrier)
        self.requantize(requant.pixels(acc), requant.pixels(out))
        return out
