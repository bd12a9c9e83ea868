"""What the table of a class of hardware in a device file has in common with those of other classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from hwmodels.device.tables import Memories
from hwmodels.device.values import Table


class Section(Table):
    """The table named after the ``kind`` of a device: its keys, and what the class asks of the rest of the file.

    A class is found by its file (``found``), which says all that reading, listing and fitting a device need. What it costs to run
    something is in ``hwmodels.classes``, apart: reading device files loads neither numpy nor numba.
    """

    kind: ClassVar[str]

    @property
    def priced_by(self) -> str:
        """The module of ``hwmodels.classes`` that prices the device."""
        return self.kind

    @property
    def kept_bytes(self) -> float:
        """Feature maps up to this size stay on chip between consecutive layers, whatever else is alive."""
        return 0.0

    @property
    def keeps_shares(self) -> bool:
        """Whether of a feature map that does not fit on chip the share that fits stays there: in a scratchpad."""
        return False

    @classmethod
    def problems(cls, memory: Memories) -> list[str]:
        """What a device of this class lacks among the memories of its file, as ``key: what is missing``."""
        return []

    def fitted(self, executed: Iterable[str]) -> tuple[str, ...]:
        """Dotted keys of the constants that timings may change, beside rates, memories and fixed times.

        Args:
            executed: the native precisions that were timed.
        """
        return ()


def needs_dram(kind: str, memory: Memories) -> list[str]:
    """The mistake of a file without the bandwidth that feature maps of a class always need."""
    if memory.dram is None or memory.dram.bytes_per_s is None:
        return [f"memory.dram.bytes_per_s: missing; a {kind} needs it"]
    return []
