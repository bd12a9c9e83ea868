"""What a device file says of a GPU in ``[gpu]``."""

from __future__ import annotations

from pydantic import Field

from hwmodels.device.sections.section import Section, needs_dram
from hwmodels.device.tables import Memories
from hwmodels.device.values import Flag, Fraction, Positive, PrecisionKey, Quantity


class Gpu(Section):
    """Implicit GEMM: output tiles ``tile_m`` (pixels) by ``tile_n`` (channels), waves over ``sm_count``, channels padded.

    ``efficiency``: fraction of peak that well-shaped convolutions reach. ``cuda_core_rates``: MAC/s outside the tensor
    cores (depthwise). ``fuses_products``: the runtime puts what is around matrix products into their kernels (see
    ``hwmodels.pricing.joined``).
    """

    kind = "gpu"

    sm_count: Positive
    clock_hz: Positive
    tile_m: Positive
    tile_n: Positive
    channel_pad: dict[PrecisionKey, Positive] = Field(default_factory=dict)
    efficiency: Fraction = Quantity(value=1.0)
    cuda_core_rates: dict[PrecisionKey, Positive] = Field(default_factory=dict)
    fuses_products: Flag = False

    @classmethod
    def problems(cls, memory: Memories) -> list[str]:
        return needs_dram(cls.kind, memory)
