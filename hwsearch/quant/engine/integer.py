"""The integer engine: executes a quantized network on the integers that a device would see, and proves for each layer that it
may.

A tensor of codes travels as *shifted* codes ``q - z``, channels-last: in int16 where they fit, in float32 otherwise. The sums of
convolutions are integers in whatever computes them: pair products of 16-bit integers, integer Winograd convolution, the CPU's
int8 kernel, or floating point within the range in which it holds every integer. ``proofs`` tells why each layer loses nothing
on any machine, ``path`` which arithmetic runs here.

Exact, equal to the exported ONNX file under ONNX Runtime code for code: convolutions, additions, all moves, activations,
products, pooling of integer tensors, nearest-neighbour resizing. Not claimed exact: bilinear and bicubic resizing, and whatever
the device itself executes in half precision (``LayerFloats``, float tensors): their sums depend on the order of additions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache

import torch
from torch import Tensor

from hwsearch.quant.engine import fixed_point, requant
from hwsearch.quant.engine.convolution import Conv, load, store
from hwsearch.quant.engine.decode import real
from hwsearch.quant.engine.kernels.choice import kernel
from hwsearch.quant.engine.proof import Proof, prove_layer
from hwsearch.quant.formats import TensorFormat
from hwsearch.quant.graph import LayerIntegers, QuantizedGraph
from searchspaces.ir.graph import Node, activate, apply


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
    codes = torch.arange(source.grid.last_code + 1, dtype=torch.float32)
    values = activate(source.decode(codes), node.attrs["kind"], node)
    return target.stored(values)


def _table(node: Node, source: TensorFormat, target: TensorFormat, rule: str) -> Tensor | None:
    """What an activation writes for every code of its input, where it is one of integers; None where it computes real values."""
    if source.is_float:
        return None
    kind = node.attrs["kind"]
    if kind in ("sigmoid", "tanh"):
        return unary_table(node, source, target).to(target.carrier)
    if rule != "f32" and kind in ("relu", "relu6") and not source.is_wide and not target.is_wide:
        low, high = (bound - target.zero_point for bound in requant.bounds(node, target))
        return torch.from_numpy(fixed_point.rescale_table(source, target, low, high))
    return None


def _convert(value: Tensor, source: TensorFormat, target: TensorFormat) -> Tensor:
    """A moved tensor in the format of its destination: by construction the same scale and zero point, perhaps tighter bounds."""
    if source.is_float == target.is_float and (source.is_float or same_grid(source, target)):
        if not source.is_float and (target.qmin > source.qmin or target.qmax < source.qmax):
            value = value.clamp(target.qmin - target.zero_point, target.qmax - target.zero_point)
        return value.to(target.carrier)
    return store(load(value, source), target)


def same_grid(a: TensorFormat, b: TensorFormat) -> bool:
    """Whether two integer formats give a code the same meaning and the same container."""
    return a.scale == b.scale and a.zero_point == b.zero_point and a.is_wide == b.is_wide


def adds_in_integers(node: Node, formats: Iterable[TensorFormat], rule: str = "f32") -> bool:
    """Whether an addition is one of integers (see ``requant.adder``); otherwise both sides decode, add and encode in float32.

    Under rule "f32" tensors of 16 bits are not, because ONNX Runtime has no such operation."""
    wide = rule != "f32"
    return node.activation in ("none", "relu", "relu6") and all((wide or not f.is_wide) and not f.is_float for f in formats)


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
            return lambda xs: store(xs[0], target)
        if node.op == "conv":
            conv = Conv(node, qgraph.layers[node.name], sources[0], target, self.rule)
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
            return lambda xs: store(_pool(node, xs[0], sources[0]), target)
        table = _table(node, sources[0], target, self.rule) if node.op == "unary" else None
        if table is not None:
            zero = sources[0].zero_point
            return lambda xs: table[xs[0].long() + zero]
        return lambda xs: store(apply(node, [load(x, s) for x, s in zip(xs, sources, strict=True)]), target)

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
    fmt = qgraph.formats[qgraph.graph.output.name]
    if fmt.is_float or carried.dtype != torch.int16:
        return load(carried, fmt).contiguous()
    return real(carried, fmt.scale)
