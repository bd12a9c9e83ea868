"""The tables that every device file may have, as pydantic classes: what keys there are.

What each value may be is said in ``values``; the table of a class of hardware is in ``sections``.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from hwmodels.device.values import Bits, BitsKey, Flag, NonNegative, Positive, PrecisionKey, Quantity, Table
from hwmodels.numbers import Int


class Widths(Table):
    """Widths on offer. 16 means a 16-bit integer (``wide = "int16"``) or half precision (``"fp16"``).

    Integer weights have at most 8 bits. ``symmetric_activations``: the runtime has no zero points, so 8-bit activations
    are -128..127 around 0.
    """

    weight_bits: Annotated[tuple[Bits, ...], Field(min_length=1)]
    activation_bits: Annotated[tuple[Bits, ...], Field(min_length=1)]
    wide: Literal["int16", "fp16", "none"] = "none"
    symmetric_activations: Flag = False


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
