"""Running a network strip by strip: as much of the picture at a time as its widest tensor allows.

A strip is cut into tiles, and each is computed with the border that its pixels see (``reach.receptive_radius``), so strips join
to what the network gives for the whole picture: bit for bit, where it is all integers. Where it is not, floating-point sums may
be added in another order for tiles of another size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hwmodels.errors import UsageError
from hwsearch.formats.running import reach
from hwsearch.formats.running.runtime import Run
from searchspaces.data.scale import between, enlarged
from searchspaces.ir.graph import Graph
from searchspaces.ir.shapes import shapes
from searchspaces.ops.base import elements

ELEMENTS = 1 << 23
"""Numbers that the widest tensor of a tile may have: 16 MiB of codes, 32 MiB of real values. Two or three are alive at once."""
STRIP = 128
"""Rows of a strip, where ``ELEMENTS`` allows as many. More share less border; fewer are less memory for wide pictures."""
WIDEST = 512
"""Columns of a tile at most; beyond, nothing is gained."""
LEAST = 16

Source = Callable[[int, int], Tensor]
"""Rows ``top`` to ``bottom`` of what the network reads, ``float32 [1, C, bottom - top, W]``."""


@dataclass(frozen=True)
class Tiles:
    """How a picture is cut: ``height`` x ``width`` pixels without the ``halo`` on each side, all multiples of ``step``.

    Raises:
        UsageError: such tiles cannot be cut.
    """

    height: int
    width: int
    halo: int
    step: int = 1

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.step) < 1 or self.halo < 0:
            raise UsageError(f"tiles of {self.height}x{self.width} pixels with a halo of {self.halo} cannot be cut")
        for name in ("height", "width", "halo"):
            object.__setattr__(self, name, math.ceil(getattr(self, name) / self.step) * self.step)

    def count(self, height: int, width: int) -> int:
        """Tiles in a picture."""
        return -(-height // self.height) * -(-width // self.width)


def tiles(graph: Graph) -> Tiles | None:
    """Tiles for a network; None where a pixel of its output sees the whole picture, or it is for pictures of one size alone."""
    halo = reach.receptive_radius(graph)
    if halo is None or graph.size is not None:
        return None
    side = reach.probe_side(graph)
    widest = max(elements(shape) for shape in shapes(graph, side, side).values()) / side**2
    area = ELEMENTS / widest
    rows = min(STRIP, int(math.sqrt(area)) - 2 * halo)
    columns = min(WIDEST, int(area / (max(rows, LEAST) + 2 * halo)) - 2 * halo)
    # Whole multiples, so that the last tile is filled up by as much as the whole picture would be.
    return Tiles(max(rows, LEAST), max(columns, LEAST), halo, math.lcm(reach.coarsest_step(graph), graph.multiple))


def in_multiples(run: Run, multiple: int) -> Run:
    """A network that takes sides of multiples alone, for any picture: its last rows and columns are repeated up to one, and what
    becomes of these is cut off."""
    if multiple == 1:
        return run

    def padded(x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        below, right = -height % multiple, -width % multiple
        if not below and not right:
            return run(x)
        y = run(F.pad(x, (0, right, 0, below), mode="replicate"))
        rows, columns = y.shape[2] * height // (height + below), y.shape[3] * width // (width + right)
        return y[:, :, :rows, :columns]

    return padded


def in_strips(
    run: Run, source: Source, height: int, width: int, cut: Tiles, progress: Callable[[], None] = lambda: None
) -> Iterator[tuple[int, int, Tensor]]:
    """Run a network strip by strip.

    Args:
        run: ``[1, C, h, w] -> [1, C', s*h, s*w]`` for any h, w that s keeps whole; ``cut.step`` and the picture must do so.
        height, width: of the picture that ``source`` gives rows of.
        cut: an integer network gives what it gives for the whole where the halo is its receptive radius.
        progress: called after every tile.
    Yields:
        First row of a strip, the one behind its last, both of what goes in, and the strip of the output, ``[1, C', s*h, s*W]``.
    """
    for top in range(0, height, cut.height):
        bottom = min(top + cut.height, height)
        above, below = max(top - cut.halo, 0), min(bottom + cut.halo, height)
        rows = source(above, below)
        strip: Tensor | None = None
        for left in range(0, width, cut.width):
            right = min(left + cut.width, width)
            before = max(left - cut.halo, 0)
            y = run(rows[:, :, :, before : min(right + cut.halo, width)])
            scale = between(y.shape[2], below - above)
            if strip is None:
                strip = torch.empty((1, y.shape[1], enlarged(bottom - top, scale), enlarged(width, scale)), dtype=y.dtype)
            first, row = enlarged(left, scale), enlarged(top - above, scale)
            column, columns = enlarged(left - before, scale), enlarged(right - left, scale)
            inner = y[:, :, row : row + strip.shape[2], column : column + columns]
            strip[:, :, :, first : first + columns] = inner
            progress()
        assert strip is not None
        yield top, bottom, strip
