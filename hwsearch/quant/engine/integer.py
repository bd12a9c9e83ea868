"""The integer engine: executes a quantized network on the integers that a device would see, and proves for each layer that it
may.

A tensor travels channels-last as its format carries it (``TensorFormat.carrier``): codes of 8 bits in uint8, others as *shifted*
codes ``q - z``, in int16 where they fit, in float32 otherwise. The sums of convolutions are integers in whatever computes them:
products of 8-bit or 16-bit integers, integer Winograd convolution, the CPU's int8 kernel, or floating point within the range in
which it holds every integer. ``proofs`` tells why each layer loses nothing on any machine, ``path`` which arithmetic runs here.

What each operator does stands in ``steps``. Exact, equal to the exported ONNX file under ONNX Runtime code for code:
convolutions, linear layers, products of tensors, additions, all moves, activations, products, statistics of integer tensors,
softmax of 8 bits, nearest-neighbour resizing. Not claimed exact: what is computed in floating point between integer tensors
(softmax of 16 bits, normalizations, bilinear and bicubic resizing), and whatever the device itself executes in half precision
(``LayerFloats``, float tensors): sums depend on the order of additions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from hwmodels.errors import FileError
from hwsearch.quant.engine import requant, steps
from hwsearch.quant.engine.convolution import load
from hwsearch.quant.engine.decode import real
from hwsearch.quant.engine.kernels.choice import kernel
from hwsearch.quant.engine.operators.limits import RuntimeLimit
from hwsearch.quant.engine.proof import OverflowProof, prove_layer
from hwsearch.quant.engine.steps import Run, Site, adds_in_integers, prepared, same_grid, unary_table
from hwsearch.quant.engine.steps.layers import as_conv
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from searchspaces.ir.graph import Memory, Node, through_time
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.state import Remember

__all__ = [
    "Engine",
    "adds_in_integers",
    "decoded",
    "engine",
    "exact",
    "path",
    "proofs",
    "run",
    "run_codes",
    "same_grid",
    "unary_table",
]


def proofs(qgraph: QuantizedGraph) -> list[OverflowProof]:
    """One proof per convolution, in execution order."""
    return [prove_layer(n.name, qgraph.layers[n.name], qgraph.formats[n.inputs[0]]) for n in qgraph.graph.convs]


def path(qgraph: QuantizedGraph) -> str:
    """Which arithmetic runs this network here, in words: "12 layers by integer Winograd, 1 layer in float64"."""

    def runs(proof: OverflowProof) -> str:
        node, layer = qgraph.graph[proof.layer], qgraph.layers[proof.layer]
        node, source = as_conv(node) if isinstance(node.op, Linear) else node, qgraph.formats[node.inputs[0]]
        found = kernel(node, layer, source, proof.bound) if isinstance(layer, LayerIntegers) else None
        return found.by if found else f"in {proof.carrier}"

    counts = Counter(runs(proof) for proof in proofs(qgraph))
    return ", ".join(f"{count} {'layer' if count == 1 else 'layers'} {by}" for by, count in counts.items())


def exact(qgraph: QuantizedGraph) -> bool:
    """Whether every code of the network is claimed equal under ONNX Runtime: no half precision, no interpolating resize."""
    formats = qgraph.formats
    inexact = any(not steps.exact(n.op, *(formats[name] for name in (*n.inputs, n.name))) for n in qgraph.graph.nodes)
    return not (inexact or qgraph.float_layers or any(f.is_float for f in qgraph.formats.values()))


class Engine:
    """A quantized network made ready to run: weights in their carriers, tables, multipliers."""

    def __init__(self, qgraph: QuantizedGraph) -> None:
        assert qgraph.by_picture is None, "an engine has the numbers of one kind of picture: see of_picture"
        self._qgraph = qgraph
        self.graph, self.formats, self.rule = qgraph.graph, qgraph.formats, qgraph.rule
        requant.arithmetic(qgraph.rule)  # a rule that nobody knows is told before anything is prepared
        self.steps = {node.name: self._step(node, qgraph) for node in qgraph.graph.nodes}

    def _step(self, node: Node, qgraph: QuantizedGraph) -> Run:
        sources, target = [self.formats[name] for name in node.inputs], self.formats[node.name]
        run = prepared(Site(node, sources, target, qgraph.layers.get(node.name), self.rule))
        if not target.projects(moved=node.op.moves):
            return run
        return lambda inputs: target.carried(target.projected(target.shifted(run(inputs))))

    def steps_for(self, height: int, width: int) -> dict[str, Run]:
        """The steps for pictures of one size: sizes that depend on it become numbers.

        Raises:
            UsageError: the network is not for pictures of this size.
        """
        self.graph.at(height, width)
        sized = [node for node in self.graph.nodes if node.op.extents]
        at = {node.name: self._step(replace(node, op=node.op.at(height, width)), self._qgraph) for node in sized}
        return {**self.steps, **at}

    def run(self, x: Tensor, keep: Callable[[str, Tensor], None] | None = None) -> Tensor:
        """Execute on ``x float32 [1, C, H, W]`` in 0..1, or on the frames ``[N, C, H, W]`` of a clip.

        Args:
            keep: called with every tensor's name and what the engine carries of it (codes, or half-precision values).
        Returns:
            The output tensor as it is carried.
        Raises:
            FileError: on this picture a kernel of the runtime has no defined result (see ``RuntimeLimit``).
        """
        last_use = {source: node.name for node in self.graph.nodes for source in node.inputs}
        steps = self.steps_for(*x.shape[2:])

        def run(x: Tensor, memory: Memory) -> Tensor:
            tensors: dict[str, Tensor] = {}
            for node in self.graph.nodes:
                inputs = [tensors[name] for name in node.inputs] if node.inputs else [x]
                value = memory[node.name] if node.name in memory else _stepped(node.name, steps[node.name], inputs)
                if keep is not None:
                    keep(node.name, value)
                tensors[node.name] = value
                if isinstance(node.op, Remember):
                    memory[node.op.state] = value
                for name in set(node.inputs):
                    if last_use[name] == node.name and name != self.graph.output.name:
                        del tensors[name]
            return tensors[self.graph.output.name]

        with torch.no_grad(), torch.backends.nnpack.flags(enabled=False):  # NNPACK may use Winograd, which is not exact
            if self.graph.remembered or len(x) == 1:
                return through_time(self.graph, x.float(), run)
            return torch.cat([run(one, {}) for one in x.float().split(1)])


def _stepped(name: str, step: Run, inputs: list[Tensor]) -> Tensor:
    try:
        return step(inputs)
    except RuntimeLimit as limit:
        raise FileError(
            f"the tensor {name!r} is beyond the runtime's integers on a picture of this size: {limit}",
            "A smaller picture (--input HxW), or another width for it and what it is made of (--activation-bits), may fit.",
        ) from limit


@lru_cache(maxsize=8)
def engine(qgraph: QuantizedGraph) -> Engine:
    """The prepared engine of a network; the last few are kept."""
    return Engine(qgraph)


def _codes(value: Tensor, fmt: TensorFormat) -> Tensor:
    return value if fmt.is_float else value.to(torch.int32) + (fmt.zero_point - fmt.origin)


def run_codes(qgraph: QuantizedGraph, x: Tensor) -> dict[str, Tensor]:
    """Every tensor of the network for ``x float32 [1, C, H, W]`` in 0..1: name -> codes (int32), or real values (float32) for
    tensors in half precision."""
    seen: dict[str, Tensor] = {}
    qgraph = qgraph.of_picture(x)
    engine(qgraph).run(x, lambda name, value: seen.__setitem__(name, _codes(value.clone(), qgraph.formats[name])))
    return seen


def run(qgraph: QuantizedGraph, x: Tensor) -> Tensor:
    """The decoded output ``float32 [1, C, sH, sW]`` for ``x float32 [1, C, H, W]`` in 0..1."""
    qgraph = qgraph.of_picture(x)
    return decoded(engine(qgraph).run(x), qgraph)


def decoded(carried: Tensor, qgraph: QuantizedGraph) -> Tensor:
    """Real values of the output tensor as the engine carries it."""
    fmt = qgraph.formats[qgraph.graph.output.name]
    if fmt.is_float or carried.dtype == torch.float32 or carried.ndim != 4:
        return load(carried, fmt).contiguous()
    return real(carried, fmt)
