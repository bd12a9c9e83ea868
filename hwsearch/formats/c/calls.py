"""One canonical operation to one call of a C kernel, with its constants.

What the kernels need to know beyond the quantized network: sizes (the exported function has one fixed input size), multipliers in
fixed point, and biases into which the input's zero point has been folded: ``sum (q - z) w + b = sum q w + (b - z sum w)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hwmodels.errors import FileError, UsageError
from hwmodels.numbers import Int
from hwsearch.formats.c import bit_packing
from hwsearch.quant.engine import fixed_point, requant
from hwsearch.quant.engine.proof import reach
from hwsearch.quant.engine.steps import same_grid, unary_table
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers, QuantizedGraph, same_weights
from searchspaces.ir.graph import Node, conv_of
from searchspaces.ir.lower import propagate
from searchspaces.ops.base import Op
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.maps.activation import Activation, Clip, LeakyRelu, Relu, Relu6, Sigmoid, Tanh
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.moves.move import Concat, PixelShuffle, PixelUnshuffle, Repeat, Slice
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.state import Remember, State
from searchspaces.ops.table import OpTable

MAX_PIXELS = 4
"""``HWS_MAX_PIXELS`` of the kernels: patches that are gathered at once."""
TABLES = (Relu, Relu6, LeakyRelu, Sigmoid, Tanh, Clip)
"""Activations of their own that become a table of 256 codes."""


@dataclass(frozen=True)
class Constant:
    """An array in flash: ``values`` 1-D of the C type ``kind``."""

    name: str
    kind: str
    values: np.ndarray


@dataclass
class LoweredNode:
    """One node of the graph as C.

    ``calls`` have ``{out}``, ``{scratch}`` and ``{in0}``, ``{in1}``, ... where addresses go. ``struct`` is the type of the
    constant that describes the layer, ``fields`` its members; empty without one.
    """

    node: Node
    identifier: str
    calls: list[str]
    scratch_bytes: int = 0
    struct: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    constants: list[Constant] = field(default_factory=list)
    macs: int = 0


def unsupported(qgraph: QuantizedGraph) -> list[str]:
    """What of a network the C kernels cannot execute, one sentence each."""
    said = []
    for node in qgraph.graph.nodes:
        formats = [qgraph.formats[name] for name in (*node.inputs, node.name)]
        if any(fmt.is_float for fmt in formats) or isinstance(qgraph.layers.get(node.name), LayerFloats):
            said.append(f"{node.name!r} is in half precision")
        elif LOWERS.get(node.op) is None:
            said.append(f"{node.name!r}: operation {node.op.describe()!r}: {LOWERS.reason(node.op)}")
        elif isinstance(node.op, Activation) and formats[0].is_wide:
            said.append(f"{node.name!r}: {node.op.kind} of its own on {formats[0].bits} bits")
        elif isinstance(node.op, Resize) and (node.op.mode != "nearest" or node.op.whole_factor is None):
            said.append(f"{node.name!r}: {node.op.mode} resizing by {node.op.factor}")
        elif isinstance(node.op, Add) and not isinstance(node.activation, Relu | Relu6 | None):
            said.append(f"{node.name!r}: addition with {node.activation.kind}")
        elif isinstance(node.op, Add) and len(node.inputs) != 2:
            said.append(f"{node.name!r}: addition of a constant")
        elif isinstance(node.op, Concat | Slice | Repeat) and (node.op.axis != 1 or getattr(node.op, "step", 1) != 1):
            said.append(f"{node.name!r}: {node.op.word} along another axis than the channels")
        elif node.op.moves and not all(same_grid(f, formats[-1]) for f in formats[:-1]):
            said.append(f"{node.name!r}: {node.op.word} that changes the scale")
    return said


def container_bytes(fmt: TensorFormat) -> int:
    return fmt.number.container_bits // 8


class Lowering:
    """A quantized network for one input size as a list of calls.

    Attributes:
        shapes: node name -> (channels, height, width).
    """

    def __init__(self, qgraph: QuantizedGraph, height: int, width: int) -> None:
        self.qgraph = replace(qgraph, graph=qgraph.graph.at(height, width))
        self._identifiers: dict[str, str] = {}
        self.shapes = {name: (int(c), int(h), int(w)) for name, (c, h, w) in propagate(qgraph.graph, height, width).items()}

    def steps(self) -> list[LoweredNode]:
        """Every operation but the input, in execution order."""
        steps = []
        for index, node in enumerate(self.qgraph.graph.nodes[1:]):
            step = LoweredNode(node, f"step_{index}", [])
            lower = LOWERS.get(node.op)
            assert lower is not None, "check comes first"
            lower(self, node, step)
            steps.append(step)
        return steps

    def elements(self, name: str) -> int:
        channels, height, width = self.shapes[name]
        return channels * height * width

    def tensor_bytes(self, name: str) -> int:
        return self.elements(name) * container_bytes(self.qgraph.formats[name])

    def _sides(self, node: Node) -> tuple[list[TensorFormat], TensorFormat]:
        return [self.qgraph.formats[name] for name in node.inputs], self.qgraph.formats[node.name]

    def _conv(self, node: Node, step: LoweredNode) -> None:
        layer = self.qgraph.layers[node.name]
        assert isinstance(layer, LayerIntegers)
        (source,), target = self._sides(node)
        op = conv_of(node)
        outputs, groups = len(layer.weight), op.groups
        rows = np.ascontiguousarray(layer.weight.transpose(0, 2, 3, 1)).reshape(outputs, -1)
        direct = groups > 1
        bias = layer.bias.astype(np.int64)
        if not direct:
            bias = bias - source.zero_point * rows.sum(axis=1, dtype=np.int64)
        largest = _largest_sum(rows, bias, source, direct)
        wide = source.is_wide or target.is_wide
        slopes = requant.slopes(node, outputs)
        add = step.constants.append
        owner = same_weights(self.qgraph, node.name)
        if owner == node.name:
            add(Constant("weights", "uint8_t", bit_packing.pack(rows, layer.bits)))
        add(Constant("bias", "int64_t" if source.is_wide else "int32_t", bias))
        self._multipliers(step, fixed_point.layer_multipliers(layer, source, target), wide, largest, "")
        if slopes is not None:
            mantissa, shift = fixed_point.layer_multipliers(requant.sloped(layer, slopes), source, target)
            sign = np.where(slopes < 0, -1, 1)
            self._multipliers(step, (mantissa, shift), wide, largest, "slope_", sign)
        low, high = requant.bounds(node, target)
        (in_c, in_h, in_w), (out_c, out_h, out_w) = self.shapes[node.inputs[0]], self.shapes[node.name]
        kernel, stride, dilation = layer.weight.shape[2:], op.strides, op.dilations
        left, _, top, _ = op.padding
        step.struct = "hws_conv_layer"
        step.fields = {
            "in_h": in_h, "in_w": in_w, "in_c": in_c, "out_h": out_h, "out_w": out_w, "out_c": out_c,
            "kernel_h": kernel[0], "kernel_w": kernel[1], "stride_h": stride[0], "stride_w": stride[1],
            "dilation_h": dilation[0], "dilation_w": dilation[1], "pad_top": top, "pad_left": left, "groups": groups,
            "in_zero": source.zero_point, "out_zero": target.zero_point, "out_min": low, "out_max": high,
            "weight_bits": layer.bits, "in_bytes": container_bytes(source), "out_bytes": container_bytes(target),
        }  # fmt: skip
        for constant in step.constants:
            member = "wide_bias" if constant.kind == "int64_t" else constant.name
            step.fields[member] = f"{step.identifier}_{constant.name}"
        step.fields["weights"] = f"{self._identifiers.setdefault(owner, step.identifier)}_weights"
        unpacked = rows.size if layer.bits < Int(layer.bits).container_bits else 0
        step.scratch_bytes = unpacked if direct else unpacked + MAX_PIXELS * rows.shape[1] * container_bytes(source)
        step.macs = rows.size * out_h * out_w
        step.calls = [f"hws_conv{'_direct' if direct else ''}(&{step.identifier}, {{in0}}, {{out}}, {{scratch}});"]

    def _multipliers(
        self, step: LoweredNode, factors: tuple[np.ndarray, np.ndarray], wide: bool, largest: int, prefix: str, sign: Any = 1
    ) -> None:
        """Add the constants of ``factors`` (mantissas and shifts) for sums up to ``largest``.

        Raises:
            FileError: what the kernels compute on the way would overflow.
        """
        mantissa, shift = factors
        room = 62 - 16 if wide else 31
        if largest << max(int(shift.max()), 0) >= 1 << room or (wide and int(shift.max()) > 14):
            raise FileError(
                f"layer {step.node.name!r}: sums up to {largest} times 2^{shift.max()} overflow the integers of C",
                "Its weights, bias or scales are out of range.",
            )
        if wide:
            mantissa = fixed_point.reduced(mantissa)
        step.constants.append(Constant(f"{prefix}multiplier", "int32_t", mantissa * sign))
        step.constants.append(Constant(f"{prefix}shift", "int8_t", shift))

    def _add(self, node: Node, step: LoweredNode) -> None:
        (a, b), y = self._sides(node)
        left_shift = 15 if any(fmt.is_wide for fmt in (a, b, y)) else 20
        largest = 2.0 * max(a.scale, b.scale)
        low, high = requant.bounds(node, y)
        step.struct = "hws_add_layer"
        step.fields = {
            "a_zero": a.zero_point, "b_zero": b.zero_point, "out_zero": y.zero_point, "out_min": low, "out_max": high,
            "a_bytes": container_bytes(a), "b_bytes": container_bytes(b), "out_bytes": container_bytes(y),
            "left_shift": left_shift,
        }  # fmt: skip
        factors = {"a": a.scale / largest, "b": b.scale / largest, "out": largest / ((1 << left_shift) * y.scale)}
        for side, factor in factors.items():
            step.fields[f"{side}_multiplier"], step.fields[f"{side}_shift"] = fixed_point.quantize_multiplier(factor)
        step.calls = [f"hws_add(&{step.identifier}, {{in0}}, {{in1}}, {{out}}, {self.elements(node.name)});"]

    # Moves: the codes stay, only the bounds may be tighter than those of the input.

    def _moved(self, node: Node, step: LoweredNode, calls: list[str]) -> None:
        sources, target = self._sides(node)
        step.calls = calls
        if any(target.qmin > s.qmin or target.qmax < s.qmax for s in sources):
            size = container_bytes(target)
            step.calls.append(f"hws_clamp({{out}}, {self.elements(node.name)}, {target.qmin}, {target.qmax}, {size});")

    def _concat(self, node: Node, step: LoweredNode) -> None:
        channels, height, width = self.shapes[node.name]
        size, at, calls = container_bytes(self.qgraph.formats[node.name]), 0, []
        for index, name in enumerate(node.inputs):
            own = self.shapes[name][0]
            part = f"hws_copy_channels({{in{index}}}, {own}, 0, {own}, {{out}}, {channels}, {at}, {height * width}, {size});"
            calls.append(part)
            at += own
        self._moved(node, step, calls)

    def _slice(self, node: Node, step: LoweredNode) -> None:
        (channels, height, width), count = self.shapes[node.inputs[0]], self.shapes[node.name][0]
        assert isinstance(node.op, Slice)
        start, size = node.op.start, container_bytes(self.qgraph.formats[node.name])
        part = f"hws_copy_channels({{in0}}, {channels}, {start}, {count}, {{out}}, {count}, 0, {height * width}, {size});"
        self._moved(node, step, [part])

    def _repeat(self, node: Node, step: LoweredNode) -> None:
        assert isinstance(node.op, Repeat)
        channels, height, width = self.shapes[node.inputs[0]]
        size = container_bytes(self.qgraph.formats[node.name])
        self._moved(node, step, [f"hws_repeat({{in0}}, {{out}}, {height * width}, {channels}, {node.op.times}, {size});"])

    def _shuffle(self, node: Node, step: LoweredNode) -> None:
        assert isinstance(node.op, PixelShuffle)
        self._enlarge("hws_pixel_shuffle", node.op.factor, node, step)

    def _unshuffle(self, node: Node, step: LoweredNode) -> None:
        assert isinstance(node.op, PixelUnshuffle)
        (channels, *_), (_, height, width) = self.shapes[node.inputs[0]], self.shapes[node.name]
        size, factor = container_bytes(self.qgraph.formats[node.name]), node.op.factor
        self._moved(node, step, [f"hws_pixel_unshuffle({{in0}}, {{out}}, {height}, {width}, {channels}, {factor}, {size});"])

    def _resize(self, node: Node, step: LoweredNode) -> None:
        assert isinstance(node.op, Resize)
        assert node.op.whole_factor is not None
        self._enlarge("hws_resize_nearest", node.op.whole_factor, node, step)

    def _enlarge(self, function: str, factor: int, node: Node, step: LoweredNode) -> None:
        _, height, width = self.shapes[node.inputs[0]]
        size, channels = container_bytes(self.qgraph.formats[node.name]), self.shapes[node.name][0]
        self._moved(node, step, [f"{function}({{in0}}, {{out}}, {height}, {width}, {channels}, {factor}, {size});"])

    def _unary(self, node: Node, step: LoweredNode) -> None:
        (source,), target = self._sides(node)
        size = container_bytes(target)
        codes = unary_table(node, source, target).numpy() + target.zero_point
        step.constants.append(Constant("table", "uint8_t" if size == 1 else "uint16_t", codes.astype(np.int64)))
        step.calls = [f"hws_lookup({{in0}}, {step.identifier}_table, {{out}}, {self.elements(node.name)}, {size});"]


LOWERS: OpTable[Callable[[Lowering, Node, LoweredNode], None]] = OpTable("the exported C")
LOWERS.lacks("there is no C kernel for it", Op)
LOWERS.lacks("a call keeps nothing for the next one", State, Remember)
LOWERS.lacks("nobody knows what it computes", Unknown)
LOWERS.put(lambda lowering, node, step: None, Input)
LOWERS.put(Lowering._conv, Conv)
LOWERS.put(Lowering._add, Add)
LOWERS.put(Lowering._concat, Concat)
LOWERS.put(Lowering._slice, Slice)
LOWERS.put(Lowering._repeat, Repeat)
LOWERS.put(Lowering._shuffle, PixelShuffle)
LOWERS.put(Lowering._unshuffle, PixelUnshuffle)
LOWERS.put(Lowering._resize, Resize)
LOWERS.put(Lowering._unary, *TABLES)


def check(qgraph: QuantizedGraph) -> None:
    """Raise ``UsageError`` with everything that cannot be executed in C."""
    said = unsupported(qgraph)
    if said:
        raise UsageError(
            "this plan cannot be exported to C:\n" + "\n".join(f"  - {text}" for text in said),
            "C kernels exist for convolutions, additions, concatenation, moves and 8-bit activations. Export to onnx instead.",
        )


def _largest_sum(rows: np.ndarray, bias: np.ndarray, source: TensorFormat, direct: bool) -> int:
    """The largest magnitude of any partial sum of a layer with weights ``rows [O, K]``, as the kernel adds them."""
    codes = reach(source) if direct else source.qmax
    return int((np.abs(rows.astype(np.int64)).sum(axis=1) * codes + np.abs(bias)).max())
