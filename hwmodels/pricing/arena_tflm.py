"""What TensorFlow Lite Micro keeps in its arena: feature maps, buffers of kernels, and its own tables.

The interpreter knows operators, not layers, so this file says which operators a layer becomes in the exported file
(``hwsearch.formats.tflite.operators`` writes them):

- Kernels exist for int8 to int8 and for int16 to int16. Where a plan mixes them, QUANTIZE makes an int16 copy of a narrow input
  for each convolution or addition that needs it, and a narrow output is written as int16 first.
- Padding that SAME does not express is a PAD operator with a feature map of its own.
- A composed slope (``Arena.composes_slopes``) is two convolutions and MAXIMUM.
- A pixel shuffle of int16 is RESHAPE, TRANSPOSE, RESHAPE, and none of them works in place.

An operator's inputs, output and buffers are in use while it runs; what the network gives lies there to the end. The planner
places buffers of equal size in reverse order of the file's tensors. Beside them lie the interpreter's tables. Their layouts are
those of the C++ structures with pointers of 4 or 8 bytes: 8 on a host, where the structures of the published package also count
allocations and know compressed weights.

Buffers of CMSIS-NN's convolutions hold two gathered patches of int16 (four of int8 with Helium): functions
``arm_*_get_buffer_size`` of CMSIS-NN 4 to 7. The reference kernels need none, but unpack 4-bit weights of a layer.

Not known here: GATHER, which the exporter adds where no order of channels suits all readers; MAXIMUM and MINIMUM that cut codes
where no fused activation does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hwmodels.device.tables import Arena as Facts
from hwmodels.pricing.arena import Arena, When
from hwmodels.pricing.arena_build import Builder
from hwmodels.pricing.placement import NONE
from hwmodels.workload import Layer, Map, Move, Reduce, Tensor, Workload

ALIGNMENT = 16
"""Of buffers, and of what kernels keep."""
INT4_BITS = 4
"""Weights up to this width are stored as int4 where kernels take them."""
FAST_WIDE_PATCH = 512
"""CMSIS-NN gathers patches of int16 up to this many elements; longer ones run without a buffer."""
HELIUM_DEPTHWISE_BLOCK = 124
"""Channels that CMSIS-NN's depthwise kernels take at a time with Helium."""


class Structures(NamedTuple):
    """Sizes of the interpreter's structures in bytes: of each tensor, each operator, each handle of a kernel's buffer; of an
    input or output with its quantization; while planning, of each buffer; and what each kind of operator keeps."""

    tensor: int
    operator: int
    handle: int
    end: int
    planning: int
    kept: dict[str, int]


_PLAIN = {"ADD": 60, "DEPTH_TO_SPACE": 20, "QUANTIZE": 32, "PAD": 56}
STRUCTURES = {
    4: Structures(12, 32, 4, 40 + 20 + 16, 64, _PLAIN | {"CONV_2D": 60, "CONCATENATION": 24}),
    8: Structures(24, 64, 8, 64 + 32 + 16, 72, _PLAIN | {"CONV_2D": 80, "CONCATENATION": 80}),
}
"""By bytes of a pointer."""
OPTIONS = {"CONV_2D": 28, "ADD": 8, "CONCATENATION": 8, "DEPTH_TO_SPACE": 4, "RESIZE_NEAREST_NEIGHBOR": 4, "RESHAPE": 36}
"""Bytes of an operator's options."""
CONSTANTS = {"CONV_2D": 2, "PAD": 1, "SLICE": 2, "RESIZE_NEAREST_NEIGHBOR": 1, "RESHAPE": 1, "TRANSPOSE": 1}
"""Constant tensors of an operator."""
SLOPES = ("slopes", "slope")
"""Activations that are composed."""
NAMES: dict[str, str] = {
    "concat": "CONCATENATION", "repeat": "CONCATENATION", "copy": "RESHAPE", "resize": "RESIZE_NEAREST_NEIGHBOR"
}  # fmt: skip


def _operator(layer: Layer) -> str:
    """What TFLite calls a layer that has one buffer a tensor and none beside."""
    match layer.work:
        case Map(function="mul"):
            return "MUL"
        case Reduce():
            return "MEAN"
        case Move(how=how):
            return NAMES.get(how, how.upper())
    return "RELU"


def arena(facts: Facts, workload: Workload, element_bytes: np.ndarray, weight_bits: tuple[int, ...]) -> Arena:
    """The arena of ``workload`` for the choices on offer: ``element_bytes float64[nA]`` and ``weight_bits``."""
    return _Lowering(facts, workload, element_bytes, weight_bits).arena()


class _Widths(NamedTuple):
    """Where an operator works in int16, where its input is widened for it, and its output narrowed behind it: ``bool[C, C]`` by
    the choices of both; ``at`` names these decisions."""

    at: When
    wide: np.ndarray
    widened: np.ndarray
    narrowed: np.ndarray

    def where(self, value: np.ndarray) -> When:
        return self.at._replace(value=value * 1.0)


class _Lowering:
    """Appends operators to a ``Builder``; ``codes[t]`` is the buffer that holds tensor ``t``."""

    def __init__(self, facts: Facts, workload: Workload, element_bytes: np.ndarray, weight_bits: tuple[int, ...]) -> None:
        self.facts, self.workload, self.weight_bits = facts, workload, weight_bits
        self.structures = STRUCTURES[facts.pointer_bytes]
        self.choices = max(len(element_bytes), len(weight_bits))
        self.bytes = np.pad(element_bytes, (0, self.choices - len(element_bytes)), mode="edge")
        self.builder = Builder(self.choices)
        self.codes: dict[int, int] = {}
        self.weight_of = {row: column for row, column in enumerate(workload.weight_columns) if column >= 0}
        self.scratch: list[tuple[str, When, When, int]] = []
        self.row = 0

    def arena(self) -> Arena:
        build, tensors = self.builder, self.workload.tensors
        given = [index for index, tensor in enumerate(tensors) if tensor.producer < 0]
        left = [index for index, tensor in enumerate(tensors) if not tensor.readers]
        build.step(0)
        for index in given:
            self.codes[index] = self.tensor(index)
            build.use([self.codes[index]])
            build.table(build.always(self.structures.tensor))
        for row, layer in enumerate(self.workload.layers):
            self.row = row
            self.layer(layer)
        build.use([self.codes[index] for index in left])
        for name, size, on, time in self.scratch:
            build.use([build.buffer(name, size)], on, time)
        build.lines(self.workload, lambda row, pixels: self._scaled(row, pixels * self.workload.tensors[row].channels))
        return build.build(
            alignment=ALIGNMENT,
            fixed_bytes=int(self.facts.fixed_bytes.value) + self.structures.end * (len(given) + len(left)),
            planning_bytes=self.structures.planning,
            later_first=True,
        )

    # Sizes and conditions

    def column(self, tensor: int) -> int:
        """The decision of a tensor's width."""
        return len(self.workload.weighted) + self.workload.tensors[tensor].group

    def tensor(self, index: int) -> int:
        """A new buffer for a tensor of the network."""
        tensor = self.workload.tensors[index]
        return self.builder.buffer(tensor.name, self._scaled(index, tensor.elements))

    def _scaled(self, index: int, elements: int) -> When:
        """Bytes of elements of a tensor, by its width."""
        return When(self.column(index), NONE, np.tile(elements * self.bytes[:, None], self.choices))

    # Operators

    def op(
        self, kind: str, reads: list[int], output: int, on: When, *, kept: tuple[int, ...] = (), scratch: np.ndarray | None = None
    ) -> int:
        """An operator that is there where ``on`` is not zero; ``kept``: bytes that it keeps beside what all of its kind do."""
        build, sizes = self.builder, self.structures
        build.step(self.row)
        build.use([*reads, output], on)
        keeps = [*([sizes.kept[kind]] if kind in sizes.kept else []), *kept]
        size = sizes.operator + OPTIONS.get(kind, 0) + sizes.tensor * (1 + CONSTANTS.get(kind, 0))
        size += sum(-(-each // ALIGNMENT) * ALIGNMENT for each in keeps)
        build.table(on._replace(value=size * on.value))
        if scratch is not None:
            asked = on._replace(value=scratch * on.value)
            build.table(on._replace(value=sizes.handle * (asked.value > 0)))
            self.scratch.append((f"{self.workload.layers[self.row].name}/buffer", asked, on, build.time))
        return output

    def layer(self, layer: Layer) -> None:
        sources, target = [self.codes[i] for i in layer.inputs], layer.output
        if layer.contracts:
            self.codes[target] = self.conv(layer)
        elif layer.maps("add"):
            self.codes[target] = self.add(layer)
        elif layer.moves("shuffle"):
            self.codes[target] = self.shuffle(layer)
        else:
            self.codes[target] = self.op(_operator(layer), sources, self.tensor(target), self.builder.always(1))

    def widths(self, source: int, target: int) -> _Widths:
        """What an operator with tensors of one container makes of the widths of its input and its output."""
        narrow_in, narrow_out = self.bytes[:, None] <= 1, self.bytes[None, :] <= 1
        wide = ~narrow_in | ~narrow_out
        at = When(self.column(source), self.column(target), np.ones_like(wide))
        return _Widths(at, wide, wide & narrow_in, wide & narrow_out)

    def widened(self, source: int, name: str, widths: _Widths) -> int:
        """The int16 copy of a narrow input, where the operator behind it is wide."""
        tensor = self.workload.tensors[source]
        copy = self.builder.buffer(name, widths.where(2.0 * tensor.elements * widths.widened))
        return self.op("QUANTIZE", [self.codes[source]], copy, widths.where(widths.widened))

    def written(self, name: str, target: int, widths: _Widths, write: Callable[[int, np.ndarray], None]) -> int:
        """The result of an operator, by way of int16 where it is wide and the result narrow; ``write(output, on)`` appends it."""
        after, build = self.workload.tensors[target], self.builder
        wide = build.buffer(f"{name}/int16", widths.where(2.0 * after.elements * widths.narrowed))
        direct = build.buffer(name, self._scaled(target, after.elements))
        write(wide, widths.narrowed)
        write(direct, ~widths.narrowed)
        return self.op("QUANTIZE", [wide], direct, widths.where(widths.narrowed))

    def add(self, layer: Layer) -> int:
        widths = self.widths(layer.inputs[0], layer.output)
        copies = [self.widened(source, f"{layer.name}/wide", widths) for source in layer.inputs]

        def write(y: int, on: np.ndarray) -> None:
            self.op("ADD", [self.codes[source] for source in layer.inputs], y, widths.where(on & ~widths.widened))
            self.op("ADD", copies, y, widths.where(on & widths.widened))

        return self.written(self.workload.tensors[layer.output].name, layer.output, widths, write)

    def conv(self, layer: Layer) -> int:
        name = self.workload.tensors[layer.output].name
        if not composed(self.facts, layer):
            return self._conv(layer, name)
        parts = [self._conv(layer, f"{name}/{part}") for part in ("positive", "negative")]
        return self.op("MAXIMUM", parts, self.tensor(layer.output), self.builder.always(1))

    def _conv(self, layer: Layer, name: str) -> int:
        """One convolution with the changes of container and the padding around it."""
        source, target = layer.inputs[0], layer.output
        before, after = (self.workload.tensors[i] for i in (source, target))
        widths = self.widths(source, target)
        copy = self.widened(source, f"{name}/input", widths)
        inputs = [(self.codes[source], ~widths.widened), (copy, widths.widened)]
        padded = _padded(layer, before, after)
        if padded is not None:
            size = widths.where(padded * before.channels * np.where(widths.wide, 2.0, 1.0))
            pad = self.builder.buffer(f"{name}/padded", size)
            for x, on in inputs:
                self.op("PAD", [x], pad, widths.where(on))
            inputs = [(pad, np.ones_like(widths.wide))]
        kept = (4 * after.channels,) * 2
        scratch = self._scratch(layer, before, widths.wide)

        def write(y: int, on: np.ndarray) -> None:
            for x, here in inputs:
                self.op("CONV_2D", [x], y, widths.where(here & on), kept=kept, scratch=scratch)
                self._unpacked(layer, source, here & on & ~widths.wide)

        return self.written(name, target, widths, write)

    def _scratch(self, layer: Layer, before: Tensor, wide: np.ndarray) -> np.ndarray:
        """Bytes of a kernel's buffer where its tensors are ``wide bool[C, C]``."""
        narrow, broad = patch_bytes(self.facts.kernels, layer, before.channels)
        return np.where(wide, float(broad), float(narrow))

    def _unpacked(self, layer: Layer, source: int, on: np.ndarray) -> None:
        """The reference kernels unpack 4-bit weights of narrow layers."""
        if self.facts.kernels != "reference" or layer.channelwise or self.row not in self.weight_of:
            return
        packed = np.array([bits <= INT4_BITS for bits in self.weight_bits] + [False] * (self.choices - len(self.weight_bits)))
        # Whether the tensors are narrow depends on two more decisions; all that is asked for is counted where one of them is.
        narrow = np.asarray(on.any(axis=1))
        size = When(self.weight_of[self.row], self.column(source), layer.weight_count * (packed[:, None] & narrow[None, :]) * 1.0)
        self.scratch.append((f"{layer.name}/weights", size, self.builder.always(1), self.builder.time))
        self.builder.table(size._replace(value=self.structures.handle * (size.value > 0)))

    def shuffle(self, layer: Layer) -> int:
        (source,), target, build = layer.inputs, layer.output, self.builder
        column, elements = self.column(target), self.workload.tensors[target].elements
        wide: np.ndarray = np.tile((self.bytes > 1)[:, None], self.choices)
        parts = [build.buffer(f"{layer.name}/{part}", When(column, NONE, 2.0 * elements * wide)) for part in ("split", "turned")]
        y = self.tensor(target)
        back = self.workload.tensors[target].height < self.workload.tensors[source].height
        self.op("SPACE_TO_DEPTH" if back else "DEPTH_TO_SPACE", [self.codes[source]], y, When(column, NONE, 1.0 * ~wide))
        x = self.codes[source]
        for kind, output in (("RESHAPE", parts[0]), ("TRANSPOSE", parts[1]), ("RESHAPE", y)):
            self.op(kind, [x], output, When(column, NONE, 1.0 * wide))
            x = output
        return y


def composed(facts: Facts, layer: Layer) -> bool:
    """Whether a layer runs as two convolutions and their maximum."""
    return facts.composes_slopes and layer.weight_count > 0 and layer.finish in SLOPES


def patch_bytes(kernels: str, layer: Layer, channels: int) -> tuple[int, int]:
    """Bytes of the buffer that the kernel of a convolution asks for, with 8-bit and with 16-bit tensors."""
    taps = layer.kernel[0] * layer.kernel[1]
    patch = taps * channels
    match kernels:
        case "cmsis-nn" if layer.channelwise:
            return (0 if layer.kernel == (3, 3) else 2 * patch), (2 * patch if taps < FAST_WIDE_PATCH else 0)
        case "cmsis-nn":
            return (4 * (-(-patch // 4) * 4) if taps > 1 else 0), (4 * patch if patch < FAST_WIDE_PATCH else 0)
        case "cmsis-nn, Helium" if layer.channelwise:
            return 4 * HELIUM_DEPTHWISE_BLOCK * taps, (8 * patch + 8 if taps < FAST_WIDE_PATCH else 0)
        case "cmsis-nn, Helium":
            return (4 * (-(-patch // 16) * 16) if taps > 1 else 0), 0
    return 0, 0


def _padded(layer: Layer, before: Tensor, after: Tensor) -> int | None:
    """Pixels of the padded input, where padding takes an operator of its own."""
    if layer.window is None:
        return None
    left, right, top, bottom = layer.window
    sides = []
    rows, columns = (top, top + bottom, before.height, after.height), (left, left + right, before.width, after.width)
    for start, span, size, result in (rows, columns):
        # Padding is symmetric if that explains the size of the output, else as little as does.
        even = (size + 2 * start - span - 1) // layer.stride + 1 == result
        sides.append((start, start if even else (result - 1) * layer.stride + span + 1 - size - start, span))
    if any(start < 0 or end < 0 for start, end, _ in sides) or not any(start or end for start, end, _ in sides):
        return None
    if layer.stride == 1 and all((start, end) == (span // 2, span - span // 2) for start, end, span in sides):
        return None
    height, width = (size + start + end for size, (start, end, _) in zip((before.height, before.width), sides, strict=True))
    return height * width
