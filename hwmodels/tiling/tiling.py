"""How a picture is cut into tiles, as people write it and plans carry it (``tiles`` prices it)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from hwmodels.errors import UsageError, closest

Halo = Literal["recompute", "keep"]
HALOS: tuple[Halo, ...] = ("recompute", "keep")


@dataclass(frozen=True)
class Tiling:
    """Tiles of ``height`` x ``width`` pixels of the network's input, without their halo; the last ones may be smaller.

    ``halo``: every tile computes its border again ("recompute"), or strips keep the rows that the next one needs ("keep").
    """

    height: int
    width: int
    halo: Halo = "recompute"

    def __str__(self) -> str:
        return f"{self.height}x{self.width}, halo {'kept' if self.halo == 'keep' else 'recomputed'}"

    def on(self, height: int, width: int, planned_width: int) -> Tiling:
        """The same way of cutting for a picture of another size: strips of the whole width stay that."""
        across = width if self.width == planned_width else min(self.width, width)
        return Tiling(min(self.height, height), across, self.halo)

    def check(self, height: int, width: int) -> None:
        """Raise UsageError when a picture of ``height`` x ``width`` cannot be cut like this."""
        size = f"{self.height}x{self.width}"
        if not (1 <= self.height <= height and 1 <= self.width <= width):
            raise UsageError(
                f"a tile of {size} does not lie inside the picture of {height}x{width}",
                f"Give a height of 1 to {height} and a width of 1 to {width}.",
            )
        if self.halo == "keep" and self.width != width:
            raise UsageError(
                f"a halo is kept between strips of the whole width, not between tiles of {size}",
                f"Write {self.height}x{width}, or recompute the halo.",
            )


def parse(text: str, halo: str | None = None) -> Tiling:
    """``"45x320"`` as a tiling; its halo is recomputed unless it is to be kept.

    Raises:
        UsageError: not two whole numbers above zero, or no such halo.
    """
    if halo is not None and halo not in HALOS:
        raise UsageError(f"--halo {halo!r} is not known", closest(halo, HALOS))
    match = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", text.strip())
    if not match or 0 in (height := int(match[1]), width := int(match[2])):
        raise UsageError(
            f"--tile {text!r} is not the size of a tile",
            "Write height and width in pixels as HxW, for example 45x320, or auto to compare sizes.",
        )
    return Tiling(height, width, "keep" if halo == "keep" else "recompute")
