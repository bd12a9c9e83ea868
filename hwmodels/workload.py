"""The table that the cost models read: one row per layer, one row per stored tensor.

A workload is a network at one input size. It knows shapes and counts, and nothing of weights' values, of torch, or of devices.
Layers are listed in execution order, each with the kind of work that it is: sums of products (``Contract``), an element-wise
function (``Map``), many values to one (``Reduce``), or data movement (``Move``), which costs bytes. No framework's name of an
operation decides anything here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

import numpy as np

Window = tuple[int, int, int, int]
"""Input pixels to the left, right, top and bottom of its own place that an output pixel sees."""
POINT: Window = (0, 0, 0, 0)

Bend = Literal["clamp", "slope", "slopes", "function"]
"""A function of one value."""
Finish = Literal["none", "clamp", "slope", "slopes", "function"]
"""What is done to a value as it is written: nothing; bounds; one factor below zero; one such factor for each channel; a function
of one value, which integer hardware looks up in a table and floating-point hardware computes."""
Function = Literal["add", "mul", "division", "compare", "clamp", "slope", "slopes", "function"]
"""What an element-wise operation computes: a sum or difference, a product, a quotient, the smaller, larger or chosen one of
several, or a function of one value as in ``Finish``."""
Movement = Literal["copy", "view", "concat", "slice", "repeat", "shuffle", "transpose", "gather", "pad", "resize"]
"""How values move: as they lie; not at all, only their axes get other sizes; parts one after the other; a part; several times;
between channels and pixels; axes exchanged; in an order given by a list; with others around them; interpolated to another number
of pixels."""


@dataclass(frozen=True)
class Contract:
    """Sums of products.

    ``macs``: multiply-accumulates a picture. ``depth``: products summed for one output value. ``form``: how operands meet. In a
    "window" every output pixel sees a window of ``kernel`` pixels, all channels of its group; "channelwise", each channel alone;
    "product" is a matrix product without a window. ``stationary``: what the array holds while values pass, weights or a second
    tensor (the layer's last input). ``scattered``: in which of two tensors what goes into one sum does not lie side by side.
    """

    macs: int
    depth: int = 1
    form: Literal["window", "channelwise", "product"] = "window"
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    groups: int = 1
    stationary: Literal["weights", "tensor"] = "weights"
    scattered: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class Map:
    """An element-wise operation of ``arity`` operands.

    ``variant``: what some runtimes lack at some widths, or compute otherwise than others of its kind. Of functions of one value:
    GELU; one of which 16-bit kernels keep samples, too ("sampled"); the "logistic" function and the tangent, which have 16-bit
    kernels of their own; a value times its logistic function ("gated"). Of two values: a "difference", or its square.
    """

    function: Function
    arity: int = 1
    variant: Literal["", "gelu", "sampled", "logistic", "gated", "difference"] = ""


@dataclass(frozen=True)
class Reduce:
    """``over`` values become one statistic. ``keeps``: every value is then written again, changed by the statistic
    (normalization), and ``function`` is what is done to it on the way. Else only the statistic is written, and ``function`` is
    how it comes about: by adding, by adding products of values with themselves ("mul": a variance, of which the root is taken if
    ``rooted``), by comparing. ``kernel``: the window where it is one of pixels, ``stride`` apart; None: everything at once.
    ``centred``: a normalization takes the mean off first."""

    over: int
    keeps: bool = False
    function: Function = "add"
    kernel: tuple[int, int] | None = None
    stride: int = 1
    centred: bool = True
    rooted: bool = False

    @property
    def is_softmax(self) -> bool:
        """Whether every value becomes its share: its exponential over the sum of all."""
        return self.keeps and self.function == "function"

    @property
    def is_normalization(self) -> bool:
        """Whether every value is brought to a common mean, deviation or length."""
        return self.keeps and self.function != "function"

    @property
    def passes(self) -> int:
        """How often every value is read."""
        return 2 if self.keeps else 1


@dataclass(frozen=True)
class Move:
    """Values move and nothing is computed, but for the weights of an interpolation.

    ``shape`` and ``axes`` of a transpose: what is read, and which of its axes each axis of the result is; empty: not told.
    ``taps`` of an interpolation: of how many rows and columns each pixel is a weighted sum; empty: pixels are copied.
    ``variant``: what some runtimes lack: a copy in reversed order, a border that repeats what lies outermost, an interpolation
    between the corners of both pictures.
    ``along``, of a part or of values in another order: the axes of which places are chosen; empty: not told.
    """

    how: Movement = "copy"
    shape: tuple[int, ...] = ()
    axes: tuple[int, ...] = ()
    taps: tuple[int, ...] = ()
    variant: Literal["", "reversed", "outermost", "corners"] = ""
    along: tuple[int, ...] = ()


Work = Contract | Map | Reduce | Move


@dataclass(frozen=True)
class Constant:
    """An operand of a layer that is stored with the network instead of computed: a mask, a bias of positions, a factor.

    ``elements``: how many numbers it has. ``flags``: each of them is yes or no. ``repeated``: an earlier layer reads the same
    numbers, which are stored once. ``read``: how many of them are read, in a part of the picture; None: all.
    """

    elements: int
    flags: bool = False
    repeated: bool = False
    read: int | None = None

    def part(self, pixels: int, of: int) -> Constant:
        """The same beside ``pixels`` of a result of ``of`` pixels: what has numbers for every pixel is read where they are."""
        if of < 2 or self.elements % of:
            return self
        return replace(self, read=self.elements // of * pixels)


@dataclass(frozen=True)
class Layer:
    """One operation of the network at one input size.

    ``inputs`` and ``output`` are rows of the tensor table. ``finish``: what is done to the result as it is written. ``window``:
    what an output pixel sees of its input; None: the whole of it, or there are no pixels. ``label`` is what the owner of the
    network calls the operation: it is shown and decides nothing. ``weights_of``: the earlier layer whose weights these are, by
    name; empty: its own. Such weights have one width and are stored once, and travel to the arithmetic for every use.
    ``bias_count``: numbers of single precision, such as biases and slopes; ``constants``: operands that are no tensors.
    ``aside``: a compiler leaves it to another processor than the device.
    """

    name: str
    work: Work
    inputs: tuple[int, ...]
    output: int
    weight_count: int = 0
    bias_count: int = 0
    finish: Finish = "none"
    window: Window | None = POINT
    label: str = ""
    weights_of: str = ""
    constants: tuple[Constant, ...] = ()
    aside: bool = False

    @property
    def macs(self) -> int:
        """Multiply-accumulates a picture."""
        return self.work.macs if isinstance(self.work, Contract) else 0

    @property
    def kernel(self) -> tuple[int, int]:
        """Pixels of the window, rows and columns."""
        return self.work.kernel if isinstance(self.work, Contract) else (1, 1)

    @property
    def stride(self) -> int:
        return self.work.stride if isinstance(self.work, Contract) else 1

    @property
    def groups(self) -> int:
        return self.work.groups if isinstance(self.work, Contract) else 1

    @property
    def contracts(self) -> bool:
        """Whether it is sums of products."""
        return isinstance(self.work, Contract)

    def maps(self, *functions: Function) -> bool:
        """Whether it is element-wise, and one of ``functions`` where any are given."""
        return isinstance(self.work, Map) and (not functions or self.work.function in functions)

    def moves(self, *how: Movement) -> bool:
        """Whether it only moves values, and in one of these ways where any are given."""
        return isinstance(self.work, Move) and (not how or self.work.how in how)

    @property
    def reduces(self) -> bool:
        return isinstance(self.work, Reduce)

    @property
    def is_softmax(self) -> bool:
        """See ``Reduce``."""
        return isinstance(self.work, Reduce) and self.work.is_softmax

    @property
    def is_normalization(self) -> bool:
        """See ``Reduce``."""
        return isinstance(self.work, Reduce) and self.work.is_normalization

    @property
    def channelwise(self) -> bool:
        """Whether every channel is convolved alone."""
        return isinstance(self.work, Contract) and self.work.form == "channelwise"

    @property
    def product(self) -> bool:
        """Whether it is a matrix product without a window."""
        return isinstance(self.work, Contract) and self.work.form == "product"

    @property
    def of_tensors(self) -> bool:
        """Whether it multiplies two tensors, instead of one by weights."""
        return isinstance(self.work, Contract) and self.work.stationary == "tensor"

    def with_macs(self, macs: int) -> Layer:
        """The layer with another number of multiply-accumulates, if it has any."""
        return replace(self, work=replace(self.work, macs=macs)) if isinstance(self.work, Contract) else self


@dataclass(frozen=True)
class Tensor:
    """One stored tensor. ``producer`` is a layer row, -1 for the network's input; ``readers`` are layer rows.

    ``channels`` values lie side by side in memory, at ``height`` x ``width`` places. A tensor that is no picture (tokens, heads)
    has all of its places in ``height``, and ``width`` 1.

    ``group`` is the width group: tensors of one group must have one width (views of each other, operands of a
    concatenation or of a residual addition). ``axes``: sizes of all axes, in the network's order; empty: not told.
    """

    name: str
    channels: int
    height: int
    width: int
    producer: int
    readers: tuple[int, ...]
    group: int
    picture: bool = True
    axes: tuple[int, ...] = ()

    @property
    def elements(self) -> int:
        return self.channels * self.height * self.width

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of all axes as they lie in memory, the innermost last: channels are innermost in a picture."""
        told = not self.picture and prod(self.axes) == self.elements
        return self.axes if told else (self.height, self.width, self.channels)


@dataclass(frozen=True)
class Piece:
    """One of several operations in a layer's place.

    Attributes:
        inputs: numbers of the layer's inputs, or of earlier pieces' results, counted back from -1, the piece just before.
        shape: channels, height and width of the result; the last piece's is the layer's output.
        weighs: whether it has the layer's weights.
        aside: whether a compiler leaves it to another processor than the device.
    """

    work: Work
    inputs: tuple[int, ...]
    shape: tuple[int, int, int]
    finish: Finish = "none"
    weighs: bool = False
    aside: bool = False


Written = Callable[["Workload", int, int], Sequence[Piece]]
"""What a file holds in place of a layer, by its row and the bytes of an element of its tensors; empty where it is the layer."""


@dataclass(frozen=True)
class Workload:
    """A network at one input size: its layers, its tensors, and the operations that could not be counted.

    ``group_names[g]`` names width group ``g`` after its first tensor. ``uncounted`` lists operations that have no row;
    whoever prices the workload must show them. ``written`` tells what the file that ships holds for each layer; None: the layers
    as they are. ``number_bytes``: of each number of a constant operand in that file; 0: as wide as the tensors beside it.
    """

    name: str
    layers: tuple[Layer, ...]
    tensors: tuple[Tensor, ...]
    group_names: tuple[str, ...]
    uncounted: tuple[str, ...] = ()
    written: Written | None = None
    number_bytes: int = 0

    @property
    def held(self) -> tuple[dict[int, int], ...]:
        """For every layer, ``{tensor row: pixels}`` that are held while it runs beside what the network itself computes."""
        return tuple({} for _ in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def weight_count(self) -> int:
        """Weights that are stored: those of several layers count once."""
        return sum(self.layers[row].weight_count for row in self.weighted)

    @property
    def weighing(self) -> tuple[int, ...]:
        """Rows of the layers that have weights, in execution order, whoever else has them."""
        return tuple(i for i, layer in enumerate(self.layers) if layer.weight_count)

    @property
    def weighted(self) -> tuple[int, ...]:
        """Rows of the layers that have weights of their own, in execution order: the weight decisions of a plan."""
        return tuple(i for i in self.weighing if not self.layers[i].weights_of)

    @property
    def weight_columns(self) -> tuple[int, ...]:
        """The weight decision of each layer, -1 for those without weights."""
        named = {self.layers[row].name: column for column, row in enumerate(self.weighted)}
        return tuple(named[layer.weights_of or layer.name] if layer.weight_count else -1 for layer in self.layers)

    def live_elements(self, channels: np.ndarray | None = None) -> np.ndarray:
        """Elements of each width group alive while each layer runs: ``int64[layers, groups]``.

        ``channels`` counts those that each tensor has as stored, where a device fills them up (default: its own).

        A tensor lives from its producer to its last reader, both included; the network's output lives to the end.
        No layer works in place: a device that can says so in its memory rules (see ``memory``).
        """
        live = np.zeros((len(self.layers), len(self.group_names)), dtype=np.int64)
        for row, tensor in enumerate(self.tensors):
            first = max(tensor.producer, 0)
            last = max(tensor.readers) if tensor.readers else len(self.layers) - 1
            stored = tensor.channels if channels is None else int(channels[row])
            live[first : last + 1, tensor.group] += tensor.height * tensor.width * stored
        return live
