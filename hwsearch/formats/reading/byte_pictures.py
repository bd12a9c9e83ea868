"""Files whose pictures are bytes: a conversion to floating point in front, rounding and a conversion back behind.

That is how a network is wrapped for a program that hands over pixels as they are. The conversions belong to the program, not to
the network: readers leave them out, so that what remains is the network for values of 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass

BYTES, UNIT = "0..255", "0..1"


@dataclass(frozen=True)
class BytePictures:
    """Whether the pictures that a file takes (``taken``) and gives (``given``) are bytes."""

    taken: bool
    given: bool

    @property
    def remark(self) -> str:
        """What a user is told; empty where there are none."""
        if not (self.taken or self.given):
            return ""
        does = " and ".join(word for word, true in (("takes", self.taken), ("gives", self.given)) if true)
        return f"It {does} bytes: the network between the conversions is read; rounding is left to the width of its output."

    def value_range(self, of_codes: str) -> str:
        """The range of values that the network between expects, where that of codes is ``of_codes``."""
        if self.taken:
            return BYTES
        return f"{of_codes or UNIT}:{BYTES}" if self.given else of_codes


FLOATING = BytePictures(taken=False, given=False)
"""Pictures as most files have them."""
