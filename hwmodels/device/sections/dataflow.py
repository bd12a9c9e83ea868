"""What a device file says of a chip on which all layers of a network lie side by side, in ``[npu.dataflow]``."""

from __future__ import annotations

from hwmodels.device.values import Fraction, NonNegative, Positive, Table


class Dataflow(Table):
    """Constants of ``hwmodels.classes.dataflow``.

    ``pointwise_fill``: share of the array's rate that convolutions of 1x1 and matrix products reach. ``macs_per_byte``:
    multiply-accumulates that the array could do while a byte of a result is written. ``connection_bytes_per_s``: between two
    layers. ``capacity_bytes``: what may lie on the chip at once, where every layer takes ``layer_bytes`` beside its weights.
    ``context_s``: to change to the next part of a network that does not fit as a whole.
    """

    pointwise_fill: Fraction
    macs_per_byte: NonNegative
    connection_bytes_per_s: Positive
    capacity_bytes: Positive
    layer_bytes: NonNegative
    context_s: NonNegative
