"""The tables that every device file may have, as pydantic classes: what keys there are.

What each value may be is said in ``values``; the table of a class of hardware is in ``sections``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hwmodels.device.values import BitsKey, Flag, FormatName, NonNegative, Positive, PrecisionKey, Quantity, Table
from hwmodels.numbers import FP16, INT16, Int, NumberFormat, format_of

_BY_BITS = {"weight_bits", "activation_bits", "wide"}
_WIDE: dict[str, NumberFormat | None] = {"int16": INT16, "fp16": FP16, "none": None}


class Widths(Table):
    """Number formats on offer for stored weights and tensors, each ascending: ``weights = ["int4", "int8", "fp16"]``.

    Integer weights have at most 8 bits. ``symmetric_activations``: the runtime has no zero points, so 8-bit activations
    are -128..127 around 0.

    Files of version 0.1 give ``weight_bits``, ``activation_bits``, and in ``wide`` what 16 bits mean ("int16", "fp16", "none").
    """

    weights: Annotated[tuple[FormatName, ...], Field(min_length=1)]
    tensors: Annotated[tuple[FormatName, ...], Field(min_length=1)]
    symmetric_activations: Flag = False

    @model_validator(mode="before")
    @classmethod
    def _by_bits(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not _BY_BITS & given.keys():
            return given
        others = {key: value for key, value in given.items() if key not in _BY_BITS}
        meant = given.get("wide", "none")
        if meant not in _WIDE:
            raise ValueError(f"wide: {meant!r} given; allowed: {', '.join(_WIDE)}")
        for new, old in (("weights", "weight_bits"), ("tensors", "activation_bits")):
            bits = given.get(old)
            if new in given or not isinstance(bits, list | tuple):
                raise ValueError(f"give {new} by name, or all of weight_bits, activation_bits and wide")
            if INT16.bits in bits and _WIDE[meant] is None:
                raise ValueError(f"{old}: 16 given while wide is 'none'; say 'int16' or 'fp16'")
            others[new] = [str(_WIDE[meant] if width == INT16.bits else f"int{width}") for width in bits]
        return others

    @property
    def weight_formats(self) -> tuple[NumberFormat, ...]:
        return tuple(map(format_of, self.weights))

    @property
    def tensor_formats(self) -> tuple[NumberFormat, ...]:
        return tuple(map(format_of, self.tensors))


class Packing(Table):
    """How weights are stored: "bits" = bit-packed, rounded up to a byte per output channel; "bytes" = whole bytes for each
    weight; "stream" = losslessly compressed, with measured ``stored_bits_per_weight`` by width; of a documented array, without
    the zeros that fill up its steps (see ``encoded_weights``).

    ``expanded_at_load``: the packing saves storage only; weights are moved at the width they run as.
    """

    kind: Literal["bits", "bytes", "stream"]
    stored_bits_per_weight: dict[BitsKey, Positive] = Field(default_factory=dict)
    expanded_at_load: Flag = False

    def weight_bytes(self, weight_count: int, output_channels: int, bits: int) -> int:
        """Bytes of a layer's weights stored in ``bits`` (biases and scales not included)."""
        if self.kind == "bytes":
            return weight_count * Int(bits).container_bits // 8
        if self.kind == "stream":
            return math.ceil(weight_count * self.stored_bits_per_weight[str(bits)].value / 8)  # type: ignore[index]  # keys are Literals to mypy
        return output_channels * math.ceil(weight_count // output_channels * bits / 8)


class Memory(Table):
    """One memory: capacity, sustained bandwidth, and energy per byte moved, each where known.

    What documented arrays need beside: bytes of a burst, latencies, transactions that may be under way (of all ports together).
    """

    bytes: Positive | None = None
    bytes_per_s: Positive | None = None
    j_per_byte: NonNegative | None = None
    burst_bytes: Positive = Quantity(value=1.0)
    read_latency_s: NonNegative = Quantity(value=0.0)
    write_latency_s: NonNegative = Quantity(value=0.0)
    outstanding_reads: Positive | None = None
    outstanding_writes: Positive | None = None


class Memories(Table):
    """``onchip``: scratchpad, SRAM or last-level cache; ``dram``: external RAM; ``flash``: where an MCU keeps its weights."""

    onchip: Memory | None = None
    dram: Memory | None = None
    flash: Memory | None = None

    def __getitem__(self, name: str) -> Memory:
        memory = getattr(self, name) if name in type(self).model_fields else None
        if memory is None:
            raise KeyError(name)
        found: Memory = memory
        return found

    def __contains__(self, name: str) -> bool:
        return name in type(self).model_fields and getattr(self, name) is not None


class Limits(Table):
    """Hard limits that a plan must meet: flash for weights, RAM for activations.

    ``pictures``: where the whole input and output pictures are while a network works tile by tile: "resident" in the memory
    that ``peak_activation_bytes`` counts, or "streamed" from and to somewhere else (a camera, a display, external memory), so
    that only the tile at work counts.
    """

    weight_bytes: Positive | None = None
    peak_activation_bytes: Positive | None = None
    pictures: Literal["resident", "streamed"] = "resident"


class Arena(Table):
    """Working memory as the runtime lays it out (see ``arena``).

    ``planner``: "live ranges" where nothing is known of it: what is alive at once, a lower bound; "tflm" for TensorFlow Lite
    Micro; "c" for the exported C. ``kernels``: whose buffers TensorFlow Lite Micro's convolutions ask for. ``fixed_bytes``: what
    the runtime takes for any network; ``pointer_bytes`` of the machine. ``composes_slopes``: PReLU and LeakyReLU run as two
    convolutions and their maximum, three operators with a feature map each.
    """

    planner: Literal["live ranges", "tflm", "c"] = "live ranges"
    kernels: Literal["none", "reference", "cmsis-nn", "cmsis-nn, Helium"] = "none"
    fixed_bytes: NonNegative = Quantity(value=0.0)
    pointer_bytes: Literal[4, 8] = 4
    composes_slopes: Flag = False


class Overhead(Table):
    """Fixed time of an inference, and of each layer (kernel launch, command issue)."""

    inference_s: NonNegative = Quantity(value=0.0)
    layer_s: NonNegative = Quantity(value=0.0)


class Energy(Table):
    """``relative``: no measured anchor on this device, so energies may be compared with each other, and not quoted in joules."""

    j_per_mac: dict[PrecisionKey, Positive] = Field(default_factory=dict)
    static_w: NonNegative = Quantity(value=0.0)
    relative: Flag = True
