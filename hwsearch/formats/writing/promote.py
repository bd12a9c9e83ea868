"""What a format cannot hold becomes the next wider thing that it can, and every change is written down.

* Weights move to a wider container; their integers stay, so nothing but bytes changes, unless the format's tool rounds again.
* Tensors narrower than what is on offer get a finer grid over the same range.
* Where there are no zero points, a tensor gets a symmetric grid that reaches as far as the old one; after a ReLU this costs a
  bit.
* Codes with a decode table become what the table makes of them, a byte each; all codes in between then occur, too.
* 16-bit integers become half precision where the format has no such integers, and with them the layers that read them.

Biases are rounded again where the grid of a layer's input changes. The result is a quantized network like any other: our engine
runs it, and its quality can be measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hwmodels.errors import UsageError
from hwmodels.numbers import FP16, INT8, Int, NumberFormat
from hwsearch.documents.units import listing
from hwsearch.formats.writing.capability import Holds
from hwsearch.formats.writing.check import check
from hwsearch.quant.network.formats import TensorFormat, rounded_array
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers, QuantizedGraph, same_weights
from hwsearch.quant.ranges.ranges import clamped, format_source
from hwsearch.quant.weights.sums import layer_integers, tied
from searchspaces.ir.graph import Node


@dataclass(frozen=True)
class Change:
    """One layer or tensor that is not exported as the plan has it. ``kind`` is "layer" (its weights) or "tensor"; the bytes are
    those of the weights, 0 for tensors."""

    kind: str
    name: str
    before: str
    after: str
    bytes_before: int = 0
    bytes_after: int = 0


@dataclass(frozen=True, eq=False)
class Promotion:
    """A network as a format can hold it.

    Attributes:
        qgraph: the network to export.
        changes: whose width or grid differs from the plan, layers first; empty when the format holds them all.
        same_numbers: only containers changed, the network computes what the plan's network computes.
        bytes_before, bytes_after: of all weights, packed without gaps.
    """

    qgraph: QuantizedGraph
    changes: tuple[Change, ...]
    same_numbers: bool
    bytes_before: int
    bytes_after: int

    @property
    def summary(self) -> str:
        """One sentence for a file's metadata; empty when nothing changed."""
        if not self.changes:
            return ""
        said = ", ".join(f"{change.name}: {change.before} -> {change.after}" for change in self.changes)
        return f"Promoted ({self.bytes_before} -> {self.bytes_after} bytes of weights): {said}"


def promote(qgraph: QuantizedGraph, holds: Holds) -> Promotion:
    """Fit a quantized network into a format.

    Raises:
        FileError: the network has values that make no correct file (see ``check``).
        UsageError: the format has neither the network's 16-bit integers nor half precision, or no half precision for layers that
            the plan executes in it; all are named.
    """
    check(qgraph, tables=True)
    graph = qgraph.graph
    formats = {node.name: _promoted(qgraph.formats[node.name], format_source(graph, node), holds) for node in graph.nodes}
    _refuse(qgraph, formats, holds)
    layers = tied(graph, {node.name: _layer(qgraph, node.name, formats[node.inputs[0]], holds) for node in graph.convs})
    changes = [
        Change("layer", name, _width(old), _width(layers[name]), weight_bytes(old), weight_bytes(layers[name]))
        for name, old in qgraph.layers.items()
        if old.bits != layers[name].bits
    ]
    moved = [node.name for node in graph.nodes if formats[node.name] != qgraph.formats[node.name]]
    changes += [Change("tensor", name, describe(qgraph.formats[name]), describe(formats[name])) for name in moved]
    same = all(np.array_equal(old.weight, layers[name].weight) for name, old in qgraph.layers.items())
    promoted = replace(qgraph, formats=formats, layers=layers)
    return Promotion(
        promoted,
        tuple(changes),
        same and not moved,
        _weight_bytes(qgraph),
        _weight_bytes(promoted),
    )


def _promoted(fmt: TensorFormat, source: Node, holds: Holds) -> TensorFormat:
    """A tensor's format as the target holds it; ``source`` is the node that wrote its values, whose activation bounds them."""
    fitted = fit(fmt, holds)
    return fmt if fitted == fmt else clamped(fitted, source)


def fit(fmt: TensorFormat, holds: Holds) -> TensorFormat:
    """``fmt`` itself where it can be held; otherwise a wider grid, or half precision for 16-bit integers that cannot be held, and
    for floating point of 8 bits, whose numbers it all has."""
    if fmt.is_float:
        return TensorFormat(FP16) if FP16.holds(fmt.number) else fmt
    if fmt.normalized is not None:
        return fmt  # nothing wider means the same: refused where it is written (``check``)
    if fmt.levels is not None:
        if holds.tables:
            return fmt
        fmt = replace(fmt, number=INT8, levels=None)
    wider = [bits for bits in holds.tensor_bits if bits >= fmt.bits]
    if not wider:
        return TensorFormat(FP16)
    if wider[0] == fmt.bits and (holds.zero_points or fmt.is_symmetric):
        return fmt
    return _regridded(fmt, wider[0], symmetric=not holds.zero_points or Int(wider[0]).is_wide)


def _regridded(fmt: TensorFormat, bits: int, *, symmetric: bool) -> TensorFormat:
    """The grid of ``bits`` that covers the range of a format."""
    top, wide_top = (1 << fmt.bits) - 1, (1 << bits) - 1
    if symmetric:
        zero = 1 << (bits - 1)
        scale = fmt.scale * max(top - fmt.zero_point, fmt.zero_point) / (zero - 1)
    else:
        zero = round(fmt.zero_point * wide_top / top)
        scale = fmt.scale * top / wide_top
    return TensorFormat(Int(bits), float(np.float32(scale)), zero, 0, wide_top)


def _refuse(qgraph: QuantizedGraph, formats: dict[str, TensorFormat], holds: Holds) -> None:
    computed = [layer.computed for layer in qgraph.layers.values() if isinstance(layer, LayerFloats)]
    beyond = {fmt for fmt in (*computed, *(fmt.number for fmt in formats.values() if fmt.is_float)) if not FP16.holds(fmt)}
    if beyond:
        raise UsageError(
            f"this plan has layers or tensors in {listing(map(str, sorted(beyond)))}, and exporters write half precision",
            "Choose a plan without: `hwsearch optimize` with --weight-bits and --activation-bits.",
        )
    if holds.half:
        return
    halves = [name for name, fmt in formats.items() if fmt.is_float] + list(qgraph.float_layers)
    if halves:
        raise UsageError(
            f"this format has integers only, and {len(set(halves))} layers or tensors of the plan need half precision: "
            + ", ".join(dict.fromkeys(halves)),
            "Choose another format (`hwsearch exporters`), or a plan for a device without FP16.",
        )


def _layer(qgraph: QuantizedGraph, name: str, source: TensorFormat, holds: Holds) -> LayerIntegers | LayerFloats:
    layer, old = qgraph.layers[name], qgraph.formats[qgraph.graph[name].inputs[0]]
    if isinstance(layer, LayerFloats):
        return layer if layer.computed == FP16 else replace(layer, bits=FP16.bits, computed=FP16)
    bias = layer.bias * (layer.scale.astype(np.float64) * old.scale)
    if source.is_float:
        weight = layer.weight.astype(np.float32) * layer.scale[:, None, None, None]
        return LayerFloats(FP16.bits, rounded_array(weight, FP16), rounded_array(bias, FP16))
    wider = [bits for bits in holds.weight_bits if bits >= layer.bits]
    if not wider:
        raise UsageError(f"layer {name}: this format has no weights of {layer.bits} bits", f"It has {holds.weight_bits}.")
    promoted = replace(layer, bits=wider[0])
    if holds.stretched:
        promoted = _stretched(promoted)
    if source == old and np.array_equal(promoted.scale, layer.scale):
        return promoted
    return layer_integers(promoted.bits, promoted.weight, promoted.scale, bias, source)


def _stretched(layer: LayerIntegers) -> LayerIntegers:
    """The layer with the largest weight of each channel at the limit of its width."""
    limit = (1 << (layer.bits - 1)) - 1
    largest = np.abs(layer.weight.astype(np.int32)).reshape(len(layer.weight), -1).max(axis=1)
    largest = np.where(largest > 0, largest, limit)
    weight = np.rint(layer.weight * (limit / largest)[:, None, None, None]).astype(np.int8)
    return replace(layer, weight=weight, scale=(layer.scale * (largest / limit)).astype(np.float32))


def weight_bytes(layer: LayerIntegers | LayerFloats) -> int:
    """Bytes of a layer's weights, packed without gaps; half precision has two each."""
    bits = 16 if isinstance(layer, LayerFloats) else layer.bits
    return -(-layer.weight.size * bits // 8)


def _weight_bytes(qgraph: QuantizedGraph) -> int:
    """The same of all layers; what several use is counted once."""
    return sum(weight_bytes(layer) for name, layer in qgraph.layers.items() if same_weights(qgraph, name) == name)


def _width(layer: LayerIntegers | LayerFloats) -> str:
    return _floating(layer.computed) if isinstance(layer, LayerFloats) else f"{layer.bits} bits"


def _floating(fmt: NumberFormat) -> str:
    return "half precision" if fmt == FP16 else str(fmt)


def describe(fmt: TensorFormat) -> str:
    """A tensor's format in a few words."""
    if fmt.is_float:
        return _floating(fmt.number)
    kind = "symmetric" if fmt.is_symmetric else f"zero point {fmt.zero_point}"
    return f"{fmt.bits} bits, {kind}" + ("" if fmt.levels is None else f", decode table of {len(fmt.levels)}")
