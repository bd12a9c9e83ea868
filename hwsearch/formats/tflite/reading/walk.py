"""From the operators of a TFLite file to the canonical graph, at one size of the picture.

Tensors of a file have their channels last; the graph has them first, and follows the order (``Map``) so that nothing is moved.
What a file holds in integers is read as the real numbers that they stand for. The saturation of codes whose lowest stands for
zero is a ReLU, and is read as one, as is a bound that the file puts on them; other bounds of codes are those of a range, and
become the width of the tensor.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from hwmodels.errors import FileError
from hwsearch.formats.reading.builder import CONTRADICTIONS, TO_CHANNELS_FIRST, TO_CHANNELS_LAST, Builder, Map
from hwsearch.formats.tflite.integers.convolution import StoredLayer, grid_of
from hwsearch.formats.tflite.reading import byte_pictures
from hwsearch.formats.tflite.reading.door import Door, is_last
from hwsearch.formats.tflite.reading.table import READS, Call, Value
from hwsearch.formats.tflite.tables import StoredModel, StoredOperator, StoredTensor
from hwsearch.formats.tflite.writing.form import NONE, RELU, RELU6, RELU_N1_TO_1
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.maps.activation import Activation, Clip, Relu, Relu6
from searchspaces.ops.reading import NotRead
from searchspaces.tracing.formulas import TraceSize

FUSED: dict[int, Activation] = {RELU: Relu(), RELU6: Relu6(), RELU_N1_TO_1: Clip(-1.0, 1.0)}
NOT_EXECUTED = {4: "TANH", 5: "SIGN_BIT"}
"""Further ones of the schema; the kernels of convolutions and arithmetic leave them out."""
CONVOLUTIONS, TOGETHER = ("CONV_2D", "DEPTHWISE_CONV_2D"), "BATCH_TO_SPACE_ND"
ALIKE = ("ADD", "SUB", "MUL", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "LOGISTIC", "TANH", "QUANTIZE", "DEQUANTIZE")
"""Operators that do the same to every pixel, wherever it stands, if their constants are numbers of channels."""


class Walk(Builder):
    """One pass.

    Attributes:
        values: what every tensor of the file is worth.
        formats: node -> the format of its codes, narrowed by bounds, where the file stores it as codes.
        layers: layer's name -> what the file stores of its weights.
        blocks: tensor of the file that is a picture taken apart -> into how many (rows, columns); see ``blocks``.
        pictures: whether the file takes and gives bytes without a scale, between conversions that are left out.
    """

    def __init__(self, model: StoredModel, given: Door, constants: dict[int, np.ndarray], sample: TraceSize) -> None:
        super().__init__(given.channels, sample)
        self.model = model
        self.given = given
        self.values: dict[int, Value] = dict(constants)
        self.formats: dict[str, TensorFormat] = {}
        self.layers: dict[str, StoredLayer] = {}
        self.unary_of: dict[str, str] = {}
        self.blocks: dict[int, tuple[int, int]] = {}
        self.reads = Counter(index for operator in model.operators for index in operator.inputs)
        self.pictures, self._passed = byte_pictures.find(model)
        self._set(model.input, self.turned(self.picture, TO_CHANNELS_LAST) if given.last else self.picture)

    def run(self) -> list[Node]:
        """The nodes that the output depends on.

        Raises:
            FileError: nothing computes the output, or an operator reads what nothing has written.
        """
        for operator in self.model.operators:
            self._operator(operator)
        output = self.values.get(self.model.output)
        if not isinstance(output, Map):
            raise FileError("nothing computes the output of the network from the picture")
        if self.model.output in self.blocks:
            raise FileError("the output of the network is a picture that is taken apart (SPACE_TO_BATCH_ND)")
        if len(output.axes) == 4 and is_last(self.shape(output), self.given):
            output = self.turned(output, TO_CHANNELS_FIRST)
        return self.up_to(self.lying(output))

    def _set(self, index: int, value: Value) -> None:
        self.values[index] = value
        fmt = grid_of(self.model.tensors[index])
        if isinstance(value, Map) and fmt is not None:
            self.formats[value.name] = fmt

    def _operator(self, operator: StoredOperator) -> None:
        for index in operator.inputs:
            if index != -1 and index not in self.values:
                raise FileError(f"{operator.name} reads {self.model.tensors[index].name!r}, which nothing writes")
        if not operator.outputs:
            return
        inputs = tuple(None if index == -1 else self.values[index] for index in operator.inputs)
        stored: tuple[StoredTensor | None, ...] = tuple(None if i == -1 else self.model.tensors[i] for i in operator.inputs)
        written = self.model.tensors[operator.outputs[0]]
        name = written.name.partition(";")[0] or f"tensor_{operator.outputs[0]}"
        call = Call(operator, inputs, stored, written, name)
        maps = [value for value in inputs if isinstance(value, Map)]
        before = list(self.nodes)
        for passed, handed in self._passed:
            if operator is passed:
                self.values[operator.outputs[0]] = self.values[handed]
                return
        reader = READS.get(operator.name)
        try:
            if reader is None:
                raise NotRead("")
            block = self._block(operator)
            found: Any = reader.read(self, call)
            values = list(found) if isinstance(found, list | tuple) else [found]
            if len(values) == 1 and isinstance(values[0], Map):
                values = [self._finished(call, values[0])]
            if block is not None and operator.name != TOGETHER:
                self.blocks[operator.outputs[0]] = block
        except (NotRead, *CONTRADICTIONS) as reason:
            if not isinstance(reason, NotRead) and not self.uncounted:
                raise
            for made in list(self.nodes)[len(before) :]:
                del self.nodes[made]
            if not maps:
                raise FileError(f"{operator.name} of constants cannot be read: {reason}") from None
            lost = self.unknown(name, operator.name, name, [value.name for value in maps], str(reason))
            values = [self.whole(lost)] * len(operator.outputs)
        for index, value in zip(operator.outputs, values, strict=False):
            self._set(index, value)

    def _block(self, operator: StoredOperator) -> tuple[int, int] | None:
        """Into how many pictures what an operator reads is taken apart; None: it is whole.

        Raises:
            NotRead: the operator tells single pictures apart, or takes one that is whole with one that is not.
        """
        given = {self.blocks.get(index) for index in operator.inputs if isinstance(self.values.get(index), Map)}
        if given in (set(), {None}):
            return None
        numbers = [self.model.tensors[i].shape for i in operator.inputs if i != -1 and i not in self.blocks]
        each = operator.name in ALIKE and all(len(shape) <= 1 for shape in numbers)
        if len(given) > 1 or not (each or operator.name in (*CONVOLUTIONS, TOGETHER)):
            raise NotRead("on a picture that is taken apart (SPACE_TO_BATCH_ND)")
        return given.pop()

    def _finished(self, call: Call, value: Map) -> Map:
        """Behind the activation that is fused to an operator, and the saturation of the codes that it writes."""
        fused = int(call.options.get("FusedActivationFunction", NONE))
        if fused != NONE:
            if fused not in FUSED:
                raise NotRead(f"the fused activation {NOT_EXECUTED.get(fused, fused)}")
            value = self.unary(f"{call.name}.activated", FUSED[fused], value)
        fmt = grid_of(call.written)
        return value if fmt is None else self.saturated(value, call.name, fmt)

    # Small vocabulary of the readers

    def saturated(self, value: Map, name: str, fmt: TensorFormat) -> Map:
        """What bounds of codes do to real values: a ReLU where the lowest stands for zero."""
        if fmt.zero_point != fmt.qmin or self.never_negative(value.name):
            return value
        return self.unary(f"{name}.relu", Relu(), value)

    def bounded(self, value: Map, name: str, low: int, high: int) -> Map:
        """Codes between two bounds."""
        fmt = self.formats[value.name]
        narrow = replace(fmt, qmin=max(fmt.qmin, low), qmax=max(min(fmt.qmax, high), low))
        self.formats[value.name] = narrow
        return self.saturated(value, name, narrow)

    def unary(self, name: str, op: Activation, value: Map) -> Map:
        """An activation."""
        made = self.pointwise(name, op, [value])
        self.unary_of[made.name] = value.name
        if value.name in self.formats:
            self.formats[made.name] = self.formats[value.name]
        return made

    def first(self, value: Map) -> Map:
        """A picture ``[N, H, W, C]`` with its channels first.

        Raises:
            NotRead: it has not four axes.
        """
        if len(value.axes) != 4:
            raise NotRead(f"of {len(value.axes)} axes")
        return self.turned(value, TO_CHANNELS_FIRST)

    def last(self, value: Map) -> Map:
        """Back to channels last."""
        return self.turned(value, TO_CHANNELS_LAST)
