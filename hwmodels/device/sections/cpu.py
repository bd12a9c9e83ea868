"""What a device file says of a general-purpose processor in ``[cpu]``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import Field, model_validator

from hwmodels.device.sections.section import Section, needs_dram
from hwmodels.device.tables import Memories
from hwmodels.device.values import Flag, Fraction, NonNegative, Positive, PrecisionKey, Quantity, Table

FITTED = ("pass_vectors", "tap_s", "depthwise", "output_s", "elementwise_s", "shuffle_s", "convert_s")
"""Constants of the kernels of each timed precision that are fitted."""


class CpuKernels(Table):
    """What a runtime's kernels of one precision cost on a processor (see ``cpu``).

    ``lanes``: output channels computed side by side; ``shared_vectors``: how many vectors of them share one pass over the
    inputs, ``pass_vectors``: what that pass costs, in vectors; ``tap_s``: seconds to gather a row of taps, whose channels lie
    side by side, for each pixel where the kernel gathers patches (kernels of one pixel need none), ``pack_s`` to pack a value
    of them where the kernel keeps the sums of codes; ``blocked_inputs``: input channels are padded to ``lanes`` as well, and
    ``visit_taps`` is what each input channel costs, in taps, where there are fewer; ``visit_depth``: what an output of a
    matrix product costs, in products; ``row_s``: seconds for each row that a kernel begins anew (dense layers of integers,
    normalizations, a softmax of single precision), ``matrix_s`` for each pair of matrices of a product of two tensors;
    ``depthwise``, ``product``, ``dense``: fractions of the rate that depthwise layers, products of two tensors and dense
    layers reach (without ``dense``, these as products). Seconds per element: ``output_s`` of a convolution's output,
    ``slope_s`` more for an activation that is not fused, ``elementwise_s``, ``copy_s`` (concatenations, slices),
    ``shuffle_s``, ``lookup_s`` (sigmoid, tanh), ``convert_s`` of the network's input and output, ``layout_s`` of tensors
    between blocks and planes, or turned as matrices; of transformers, ``transpose_s`` for each value or run of values whose
    place a transpose finds (without it ``shuffle_s``), ``normalize_s`` and ``softmax_s`` (without them ``elementwise_s`` for
    each pass over the values).
    """

    lanes: Positive = Quantity(value=1.0)
    shared_vectors: Positive = Quantity(value=4.0)
    pass_vectors: NonNegative = Quantity(value=0.0)
    visit_depth: NonNegative = Quantity(value=0.0)
    tap_s: NonNegative = Quantity(value=0.0)
    pack_s: NonNegative = Quantity(value=0.0)
    row_s: NonNegative = Quantity(value=0.0)
    matrix_s: NonNegative = Quantity(value=0.0)
    blocked_inputs: Flag = False
    visit_taps: NonNegative = Quantity(value=0.0)
    depthwise: Fraction = Quantity(value=1.0)
    output_s: NonNegative = Quantity(value=0.0)
    slope_s: NonNegative = Quantity(value=0.0)
    elementwise_s: NonNegative = Quantity(value=0.0)
    copy_s: NonNegative = Quantity(value=0.0)
    shuffle_s: NonNegative = Quantity(value=0.0)
    lookup_s: NonNegative = Quantity(value=0.0)
    convert_s: NonNegative = Quantity(value=0.0)
    layout_s: NonNegative | None = None
    product: Fraction = Quantity(value=1.0)
    dense: Fraction | None = None
    transpose_s: NonNegative | None = None
    normalize_s: NonNegative | None = None
    softmax_s: NonNegative | None = None

    @model_validator(mode="after")
    def _counts_rows(self) -> Self:
        """Files from before ``pack_s`` mean single taps by ``tap_s``, and nothing else tells."""
        if self.tap_s.value > 0 and "pack_s" not in self.model_fields_set:
            raise ValueError(
                "tap_s without pack_s is of an earlier version, where it counted single taps: run `hwsearch devices calibrate "
                "host` again, or state both (pack_s = 0 where no patches are packed)"
            )
        return self


class Cpu(Section):
    """A general-purpose processor: the number of threads that the numbers hold for, and its kernels by native precision."""

    kind = "cpu"

    threads: Positive = Quantity(value=1.0)
    kernels: dict[PrecisionKey, CpuKernels] = Field(default_factory=dict)

    @property
    def keeps_shares(self) -> bool:
        """Caches of processors keep more than the last that was read: what is too large by a little is slower by a little."""
        return True

    @classmethod
    def problems(cls, memory: Memories) -> list[str]:
        return needs_dram(cls.kind, memory)

    def fitted(self, executed: Iterable[str]) -> tuple[str, ...]:
        return tuple(f"cpu.kernels.{name}.{constant}" for name in executed for constant in FITTED)
