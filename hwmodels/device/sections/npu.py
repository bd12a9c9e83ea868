"""What a device file says of a neural processor in ``[npu]``."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field, model_validator

from hwmodels.device.sections.array import NpuArray
from hwmodels.device.sections.dataflow import Dataflow
from hwmodels.device.sections.fallback import Fallback
from hwmodels.device.sections.section import Section
from hwmodels.device.tables import Memories
from hwmodels.device.values import Flag, Fraction, NonNegative, Positive, PrecisionKey, Quantity, Table


class Passes(Table):
    """Passes of a vector unit that a byte of a feature map costs, by kind of work (see ``hexagon``); a plain element-wise
    operation costs one.

    ``depthwise_tap`` and ``window_tap``: each tap of a depthwise convolution and of a pooling window. ``picture``: element-wise
    work on up to four channels. ``normalize``: values changed by a statistic of all of them;
    ``normalize_function``: a function of the values, as a softmax has their exponentials. ``fused_lookup``: an activation that is
    no clamp, inside the layer before it.
    """

    depthwise_tap: NonNegative
    picture: NonNegative
    move: NonNegative
    resample: NonNegative
    window_tap: NonNegative
    normalize_function: NonNegative
    normalize: NonNegative
    fused_lookup: NonNegative

    def by_kind(self) -> tuple[float, ...]:
        """In the order of ``hexagon``'s kinds of work, the matrix unit's 0 first, that of views last."""
        first = (0.0, self.depthwise_tap.value, 1.0, self.picture.value, self.move.value, self.resample.value)
        return (*first, self.window_tap.value, self.normalize_function.value, self.normalize.value, self.fused_lookup.value, 0.0)


class Npu(Section):
    """A documented array (``array``: Ethos-U), a matrix and a vector unit (``passes``: Hexagon), all layers side by side
    (``dataflow``: Hailo), or a channel quantum with an effective rate (``channel_pad``, ``efficiency``).

    ``depthwise_fill``: share of the rate that depthwise layers reach. ``takes_turns``: arithmetic and memories work one after
    the other. ``image_pad``: quantum of the layers that read the network's own input, where it is finer. ``fused_bytes``: feature
    maps up to this size between consecutive layers stay on chip (a documented array plans its own).
    With ``passes``: ``vector_bytes_per_s`` of the vector unit, for what is no convolution; ``host_bytes_per_s``: the network's
    input and output between the processor that asks and the accelerator; ``strip_spill``: share of what does not fit on chip that
    leaves it, where the compiler runs several layers strip by strip; ``weights_ahead``: share of the memory on chip in which
    weights wait for layers to come; ``matrix_start``: share of ``overhead.layer_s`` that a convolution or matrix product costs;
    ``float_passes``: passes in floating point over those in integers; ``fallback``: what the runtime hands to another processor.
    """

    kind = "npu"

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
    passes: Passes | None = None
    dataflow: Dataflow | None = None
    strip_spill: Fraction = Quantity(value=1.0)
    weights_ahead: Fraction | None = None
    matrix_start: Fraction = Quantity(value=1.0)
    float_passes: Positive = Quantity(value=1.0)
    fallback: Fallback | None = None

    @model_validator(mode="after")
    def _one_vector_unit(self) -> Npu:
        if (self.passes is None) != (self.vector_bytes_per_s is None) or (self.passes is not None and self.array is not None):
            raise ValueError("allowed: passes and vector_bytes_per_s, both, or an array")
        return self

    @model_validator(mode="after")
    def _one_model(self) -> Npu:
        if sum(each is not None for each in (self.array, self.passes, self.dataflow)) > 1:
            raise ValueError("allowed: one of array, passes and dataflow")
        return self

    @model_validator(mode="after")
    def _reached(self) -> Npu:
        reached = self.array is not None or (self.passes is not None and self.host_bytes_per_s is not None)
        if self.fallback is not None and not reached:
            raise ValueError("allowed: a fallback with an array, or with passes and host_bytes_per_s")
        return self

    @model_validator(mode="after")
    def _clocked(self) -> Npu:
        if self.array is not None and self.clock_hz is None:
            raise ValueError("allowed: an array with a clock_hz")
        return self

    @property
    def priced_by(self) -> str:
        if self.dataflow is not None:
            return "dataflow"
        return "ethos.model" if self.array is not None else "hexagon" if self.passes is not None else self.kind

    @property
    def kept_bytes(self) -> float:
        return self.fused_bytes.value

    @property
    def keeps_shares(self) -> bool:
        return self.array is None

    @classmethod
    def problems(cls, memory: Memories) -> list[str]:
        if any(each and each.bytes_per_s for each in (memory.onchip, memory.dram)):
            return []
        return ["memory: an npu needs bytes_per_s of its onchip memory or of its dram"]

    def fitted(self, executed: Iterable[str]) -> tuple[str, ...]:
        if self.dataflow is not None:
            return "npu.dataflow.connection_bytes_per_s", "npu.dataflow.context_s"
        return "npu.vector_bytes_per_s", "npu.host_bytes_per_s"
