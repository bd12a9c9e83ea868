"""The operators of a TFLite file as the canonical graph with its number formats and integers.

Channels stay in the file's order (``order`` puts them in PyTorch's). What only bounds codes (a fused activation, MAXIMUM
or MINIMUM with a constant, RELU on one grid) narrows the format of the tensor that it acts on; what only changes the container
vanishes. Two convolutions of one input under MAXIMUM or MINIMUM that differ in a factor per channel are a PReLU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from hwmodels.errors import FileError
from hwmodels.numbers import INT8
from hwsearch.formats.tflite.integers.blocks import Blocks
from hwsearch.formats.tflite.integers.convolution import FIRST_CODE, NotCounted, StoredLayer, grid_of, read_convolution
from hwsearch.formats.tflite.integers.order import prelu_slope
from hwsearch.formats.tflite.tables import StoredOperator
from hwsearch.formats.tflite.writing.form import NONE, RELU, RELU6, RELU_N1_TO_1, fused_bounds
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers
from searchspaces.ir.graph import Graph, conv_of
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.maps.activation import Activation, LeakyRelu, PRelu, Relu, Relu6, Sigmoid, Tanh
from searchspaces.ops.maps.elementwise import Add, Mul
from searchspaces.ops.moves.move import Concat, Repeat, Slice
from searchspaces.ops.moves.resize import Mode, Resize
from searchspaces.ops.reductions.reduce import Mean, Reduction

ACTIVATIONS = {"RELU": RELU, "RELU6": RELU6, "RELU_N1_TO_1": RELU_N1_TO_1}
_UNARY: dict[str, type[Activation]] = {
    "LOGISTIC": Sigmoid, "TANH": Tanh, "LEAKY_RELU": LeakyRelu, "RELU": Relu, "RELU6": Relu6,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Walked:
    """A file in canonical form.

    ``formats`` has every tensor that is stored in integers, ``layers`` every convolution in integers, ``stored`` all
    convolutions.
    """

    graph: Graph
    formats: dict[str, TensorFormat]
    layers: dict[str, LayerIntegers]
    stored: dict[str, StoredLayer]


class Walker(Blocks):
    """Turns operators into nodes one by one, each by the method that is named after it."""

    def run(self) -> Walked:
        """The whole file.

        Raises:
            FileError: the output does not depend on the input, or an operator reads what nothing has written.
        """
        first = self.model.tensors[self.model.input]
        if len(first.shape) != 4 or not 1 <= first.shape[3] <= 4096:
            raise FileError(f"the input has the shape {list(first.shape)}, not that of a picture [1, height, width, channels]")
        self.put(self.model.input, Input(first.shape[3]), ())
        uncounted: list[str] = []
        for operator in self.model.operators:
            try:
                self._read(operator)
            except NotCounted as reason:
                uncounted.append(str(reason))
                source = next((self.node_of[i] for i in operator.inputs if i in self.node_of), None)
                if source is None or len(operator.outputs) != 1:
                    raise FileError(f"{operator.name} cannot be read: {reason}") from None
                self.put(operator.outputs[0], Unknown(operator.name), (source,))
        if self.model.output not in self.node_of:
            raise FileError("nothing computes the output of the network")
        nodes = tuple(self.nodes.values())
        last = self.node_of[self.model.output]
        if nodes[-1].name != last:
            nodes = (*(node for node in nodes if node.name != last), self.nodes[last])
        graph = Graph(self.model.description or "network", nodes, tuple(uncounted))
        return Walked(graph, self.formats, self.layers, self.stored)

    def _read(self, operator: StoredOperator) -> None:
        if len(operator.outputs) != 1 or not operator.inputs:
            raise NotCounted(f"{operator.name} with {len(operator.outputs)} outputs")
        reader: Callable[[StoredOperator], None] | None = getattr(self, f"_read_{operator.name.lower()}", None)
        if reader is not None:
            reader(operator)
        elif operator.name in _UNARY:
            self._read_unary(operator)
        else:
            raise NotCounted(operator.name)

    def _read_quantize(self, operator: StoredOperator) -> None:
        source, target = operator.inputs[0], operator.outputs[0]
        tensors = self.model.tensors
        before, after = grid_of(tensors[source]), grid_of(tensors[target])
        name = self.source(source)
        if after is not None and before is None and isinstance(self.nodes[name].op, Input):
            self.formats[name] = after  # the picture comes in floating point
            self.node_of[target] = name
        elif before is not None and after is not None and before.scale == after.scale and after.is_wide and not before.is_wide:
            self.node_of[target] = name  # shifted codes keep their value in the wider container
        elif before is not None and after is not None and before.scale == after.scale and self._wide_sum(name, source):
            self.take_over(target, source)
            self.formats[self.node_of[target]] = after
        elif not self.alias(operator, source):
            raise NotCounted("QUANTIZE from one scale to another")

    def _wide_sum(self, name: str, index: int) -> bool:
        """Whether ``name`` is a 16-bit result of 16-bit operands that nobody reads but the step to 8 bits."""
        node = self.nodes[name]
        wide = any(self.formats.get(i, TensorFormat(INT8)).is_wide for i in node.inputs)
        return isinstance(node.op, Conv | Add) and wide and self.reads[index] == 1

    def _read_dequantize(self, operator: StoredOperator) -> None:
        if operator.outputs[0] != self.model.output:
            raise NotCounted("DEQUANTIZE inside the network")
        self.node_of[operator.outputs[0]] = self.source(operator.inputs[0])

    def _read_pad(self, operator: StoredOperator) -> None:
        amounts = self.constant(operator, 1)
        if amounts.shape != (4, 2) or amounts[[0, 3]].any() or (amounts < 0).any() or amounts.max() > 1024:
            raise NotCounted("PAD of other sides than height and width")
        (top, bottom), (left, right) = amounts[1], amounts[2]
        self.node_of[operator.outputs[0]] = self.source(operator.inputs[0])
        self.padding[operator.outputs[0]] = (int(left), int(right), int(top), int(bottom))

    def _read_conv_2d(self, operator: StoredOperator) -> None:
        index = operator.inputs[0]
        padding = self.padding.get(index, (0, 0, 0, 0))
        found = read_convolution(operator, self.model.tensors, padding)
        source = self.node_of[index] if index in self.padding else self.source(index)
        buffer = self.model.tensors[operator.inputs[1]].buffer
        name = self.put(operator.outputs[0], found.op, (source,), found.weights, f"buffer {buffer}")
        self.stored[name] = found.stored
        if found.layer is not None:
            self.layers[name] = found.layer
        self._fused(operator)

    _read_depthwise_conv_2d = _read_conv_2d

    def _fused(self, operator: StoredOperator) -> None:
        """The fused activation of an operator, as bounds of the codes that it writes."""
        activation, index = operator.options.get("FusedActivationFunction", NONE), operator.outputs[0]
        fmt = grid_of(self.model.tensors[index])
        if activation not in (NONE, *ACTIVATIONS.values()):
            raise NotCounted(f"{operator.name} with the fused activation {activation}")
        if fmt is not None:
            self.bound(index, *fused_bounds(activation, fmt))
        elif activation != NONE:
            name = self.node_of[index]
            fused = {RELU: Relu(), RELU6: Relu6()}.get(activation)
            if fused is None or not hasattr(self.nodes[name].op, "activation"):
                raise NotCounted(f"{operator.name} with the fused activation {activation}")
            self.nodes[name] = self.nodes[name].with_op(activation=fused)

    def _read_add(self, operator: StoredOperator) -> None:
        tensors = self.model.tensors
        if len(operator.inputs) != 2 or tensors[operator.inputs[0]].shape != tensors[operator.inputs[1]].shape:
            raise NotCounted("ADD of tensors of different shapes")
        self.put(operator.outputs[0], Add(), tuple(self.source(i) for i in operator.inputs))
        self._fused(operator)

    def _read_mul(self, operator: StoredOperator) -> None:
        if len(operator.inputs) != 2:
            raise NotCounted("MUL")
        wide = sorted((self.source(i) for i in operator.inputs), key=lambda name: isinstance(self.nodes[name].op, Reduction))
        self.put(operator.outputs[0], Mul(), tuple(wide))
        self._fused(operator)

    def _read_concatenation(self, operator: StoredOperator) -> None:
        if self.is_joined(operator):
            return
        if operator.options["Axis"] not in (3, -1) or operator.options["FusedActivationFunction"] != NONE:
            raise NotCounted("CONCATENATION of other sides than channels")
        sources = tuple(self.source(i) for i in operator.inputs)
        if len(sources) > 1 and len(set(sources)) == 1:
            self.put(operator.outputs[0], Repeat(len(sources)), sources[:1])
        else:
            self.put(operator.outputs[0], Concat(), sources)

    def _read_slice(self, operator: StoredOperator) -> None:
        begin, size = self.constant(operator, 1), self.constant(operator, 2)
        if begin.shape == size.shape == (4,) and self.is_row(operator, int(np.argmax(size != -1))):
            return
        if begin.shape != (4,) or size.shape != (4,) or begin[:3].any() or (size[:3] != -1).any() or size[3] < 1:
            raise NotCounted("SLICE of other sides than channels")
        op = Slice(int(begin[3]), int(begin[3] + size[3]))
        self.put(operator.outputs[0], op, (self.source(operator.inputs[0]),))

    def _read_resize_nearest_neighbor(self, operator: StoredOperator) -> None:
        before, after = (self.model.tensors[i].shape[1:3] for i in (operator.inputs[0], operator.outputs[0]))
        mode: Mode = "bilinear" if operator.name == "RESIZE_BILINEAR" else "nearest"
        half, corners = bool(operator.options["HalfPixelCenters"]), bool(operator.options["AlignCorners"])
        smooth = mode == "bilinear"
        if half != (smooth and not corners) or (corners and not smooth):
            raise NotCounted(f"{operator.name} with other pixel centres than PyTorch's")
        factors = {b / a for a, b in zip(before, after, strict=True) if a}
        factor = factors.pop() if len(factors) == 1 else 0.0
        if factor == int(factor) and 1 <= factor <= 64:
            op = Resize(mode, int(factor), align_corners=corners)
        elif smooth:
            op = Resize(mode, size=(int(after[0]), int(after[1])), align_corners=corners)
        else:
            raise NotCounted(f"{operator.name} from {before[0]}x{before[1]} to {after[0]}x{after[1]} pixels")
        self.put(operator.outputs[0], op, (self.source(operator.inputs[0]),))

    _read_resize_bilinear = _read_resize_nearest_neighbor

    def _read_mean(self, operator: StoredOperator) -> None:
        axes = self.constant(operator, 1)
        if sorted(int(axis) % 4 for axis in axes.reshape(-1)) != [1, 2]:
            raise NotCounted("MEAN of other sides than height and width")
        self.put(operator.outputs[0], Mean(), (self.source(operator.inputs[0]),))

    def _read_unary(self, operator: StoredOperator) -> None:
        source = operator.inputs[0]
        activation = ACTIVATIONS.get(operator.name)
        before = grid_of(self.model.tensors[source])
        if activation is not None and before is not None and self.reads[source] == 1 and self.alias(operator, source):
            self.bound(operator.outputs[0], *fused_bounds(activation, before))
            return
        cls = _UNARY[operator.name]
        op = LeakyRelu(float(operator.options["Alpha"])) if cls is LeakyRelu else cls()
        self.put(operator.outputs[0], op, (self.source(source),))

    def _read_maximum(self, operator: StoredOperator) -> None:
        if len(operator.inputs) != 2:
            raise NotCounted(operator.name)
        constants = [i for i in operator.inputs if self.model.tensors[i].data is not None]
        if not constants:
            self._read_prelu_pair(operator)
            return
        source = next(i for i in operator.inputs if i not in constants or len(constants) == 2)
        value, fmt = self.model.tensors[constants[0]].data, grid_of(self.model.tensors[constants[0]])
        if value is None or value.size != 1 or fmt is None or self.reads[source] != 1 or not self.alias(operator, source):
            raise NotCounted(f"{operator.name} that is no bound of codes")
        code = int(value.reshape(-1)[0]) + FIRST_CODE[self.model.tensors[constants[0]].kind]
        self.bound(operator.outputs[0], *((code, fmt.qmax) if operator.name == "MAXIMUM" else (fmt.qmin, code)))

    _read_minimum = _read_maximum

    def _read_prelu_pair(self, operator: StoredOperator) -> None:
        a, b = (self.source(i) for i in operator.inputs)
        first, second = self.layers.get(a), self.layers.get(b)
        alike = self.nodes[a].inputs == self.nodes[b].inputs and self.nodes[a].op == self.nodes[b].op
        slope = prelu_slope(first, second, operator.name == "MAXIMUM") if first and second and alike else None
        if first is None or slope is None:
            raise NotCounted(f"{operator.name} of two tensors")
        node, fmt, stored = self.nodes.pop(a), self.formats[a], self.stored.pop(a)
        del self.nodes[b], self.layers[b], self.layers[a], self.stored[b]
        op = replace(conv_of(node), activation=PRelu())
        weights = {**node.weights, "slope": torch.from_numpy(slope)}
        name = self.put(operator.outputs[0], op, node.inputs, weights, node.parameter)
        self.formats[name], self.layers[name], self.stored[name] = fmt, first, stored
