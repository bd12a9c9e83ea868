"""What a device file says of a documented array of multipliers, in ``[npu.array]``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from hwmodels.device.values import Count, NonNegative, Positive, Quantity, Table


class OutputCycles(Table):
    """Cycles per output element of the output unit, by operation and activation width; ``clamp`` and ``lut``: bounds and
    look-up tables as values are written.

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
    clamp: Positive
    lut: Positive


BANK_BYTES = 1024
"""A bank of an array's shared memory."""


class ArrayMemory(Table):
    """Memories inside an array: one of ``shared_bytes`` for inputs and accumulators, of which ``table_bytes`` hold look-up
    tables, taken in granules (``accumulator_granule_bytes``: accumulators of 32 and of 40 bits); or separate ones, one of
    outputs too.
    """

    shared_bytes: Positive | None = None
    table_bytes: NonNegative = Quantity(value=0.0)
    input_granule_bytes: Positive | None = None
    accumulator_granule_bytes: tuple[Positive, Positive] | None = None
    input_bytes: Positive | None = None
    accumulator_bytes: Positive | None = None
    output_bytes: Positive | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> ArrayMemory:
        shared = (self.shared_bytes, self.input_granule_bytes, self.accumulator_granule_bytes)
        separate = (self.input_bytes, self.accumulator_bytes, self.output_bytes)
        if sum(all(x is not None for x in kind) for kind in (shared, separate)) != 1:
            raise ValueError("allowed: shared_bytes with its granules, or input_bytes, accumulator_bytes and output_bytes")
        granules = (self.input_granule_bytes, *(self.accumulator_granule_bytes or ()))
        if any(granule is not None and granule.value < BANK_BYTES for granule in granules):
            raise ValueError(f"allowed: granules of at least a bank of {BANK_BYTES} bytes")
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
