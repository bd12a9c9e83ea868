"""Windows that overlap, as people cut them out of pictures: the traced graph computes what torch does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from called import Called
from torch import Tensor

from searchspaces.ir.graph import execute
from searchspaces.ops.moves.windows import Windows
from searchspaces.tracing.trace import trace

CUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "unfold": lambda x: F.unfold(x, 3, padding=1).reshape(len(x), 27, *x.shape[2:]),
    "unfold, windows of two sides": lambda x: F.unfold(x, (2, 5), padding=(0, 2), stride=(2, 1)).reshape(
        len(x), 30, x.shape[2] // 2, x.shape[3]
    ),
    "unfold, places apart": lambda x: F.unfold(x, 3, dilation=2, padding=2).reshape(len(x), 27, *x.shape[2:]),
    "overlapping windows of attention": lambda x: F.unfold(x, 6, stride=4, padding=1).reshape(
        len(x), 108, x.shape[2] // 4, x.shape[3] // 4
    ),
    "unfold of a tensor": lambda x: x.unfold(2, 4, 2).unfold(3, 4, 4).mean((4, 5)),
    "rows alone": lambda x: x.unfold(-2, 3, 1).amax(-1),
}


@pytest.mark.parametrize("name", CUTS)
def test_windows_are_those_of_torch(name: str) -> None:
    graph = trace(Called(CUTS[name]), 3, name)
    assert not graph.uncounted
    assert graph.size is None
    assert any(isinstance(node.op, Windows) for node in graph.nodes)
    x = torch.rand(2, 3, 40, 24, generator=torch.Generator().manual_seed(7))
    assert torch.equal(execute(graph, x), CUTS[name](x))


@pytest.mark.parametrize("op", [Windows(2, 3), Windows(-1, 2, 3), Windows(1, 2, 2, 2), Windows(3, 12)])
def test_the_shape_is_that_of_what_is_computed(op: Windows) -> None:
    x = torch.rand(2, 5, 7, 12)
    assert op.shape([tuple(x.shape)], {}) == tuple(op.run([x], {}).shape)


def test_a_window_larger_than_its_axis_is_refused() -> None:
    with pytest.raises(ValueError, match="windows of 9 places on an axis of 8"):
        Windows(2, 5, dilation=2).shape([(1, 3, 8, 8)], {})
