"""Which pictures calibration may show to a network: their sizes, and whether several at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from searchspaces.ir.graph import Graph, execute

TRIED = 64
"""Side of the pictures on which a network is tried with two at once."""


@dataclass(frozen=True)
class Sizes:
    """Pictures of one ``size`` (height, width) alone, or of any whose sides are multiples of ``multiple`` pixels."""

    size: tuple[int, int] | None = None
    multiple: int = 1

    @classmethod
    def of(cls, graph: Graph) -> Sizes:
        """Those that a network takes."""
        return cls(graph.size, graph.multiple)

    def within(self, height: int, width: int) -> tuple[int, int]:
        """The largest size of at most ``height`` x ``width``; where there is none, the smallest."""
        if self.size is not None:
            return self.size
        step = self.multiple
        return max(height // step, 1) * step, max(width // step, 1) * step

    def fitted(self, picture: Tensor) -> Tensor:
        """The middle of a picture ``[1, C, h, w]``; one that is too small is mirrored at its borders."""
        height, width = self.within(*picture.shape[2:])
        if (height, width) == tuple(picture.shape[2:]):
            return picture
        missing = [max(wanted - have, 0) for wanted, have in zip((height, width), picture.shape[2:], strict=True)]
        if any(missing):
            margins = [(0, 0), (0, 0), *((gap // 2, gap - gap // 2) for gap in missing)]
            picture = torch.from_numpy(np.pad(picture.numpy(), margins, mode="symmetric"))
        top, left = (picture.shape[2] - height) // 2, (picture.shape[3] - width) // 2
        return picture[:, :, top : top + height, left : left + width].contiguous()

    @property
    def turns(self) -> bool:
        """Whether a picture may be shown turned by 90 degrees."""
        return self.size is None or self.size[0] == self.size[1]


def several(graph: Graph) -> bool:
    """Whether the graph takes several pictures at once: shapes of one picture may stand in its reshapes, so it is tried."""
    if graph.size is not None or graph.remembered:  # with state, several are one clip
        return False
    return not any(node.op.extents for node in graph.nodes) or _tried(_Function(graph))


@dataclass(frozen=True, eq=False)
class _Function:
    """A graph that equals another of the same operators: what they take does not depend on the weights."""

    graph: Graph

    def __hash__(self) -> int:
        return hash(tuple(node.op for node in self.graph.nodes))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Function) and self._shape() == other._shape()

    def _shape(self) -> list[tuple[object, ...]]:
        return [(node.name, node.op, node.inputs) for node in self.graph.nodes]


@lru_cache(maxsize=64)
def _tried(function: _Function) -> bool:
    graph = function.graph
    sides = Sizes.of(graph).within(TRIED, TRIED)
    x = torch.rand(2, graph.channels, *sides, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        apart = torch.cat([execute(graph, one) for one in x.split(1)])
        try:
            together = execute(graph, x)
        except RuntimeError:  # what torch says of shapes that do not fit
            return False
    return together.shape == apart.shape and torch.allclose(together, apart, rtol=1e-3, atol=1e-3)


def batched(graph: Graph, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``run`` of pictures ``x [N, C, h, w]``, all at once or one by one, as the graph takes them."""
    return run(x) if len(x) == 1 or several(graph) else torch.cat([run(one) for one in x.split(1)])
