"""The integer engine: executes a quantized network on the integers that a device would see, and proves for each layer that it
may.

A tensor of codes travels as *shifted* codes ``q - z`` in float32 (channels-last). Convolutions are those of torch: they are
exact on integers as long as no partial sum leaves the range in which the carrier holds every integer. For an output channel no
partial sum, in any order, exceeds ``max(H P + L N, H N + L P) + |bias|``, where the shifted codes lie in ``-L .. H``
and P and N are the sums of the positive and of the negative weights; so up to 2^24 the float32 convolution is exact, not
approximately right. Where that bound does not hold, the input is split in two or three limbs (``hi * R + lo``), each of which is
bounded separately and whose sums are put together in float64; and where not even that holds, the whole convolution runs in
float64 (2^53). ``proofs`` tells which carrier each layer has and why. A layer that float32 carries may run on the CPU's int8
kernel instead, where a self-test has shown that it gives the same sums (``int8_kernel``); ``path`` tells what runs here.

Exact, equal to the exported ONNX file under ONNX Runtime code for code: convolutions, additions, all moves, activations,
products, pooling of integer tensors, nearest-neighbour resizing. Not claimed exact: bilinear and bicubic resizing, and whatever
the device itself executes in half precision (``LayerFloats``, float tensors): their sums depend on the order of additions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hwsearch.quant import fixed_point, requant
from hwsearch.quant.bands import BandConv, Finish, run_bands
from hwsearch.quant.kernels import kernel
from hwsearch.quant.model import LayerFloats, LayerIntegers, QuantizedGraph, TensorFormat
from searchspaces.graph import Node, activate, apply, pair

FLOAT32_LIMIT, FLOAT64_LIMIT, INT32_LIMIT = 2**24, 2**53, 2**31 - 1
I16_LIMIT = 2**47 - 1
"""Largest sum that the 64-bit product with a 16-bit multiplier of arithmetic "i16" bears."""


@dataclass(frozen=True)
class Proof:
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


def prove_layer(name: str, layer: LayerIntegers | LayerFloats, source: TensorFormat) -> Proof:
    """The carrier of one layer that reads a tensor of format ``source``."""
    if isinstance(layer, LayerFloats):
        return Proof(name, 0, "half precision", 0, 1, 1, False)
    rows = layer.weight.astype(np.int64).reshape(layer.weight.shape[0], -1)
    up, down = np.maximum(rows, 0).sum(axis=1), np.maximum(-rows, 0).sum(axis=1)
    most, least = max(source.qmax - source.zero_point, 0), max(source.zero_point - source.qmin, 0)
    bias = np.abs(layer.bias.astype(np.int64))
    bound = int((np.maximum(most * up + least * down, most * down + least * up) + bias).max())
    weight = up + down
    # A runtime convolves the two bytes of a 16-bit tensor apart, each with sums of 32 bits, and joins them in wider numbers.
    int32 = int(256 * weight.max()) <= INT32_LIMIT if source.bits > 8 else bound <= INT32_LIMIT
    if bound <= FLOAT32_LIMIT:
        return Proof(name, bound, "float32", FLOAT32_LIMIT, 1, 1, int32)
    for limbs in (2, 3):
        radix = 1 << -(-source.bits // limbs)
        largest = max(reach(source) // radix ** (limbs - 1) + 1, radix - 1)
        if largest * int(weight.max()) <= FLOAT32_LIMIT and bound <= FLOAT64_LIMIT:
            return Proof(name, bound, "float32 limbs", FLOAT64_LIMIT, limbs, radix, int32)
    if bound <= FLOAT64_LIMIT:
        return Proof(name, bound, "float64", FLOAT64_LIMIT, 1, 1, int32)
    raise ValueError(f"layer {name!r}: sums up to {bound} cannot be computed exactly")


def proofs(qgraph: QuantizedGraph) -> list[Proof]:
    """One proof per convolution, in execution order."""
    return [prove_layer(n.name, qgraph.layers[n.name], qgraph.formats[n.inputs[0]]) for n in qgraph.graph.convs]


def path(qgraph: QuantizedGraph) -> str:
    """Which arithmetic runs this network here, in words: "12 layers by integer Winograd, 1 layer in float64"."""

    def runs(proof: Proof) -> str:
        layer, source = qgraph.layers[proof.layer], qgraph.formats[qgraph.graph[proof.layer].inputs[0]]
        found = kernel(qgraph.graph[proof.layer], layer, source, proof.bound) if isinstance(layer, LayerIntegers) else None
        return found.by if found else f"in {proof.carrier}"

    counts = Counter(runs(proof) for proof in proofs(qgraph))
    return ", ".join(f"{count} {'layer' if count == 1 else 'layers'} {by}" for by, count in counts.items())


def exact(qgraph: QuantizedGraph) -> bool:
    """Whether every code of the network is claimed equal under ONNX Runtime: no half precision, no interpolating resize."""
    resized = any(n.op == "resize" and n.attrs["mode"] != "nearest" for n in qgraph.graph.nodes)
    return not (resized or qgraph.float_layers or any(f.is_float for f in qgraph.formats.values()))


def unary_table(node: Node, source: TensorFormat, target: TensorFormat) -> Tensor:
    """What a sigmoid or tanh writes for every code 0 .. 2^bits - 1 of its input: shifted codes, or real values for a float
    target; float32 ``[2^bits]``. A table is what integer hardware has, and it makes transcendental functions exact."""
    codes = torch.arange(1 << (16 if source.bits > 8 else 8), dtype=torch.float32)
    real = activate(source.decode(codes), node.attrs["kind"], node)
    return real.half().float() if target.is_float else target.encode(real) - target.zero_point


def _table(node: Node, source: TensorFormat, target: TensorFormat, rule: str) -> Tensor | None:
    """What an activation writes for every code of its input, where it is one of integers; None where it computes real values."""
    if source.is_float:
        return None
    kind = node.attrs["kind"]
    if kind in ("sigmoid", "tanh"):
        return unary_table(node, source, target).to(target.carrier)
    if rule != "f32" and kind in ("relu", "relu6") and source.bits <= 8 and target.bits <= 8:
        low, high = (bound - target.zero_point for bound in requant.bounds(node, target))
        return torch.from_numpy(fixed_point.rescale_table(source, target, low, high))
    return None


def _store(real: Tensor, fmt: TensorFormat) -> Tensor:
    """Real values to what the engine carries: shifted codes, or half-precision values."""
    return real.half().float() if fmt.is_float else (fmt.encode(real) - fmt.zero_point).to(fmt.carrier)


def _load(value: Tensor, fmt: TensorFormat) -> Tensor:
    return value if fmt.is_float else value.float() * fmt.scale


def _convert(value: Tensor, source: TensorFormat, target: TensorFormat) -> Tensor:
    """A moved tensor in the format of its destination: by construction the same scale and zero point, perhaps tighter bounds."""
    if source.is_float == target.is_float and (source.is_float or same_grid(source, target)):
        if not source.is_float and (target.qmin > source.qmin or target.qmax < source.qmax):
            value = value.clamp(target.qmin - target.zero_point, target.qmax - target.zero_point)
        return value.to(target.carrier)
    return _store(_load(value, source), target)


def same_grid(a: TensorFormat, b: TensorFormat) -> bool:
    """Whether two integer formats give a code the same meaning and the same container."""
    return a.scale == b.scale and a.zero_point == b.zero_point and (a.bits > 8) == (b.bits > 8)


def adds_in_integers(node: Node, formats: Iterable[TensorFormat], rule: str = "f32") -> bool:
    """Whether an addition is one of integers (see ``requant.adder``); otherwise both sides decode, add and encode in float32.

    Under rule "f32" tensors of 16 bits are not, because ONNX Runtime has no such operation."""
    widest = 8 if rule == "f32" else 16
    return node.activation in ("none", "relu", "relu6") and all(f.bits <= widest and not f.is_float for f in formats)


class _Conv:
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
        if rule != "f32" and self.proof.bound > (limit := I16_LIMIT if max(source.bits, target.bits) > 8 else INT32_LIMIT):
            raise ValueError(
                f"layer {node.name!r}: sums up to {self.proof.bound} overflow the {limit.bit_length()} bits of {rule!r}"
            )
        found = kernel(node, layer, source, self.proof.bound)
        self.kernel = found(node, layer, source) if found else None
        if target.is_float:
            self.m = torch.from_numpy(requant.multipliers(layer, source, target)).view(1, -1, 1, 1)
        else:
            self.requantize = requant.requantizer(node, layer, source, target, rule)

    def _conv(self, x: Tensor, bias: Tensor | None) -> Tensor:
        left, right, top, bottom = self.node.attrs["padding"]
        padding = (top, left)
        if left != right or top != bottom:
            x, padding = F.pad(x, (left, right, top, bottom)), (0, 0)
        attrs = self.node.attrs
        return F.conv2d(
            x.to(self.weight.dtype),
            self.weight,
            None if bias is None else bias.to(self.weight.dtype),
            stride=pair(attrs["stride"]),
            padding=padding,
            dilation=pair(attrs["dilation"]),
            groups=attrs["groups"],
        )

    def _bands(self, conv: BandConv, x: Tensor, finish: Finish, dtype: torch.dtype) -> Tensor:
        """What ``finish`` makes of the sums of each picture of ``x [N, C, H, W]``."""
        height, width = conv.size(*x.shape[2:])
        out = torch.empty((len(x), conv.outputs, height, width), dtype=dtype, memory_format=torch.channels_last)
        for codes, made in zip(x.to(torch.int16).split(1), out.split(1), strict=True):
            run_bands(conv, requant.pixels(codes), finish, requant.pixels(made), torch.get_num_threads())
        return out

    def accumulate(self, x: Tensor) -> Tensor:
        """Shifted codes to sums, bias included: exact integers in int32, float32 or float64."""
        if isinstance(self.kernel, BandConv):
            return self._bands(self.kernel, x, lambda sums, out: np.copyto(out, sums[tuple(map(slice, out.shape))]), torch.int32)
        if self.kernel is not None:
            return self.kernel(x)
        x = x.to(self.weight.dtype)
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
            real = self._conv(_load(x, self.source), self.bias)
            return _store(activate(real, self.node.activation, self.node), self.target)
        if isinstance(self.kernel, BandConv) and not self.target.is_float:
            return self._bands(self.kernel, x, self.requantize, self.target.carrier)
        acc = self.accumulate(x)
        if self.target.is_float:
            real = (acc.to(self.m.dtype) * self.m).float()
            return _store(activate(real, self.node.activation, self.node), self.target)
        out = torch.empty(acc.shape, dtype=self.target.carrier, memory_format=torch.channels_last)
        self.requantize(requant.pixels(acc), requant.pixels(out))
        return out


def _pool(node: Node, value: Tensor, source: TensorFormat) -> Tensor:
    """Mean or standard deviation over height and width. Sums of codes are integers, hence exact in float64 in any order."""
    if source.is_float:
        return apply(node, [value])
    v = value.double()
    n = float(v.shape[2] * v.shape[3])
    total = v.sum(dim=(2, 3), keepdim=True)
    if node.attrs["kind"] == "mean":
        return (total / n * float(source.scale)).float()
    squares = (v * v).sum(dim=(2, 3), keepdim=True)
    return (((squares * n - total * total) / (n * n)).clamp_min(0).sqrt() * float(source.scale)).float()


class Engine:
    """A quantized network made ready to run: weights in their carriers, tables, multipliers."""

    def __init__(self, qgraph: QuantizedGraph) -> None:
        self.graph, self.formats, self.rule = qgraph.graph, qgraph.formats, qgraph.rule
        requant.arithmetic(qgraph.rule)  # a rule that nobody knows is told before anything is prepared
        self.steps = {node.name: self._step(node, qgraph) for node in qgraph.graph.nodes}

    def _step(self, node: Node, qgraph: QuantizedGraph) -> Callable[[list[Tensor]], Tensor]:
        target = self.formats[node.name]
        sources = [self.formats[name] for name in node.inputs]
        if node.op == "input":
            return lambda xs: _store(xs[0], target)
        if node.op == "conv":
            conv = _Conv(node, qgraph.layers[node.name], sources[0], target, self.rule)
            return lambda xs: conv(xs[0])
        if node.op == "add" and adds_in_integers(node, [*sources, target], self.rule):
            total = requant.adder(sources[0], sources[1], target, *requant.bounds(node, target), self.rule)
            return lambda xs: total(xs[0], xs[1])
        if node.op in ("slice", "repeat", "pixel_shuffle"):
            return lambda xs: _convert(apply(node, xs), sources[0], target)
        if node.op == "resize" and node.attrs["mode"] == "nearest":
            return lambda xs: _convert(apply(node, [xs[0].float()]), sources[0], target)
        if node.op == "concat":
            return lambda xs: torch.cat([_convert(x, s, target) for x, s in zip(xs, sources, strict=True)], dim=1)
        if node.op == "pool":
            return lambda xs: _store(_pool(node, xs[0], sources[0]), target)
        table = _table(node, sources[0], target, self.rule) if node.op == "unary" else None
        if table is not None:
            zero = sources[0].zero_point
            return lambda xs: table[xs[0].long() + zero]
        return lambda xs: _store(apply(node, [_load(x, s) for x, s in zip(xs, sources, strict=True)]), target)

    def run(self, x: Tensor, keep: Callable[[str, Tensor], None] | None = None) -> Tensor:
        """Execute on ``x float32 [1, C, H, W]`` in 0..1.

        Args:
            keep: called with every tensor's name and what the engine carries of it (shifted codes, or half-precision values).
        Returns:
            The output tensor as it is carried.
        """
        last_use = {source: node.name for node in self.graph.nodes for source in node.inputs}
        tensors: dict[str, Tensor] = {}
        value = x.float()
        with torch.no_grad(), torch.backends.nnpack.flags(enabled=False):  # NNPACK may use Winograd, which is not exact
            for node in self.graph.nodes:
                inputs = [tensors[name] for name in node.inputs] if node.op != "input" else [x.float()]
                value = self.steps[node.name](inputs)
                if keep is not None:
                    keep(node.name, value)
                tensors[node.name] = value
                for name in set(node.inputs):
                    if last_use[name] == node.name and name != self.graph.output.name:
                        del tensors[name]
        return tensors[self.graph.output.name]


@lru_cache(maxsize=8)
def engine(qgraph: QuantizedGraph) -> Engine:
    """The prepared engine of a network; the last few are kept."""
    return Engine(qgraph)


def _codes(value: Tensor, fmt: TensorFormat) -> Tensor:
    return value if fmt.is_float else value.to(torch.int32) + fmt.zero_point


def run_codes(qgraph: QuantizedGraph, x: Tensor) -> dict[str, Tensor]:
    """Every tensor of the network for ``x float32 [1, C, H, W]`` in 0..1: name -> codes (int32), or real values (float32) for
    tensors in half precision."""
    seen: dict[str, Tensor] = {}
    engine(qgraph).run(x, lambda name, value: seen.__setitem__(name, _codes(value.clone(), qgraph.formats[name])))
    return seen


def run(qgraph: QuantizedGraph, x: Tensor) -> Tensor:
    """The decoded output ``float32 [1, C, sH, sW]`` for ``x float32 [1, C, H, W]`` in 0..1."""
    return decoded(engine(qgraph).run(x), qgraph)


def decoded(carried: Tensor, qgraph: QuantizedGraph) -> Tensor:
    """Real values of the output tensor as the engine carries it."""
    return _load(carried, qgraph.formats[qgraph.graph.output.name]).contiguous()
