"""What a file format can express, as far as plans are concerned."""

from __future__ import annotations

from dataclasses import dataclass

NARROW = tuple(range(2, 9))


@dataclass(frozen=True)
class Holds:
    """What a format can express.

    Attributes:
        weight_bits: widths in which integer weights can be stored, ascending.
        tensor_bits: widths of integer tensors, ascending; 16 is a 16-bit integer.
        zero_points: tensors of at most 8 bits may have a zero point; otherwise their grids are symmetric.
        tables: tensors may have a decode table; otherwise their codes are stored as what the table makes of them.
        half: there is half precision, for tensors and layers.
        stretched: the format's own tool rounds weights again, such that the largest of each channel is the largest code.
    """

    weight_bits: tuple[int, ...] = NARROW
    tensor_bits: tuple[int, ...] = (*NARROW, 16)
    zero_points: bool = True
    half: bool = True
    tables: bool = False
    stretched: bool = False


SYMMETRIC_INT8 = Holds(weight_bits=(8,), tensor_bits=(8,), zero_points=False)
"""Integers of 8 bits and nothing else, without zero points."""
