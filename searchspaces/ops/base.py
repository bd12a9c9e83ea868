"""What every operator says of itself.

An operator is a frozen dataclass: its fields are its parameters, and two of the same type and fields are equal. It holds no
tensors: weights stand on the node, by role. To add one, write a class in a file of this folder; ``registry`` finds it.

Shapes are whole shapes, the batch axis included, of any rank. Axes may be counted from the end (negative). Where an operator is
one of pictures, they are ``[N, C, H, W]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, ClassVar

from hwmodels.workload import POINT, Finish, Window, Work
from searchspaces.ops.extent import Extent, evaluate

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]
Roles = Mapping[str, Shape]
"""Role of a weight -> its shape."""


@dataclass(frozen=True)
class Op:
    """One operation that produces one tensor.

    Class attributes:
        kind: name in files; never changes once released. Empty for what is no operator itself.
        family: the word under which files keep operators that differ in their ``kind`` alone ("unary", "pool"); empty without.
        arity: fewest and most inputs; None: any number. A constant operand (weight "other") stands for one of them.
        needs, takes: roles of weights that a node must have, and may have.
        quantized: the role of the weight that is rounded to a width of its own, as every layer's is; empty without.
        aligns: its operands must have one width.
        channel_axis: where it has the channels of its input; None where it does not care.
        extents: fields that hold sizes which depend on the picture.
    """

    kind: ClassVar[str] = ""
    family: ClassVar[str] = ""
    arity: ClassVar[tuple[int, int | None]] = (1, 1)
    needs: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[tuple[str, ...]] = ()
    quantized: ClassVar[str] = ""
    aligns: ClassVar[bool] = False
    channel_axis: ClassVar[int | None] = None
    extents: ClassVar[tuple[str, ...]] = ()

    @property
    def moves(self) -> bool:
        """Whether it only moves values: its output and all of its inputs share one grid."""
        return False

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        """Shape of the output, for shapes of inputs and weights; by default that of the first input.

        Raises:
            ValueError: it cannot take such inputs.
        """
        return inputs[0]

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        """The output in floating point."""
        raise NotImplementedError(f"{type(self).__name__} cannot be executed")

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        """What it gives hardware to do."""
        raise NotImplementedError(f"{type(self).__name__} does not say what work it is")

    def window(self, weights: Roles) -> Window | None:
        """Pixels of a picture beside its own that an output pixel sees; None: any, or it is no operator of pictures."""
        return POINT

    @property
    def finish(self) -> Finish:
        """The function that is applied to the result, as hardware sees it: that of a fused activation."""
        return "none"

    def at(self, height: int, width: int) -> Op:
        """The operator for pictures of this size: sizes that depend on it become numbers."""
        if not self.extents:
            return self
        found = {name: _numbers(getattr(self, name), height, width) for name in self.extents}
        return replace(self, **found)

    @property
    def word(self) -> str:
        """What tables call it."""
        return self.family or self.kind

    def describe(self) -> str:
        """Itself in a few words, for messages: "resize bicubic"."""
        said = [self.word, *([self.kind] if self.family else [])]
        said += [value for field in fields(self) if isinstance(value := getattr(self, field.name), str) and value]
        return " ".join(said)


def _numbers(value: Extent | tuple[Extent, ...] | None, height: int, width: int) -> int | tuple[int, ...] | None:
    if value is None:
        return None
    if isinstance(value, tuple):
        return tuple(evaluate(item, height, width) for item in value)
    return evaluate(value, height, width)


def number(extent: Extent) -> int:
    """A size that has become a number.

    Raises:
        ValueError: it still depends on the picture (see ``Op.at``).
    """
    if isinstance(extent, str):
        raise ValueError(f"the size {extent!r} depends on the picture, and no picture is given")
    return extent


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Stride or dilation as (rows, columns)."""
    return (int(value[0]), int(value[1])) if isinstance(value, tuple | list) else (int(value), int(value))


def elements(shape: Shape) -> int:
    """Numbers in a tensor of this shape."""
    count = 1
    for side in shape:
        count *= side
    return count
