"""Pixel shuffles of a TFLite file and back, in each of the ways that files have for them.

As an operator (DEPTH_TO_SPACE, SPACE_TO_DEPTH); of int16, for which there is none, as RESHAPE, TRANSPOSE, RESHAPE; for an Ethos-U
as SLICE, CONCATENATION along the width, RESHAPE, and back as RESHAPE, SLICE, CONCATENATION along the channels (see
``operators.blocks``).
"""

from __future__ import annotations

from hwsearch.formats.tflite.integers.convolution import NotCounted
from hwsearch.formats.tflite.integers.nodes import Nodes
from hwsearch.formats.tflite.tables import StoredModel, StoredOperator
from searchspaces.ops.moves.move import PixelShuffle, PixelUnshuffle

WIDTH, CHANNELS = 2, 3
"""Axes of a picture in a file."""
Shuffle = tuple[int, PixelShuffle | PixelUnshuffle]
"""Of which tensor, and which one."""


class Blocks(Nodes):
    """Tensors between the steps of a shuffle have no node: ``split`` and ``shuffled`` are around a transpose, ``flat`` in front
    of slices, ``beside`` slices put side by side; ``rows``: slices by tensor, axis, first place and number of places."""

    def __init__(self, model: StoredModel) -> None:
        super().__init__(model)
        self.split: dict[int, Shuffle] = {}
        self.flat: dict[int, Shuffle] = {}
        self.shuffled: dict[int, Shuffle] = {}
        self.rows: dict[int, tuple[int, int, int, int]] = {}
        self.beside: dict[int, Shuffle] = {}

    def shape(self, index: int) -> tuple[int, ...]:
        """Of a tensor of the file."""
        return self.model.tensors[index].shape

    def _read_depth_to_space(self, operator: StoredOperator) -> None:
        factor, shape = int(operator.options["BlockSize"]), self.shape(operator.inputs[0])
        if not 1 <= factor <= 64 or len(shape) != 4 or shape[3] % factor**2:
            raise NotCounted("DEPTH_TO_SPACE whose blocks do not fit its channels")
        self.put(operator.outputs[0], PixelShuffle(factor), (self.source(operator.inputs[0]),))

    def _read_space_to_depth(self, operator: StoredOperator) -> None:
        factor, shape = int(operator.options["BlockSize"]), self.shape(operator.inputs[0])
        if not 1 <= factor <= 64 or len(shape) != 4:
            raise NotCounted(f"SPACE_TO_DEPTH in blocks of {factor}")
        self.put(operator.outputs[0], PixelUnshuffle(factor), (self.source(operator.inputs[0]),))

    def _read_reshape(self, operator: StoredOperator) -> None:
        """The first or last step of a shuffle."""
        begun = self.shuffled.get(operator.inputs[0]) or self.beside.get(operator.inputs[0])
        if begun is not None:
            source, op = begun
            if self.shape(operator.outputs[0]) == self._whole(source, op):
                self.put(operator.outputs[0], op, (self.source(source),))
                return
        elif self._begins(operator):
            return
        raise NotCounted("RESHAPE that is no part of a pixel shuffle")

    def _begins(self, operator: StoredOperator) -> bool:
        """Whether it is the first step of a shuffle, in front of a transpose, or of slices; which is remembered."""
        source, target = operator.inputs[0], operator.outputs[0]
        before, after = self.shape(source), self.shape(target)
        if not len(before) == len(after) == 4 or not all((*before, *after)):
            return False
        rows, second, third, values = after
        if before == (1, rows * second, third * second, values // second):
            self.split[target] = source, PixelUnshuffle(second)
        elif before == (1, rows, second, third * values) and values % third == 0:
            self.split[target] = source, PixelShuffle(third)
        factor = values // before[3]
        if rows == 1 and factor > 1 and before == (1, second * factor, third, values // factor) and third % factor == 0:
            self.flat[target] = source, PixelUnshuffle(factor)
        return target in self.split or target in self.flat

    def _whole(self, source: int, op: PixelShuffle | PixelUnshuffle) -> tuple[int, ...]:
        _, height, width, channels = self.shape(source)
        if isinstance(op, PixelShuffle):
            return 1, height * op.factor, width * op.factor, channels // op.factor**2
        return 1, height // op.factor, width // op.factor, channels * op.factor**2

    def _read_transpose(self, operator: StoredOperator) -> None:
        if operator.inputs[0] not in self.split or self.constant(operator, 1).tolist() != [0, 2, 1, 3]:
            raise NotCounted("TRANSPOSE that is no part of a pixel shuffle")
        self.shuffled[operator.outputs[0]] = self.split[operator.inputs[0]]

    def is_row(self, operator: StoredOperator, axis: int) -> bool:
        """Whether a slice of a tensor along ``axis`` is a row of blocks, which is remembered: one of the width, of the first step
        of a shuffle back, or one that is only joined along the width."""
        index = operator.outputs[0]
        readers = [other for other in self.model.operators if index in other.inputs]
        along = {int(other.options["Axis"]) for other in readers if other.name == "CONCATENATION"}
        if len(readers) != 1 or not along or (axis, *along) not in ((CHANNELS, WIDTH), (WIDTH, CHANNELS)):
            return False
        if axis == WIDTH and operator.inputs[0] not in self.flat:
            return False
        first, count = int(self.constant(operator, 1)[axis]), int(self.constant(operator, 2)[axis])
        self.rows[index] = operator.inputs[0], axis, first, count
        return True

    def is_joined(self, operator: StoredOperator) -> bool:
        """Whether a concatenation is a step of a shuffle, which is remembered, or ends one.

        Raises:
            NotCounted: it joins rows of blocks in another way.
        """
        found = [self.rows.get(i) for i in operator.inputs]
        if not any(found):
            return False
        source, axis, _, count = found[0] or (0, 0, 0, 0)
        wanted = [(source, axis, number * count, count) for number in range(len(found))]
        if found != wanted or self.shape(source)[axis] != count * len(found):
            raise NotCounted("CONCATENATION of slices that are no pixel shuffle")
        if axis == CHANNELS:
            self.beside[operator.outputs[0]] = source, PixelShuffle(len(found))
            return True
        start, op = self.flat[source]
        if op != PixelUnshuffle(len(found)):
            raise NotCounted("CONCATENATION of slices that are no pixel shuffle")
        self.put(operator.outputs[0], op, (self.source(start),))
        return True
