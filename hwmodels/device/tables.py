"""The tables of a device file as pydantic classes: what keys there are. What each value may be is said in ``values``."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hwmodels.device.values import (
    Bits,
    BitsKey,
    Count,
    ElementKey,
    Flag,
    Fraction,
    NonNegative,
    PackedKey,
    Positive,
    PrecisionKey,
    Quantity,
    Table,
)
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
            return math.ceil(weight_count * self.stored_bits_per_weight[str(bits)].value / 8)  # type: ignore[index]
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


class Gpu(Table):
    """Implicit GEMM: output tiles ``tile_m`` (pixels) by ``tile_n`` (channels), waves over ``sm_count``, channels padded.

    ``efficiency``: fraction of peak that well-shaped convolutions reach. ``cuda_core_rates``: MAC/s outside the tensor
    cores (depthwise).
    """

    sm_count: Positive
    clock_hz: Positive
    tile_m: Positive
    tile_n: Positive
    channel_pad: dict[PrecisionKey, Positive] = Field(default_factory=dict)
    efficiency: Fraction = Quantity(value=1.0)
    cuda_core_rates: dict[PrecisionKey, Positive] = Field(default_factory=dict)


class OutputCycles(Table):
    """Cycles per output element of the output unit, by operation and activation width; ``relu`` and ``lut``: fused activations.

    ``copy_a8`` and ``copy_a16``: pooling and moving.
    """

    conv_a8: Positive
    conv_a16: Positive
    add_a8: Positive
    add_a16: Positive
    mul_a8: Positive
    mul_a16: Positive
    copy_a8: Positive
    copy_a16: Positive
    relu: Positive
    lut: Positive


class ArrayMemory(Table):
    """Memories inside an array: one of ``shared_bytes`` for inputs and accumulators, of which ``table_bytes`` hold look-up
    tables, taken in granules (``accumulator_granule_bytes``: accumulators of 32 and of 40 bits); or two separate ones.
    """

    shared_bytes: Positive | None = None
    table_bytes: NonNegative = Quantity(value=0.0)
    input_granule_bytes: Positive | None = None
    accumulator_granule_bytes: tuple[Positive, Positive] | None = None
    input_bytes: Positive | None = None
    accumulator_bytes: Positive | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> ArrayMemory:
        shared = (self.shared_bytes, self.input_granule_bytes, self.accumulator_granule_bytes)
        separate = (self.input_bytes, self.accumulator_bytes)
        if sum(all(x is not None for x in kind) for kind in (shared, separate)) != 1:
            raise ValueError("allowed: shared_bytes with its granules, or input_bytes and accumulator_bytes")
        return self


class Channels(Table):
    """Read buffers of an array's memory channels in bytes: they limit what is under way, and so what slow memories give.

    ``stream_bytes``: operands of element-wise operations.
    """

    copy_bytes: Positive
    stream_bytes: Positive
    weight_bytes: Positive
    input_bytes: Positive


class NpuArray(Table):
    """A documented array of multipliers (``ethos``).

    ``macs``: multipliers of one core. ``microblocks``: heights, widths, channels of output made side by side, where the compiler
    may choose. ``input_units``: for each micro-block, rows and columns that an input block is rounded to, when a pixel has up to
    16, up to 32, and more bytes. ``block_limits``: rows, columns, channels of the largest block. ``decoders``: weight decoders.
    ``reference_onchip_bytes``: on-chip memory of the system that the file describes, where feature maps may leave the chip;
    with more of it no layer gets slower.
    """

    macs: Count
    cores: Count = 1
    decoders: Count = 1
    microblocks: Annotated[tuple[tuple[Count, Count, Count], ...], Field(min_length=1)]
    input_units: Annotated[
        tuple[Annotated[tuple[tuple[Count, Count], ...], Field(min_length=3, max_length=3)], ...], Field(min_length=1)
    ]
    block_limits: tuple[Count, Count, Count]
    reference_onchip_bytes: Positive | None = None
    memory: ArrayMemory
    channels: Channels | None = None
    output_cycles: OutputCycles

    @model_validator(mode="after")
    def _units_match(self) -> NpuArray:
        if len(self.input_units) != len(self.microblocks):
            raise ValueError("allowed: as many input_units as microblocks")
        return self


class Passes(Table):
    """Passes of a vector unit that a byte of a feature map costs, by kind of work (see ``hexagon``); a plain element-wise
    operation costs one.

    ``depthwise_tap`` and ``window_tap``: each tap of a depthwise convolution and of a pooling window. ``picture``: element-wise
    work on up to four channels. ``fused_lookup``: an activation that is no clamp, inside the layer before it.
    """

    depthwise_tap: NonNegative
    picture: NonNegative
    move: NonNegative
    resample: NonNegative
    window_tap: NonNegative
    softmax: NonNegative
    normalize: NonNegative
    fused_lookup: NonNegative

    def by_kind(self) -> tuple[float, ...]:
        """In the order of ``hexagon``'s kinds of work, the matrix unit's 0 first, that of views last."""
        first = (0.0, self.depthwise_tap.value, 1.0, self.picture.value, self.move.value, self.resample.value)
        return (*first, self.window_tap.value, self.softmax.value, self.normalize.value, self.fused_lookup.value, 0.0)


class Npu(Table):
    """A documented array (``array``: Ethos-U), a matrix and a vector unit (``passes``: Hexagon), or a channel quantum with an
    effective rate (``channel_pad``, ``efficiency``).

    ``depthwise_fill``: share of the rate that depthwise layers reach. ``takes_turns``: arithmetic and memories work one after
    the other. ``resident_weight_bytes``: weights that stay on chip from picture to picture if all of them fit.
    ``image_pad``: quantum of the layers that read the network's own input, where it is finer. ``fused_bytes``: feature maps up to
    this size between consecutive layers stay on chip (an effective-rate device; a documented array plans its own).
    With ``passes``: ``vector_bytes_per_s`` of the vector unit, for what is no convolution; ``host_bytes_per_s``: the network's
    input and output between the processor that asks and the accelerator; ``strip_spill``: share of what does not fit on chip that
    leaves it, where the compiler runs several layers strip by strip; ``matrix_start``: share of ``overhead.layer_s`` that a
    convolution or matrix product costs; ``float_passes``: passes in floating point over those in integers.
    """

    clock_hz: Positive | None = None
    array: NpuArray | None = None
    channel_pad: dict[PrecisionKey, Positive] = Field(default_factory=dict)
    efficiency: Fraction = Quantity(value=1.0)
    fused_bytes: NonNegative = Quantity(value=0.0)
    image_pad: Positive | None = None
    vector_bytes_per_s: Positive | None = None
    host_bytes_per_s: Positive | None = None
    depthwise_fill: Fraction = Quantity(value=0.25)
    takes_turns: Flag = False
    resident_weight_bytes: NonNegative = Quantity(value=0.0)
    passes: Passes | None = None
    strip_spill: Fraction = Quantity(value=1.0)
    matrix_start: Fraction = Quantity(value=1.0)
    float_passes: Positive = Quantity(value=1.0)

    @model_validator(mode="after")
    def _one_vector_unit(self) -> Npu:
        if (self.passes is None) != (self.vector_bytes_per_s is None) or (self.passes is not None and self.array is not None):
            raise ValueError("allowed: passes and vector_bytes_per_s, both, or an array")
        return self

    @model_validator(mode="after")
    def _clocked(self) -> Npu:
        if self.array is not None and self.clock_hz is None:
            raise ValueError("allowed: an array with a clock_hz")
        return self


class CyclesPerMac(Table):
    """Cycles per multiply-accumulate of int8 kernels, by operation."""

    conv: Positive
    pointwise: Positive
    depthwise: Positive
    linear: Positive


class WideKernels(Table):
    """What kernels of activations above 8 bits cost, where they are others than those of int8: one operand at a time."""

    cycles_per_mac: CyclesPerMac
    cycles_per_output_requant: NonNegative
    cycles_per_depthwise_output: NonNegative | None = None


class Mcu(Table):
    """Cycle tables of a core with its kernel library, at W8A8; ``rates`` give the other native precisions relative to it.

    ``lanes``: int8 operands that the inner loop takes at once. ``cycles_per_im2col_byte``: gathering the patch of each output
    pixel, per byte; 0 where the kernels read the feature map in place. ``cycles_per_im2col_row``: and per row of each patch,
    where each is copied by a call. Depthwise kernels: ``depthwise_lanes`` channels side by side (by default ``lanes``),
    ``cycles_per_depthwise_output`` for requantizing an output and setting up its window (by default that of other kernels), and
    ``gathers_depthwise`` where they gather patches as well. ``cycles_per_unpacked_weight``: by stored width, where a layer's
    weights are unpacked once before it runs (where the inner loop unpacks them, the factor is in ``unpack``).
    ``cycles_per_element``: of the output of what is no convolution; by default additions requantize each operand and the sum, and
    moves copy bytes. ``wide``: kernels of their own for activations above 8 bits.

    ``weight_cache_bytes``: weights of one layer that stay in the cache between flash and core; beyond it they are read once for
    ``pixels_per_pass`` output pixels (CMSIS-NN and CMix-NN hold two in registers, closed libraries more; with four, one bandwidth
    explains both convolutions and fully connected layers of a Cortex-M4 with slow flash, PSoC 62). ``cycles_per_instruction``:
    what constants that come from counted instructions were multiplied by.
    """

    core: str
    kernels: str = ""
    clock_hz: Positive
    cycles_per_mac: CyclesPerMac
    cycles_per_output_requant: NonNegative
    cycles_per_im2col_byte: NonNegative
    cycles_per_im2col_row: NonNegative = Quantity(value=0.0)
    cycles_per_depthwise_output: NonNegative | None = None
    gathers_depthwise: Flag = False
    cycles_per_layer: NonNegative
    cycles_per_unpacked_weight: dict[PackedKey, NonNegative] = Field(default_factory=dict)
    cycles_per_element: dict[ElementKey, NonNegative] = Field(default_factory=dict)
    lanes: Positive = Quantity(value=1.0)
    depthwise_lanes: Positive | None = None
    wide: WideKernels | None = None
    weight_cache_bytes: NonNegative = Quantity(value=0.0)
    pixels_per_pass: Positive = Quantity(value=4.0)
    cycles_per_instruction: Positive | None = None


class CpuKernels(Table):
    """What a runtime's kernels of one precision cost on a processor (see ``cpu``).

    ``lanes``: output channels computed side by side; ``shared_vectors``: how many vectors of them share one pass over the inputs,
    ``pass_vectors``: what that pass costs, in vectors; ``tap_s``: seconds to find each tap of each pixel where the kernel gathers
    patches (kernels of one pixel need none); ``blocked_inputs``: input channels are padded to ``lanes`` as well;
    ``depthwise``: fraction of the rate that depthwise layers reach. Seconds per element: ``output_s`` of a convolution's output,
    ``slope_s`` more for an activation that is not fused, ``elementwise_s``, ``copy_s`` (concatenations, slices), ``shuffle_s``,
    ``lookup_s`` (sigmoid, tanh), ``convert_s`` of the network's input and output.
    """

    lanes: Positive = Quantity(value=1.0)
    shared_vectors: Positive = Quantity(value=4.0)
    pass_vectors: NonNegative = Quantity(value=0.0)
    tap_s: NonNegative = Quantity(value=0.0)
    blocked_inputs: Flag = False
    depthwise: Fraction = Quantity(value=1.0)
    output_s: NonNegative = Quantity(value=0.0)
    slope_s: NonNegative = Quantity(value=0.0)
    elementwise_s: NonNegative = Quantity(value=0.0)
    copy_s: NonNegative = Quantity(value=0.0)
    shuffle_s: NonNegative = Quantity(value=0.0)
    lookup_s: NonNegative = Quantity(value=0.0)
    convert_s: NonNegative = Quantity(value=0.0)


class Cpu(Table):
    """A general-purpose processor: the number of threads that the numbers hold for, and its kernels by native precision."""

    threads: Positive = Quantity(value=1.0)
    kernels: dict[PrecisionKey, CpuKernels] = Field(default_factory=dict)
