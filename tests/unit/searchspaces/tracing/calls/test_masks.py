"""Attention that hides places by minus infinity, in every spelling: no infinity is left, and the network is the same."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.ir.graph import execute
from searchspaces.ir.module import GraphModule
from searchspaces.tracing.trace import trace

SIDE, PLACES, WIDTH = 4, 16, 8
Hide = Callable[[Tensor, Tensor], Tensor]


def _filled(scores: Tensor, hidden: Tensor) -> Tensor:
    scores.masked_fill_(hidden, -math.inf)
    return scores


BIAS = torch.linspace(-1, 1, PLACES)
SPELLINGS: dict[str, Hide] = {
    "masked_fill": lambda s, hidden: s.masked_fill(hidden, -math.inf),
    "in place": _filled,
    "added": lambda s, hidden: s + torch.zeros(PLACES, PLACES).masked_fill(hidden, -math.inf),
    "where": lambda s, hidden: torch.where(hidden, torch.tensor(-math.inf), s),
    "before a view": lambda s, hidden: s.view(1, -1, PLACES, PLACES).masked_fill(hidden, -math.inf).view(-1, PLACES, PLACES),
    "added with a bias": lambda s, hidden: s + BIAS.expand(PLACES, PLACES).masked_fill(hidden, -math.inf),
    "where, other places filled too": lambda s, hidden: torch.where(
        hidden, torch.where(torch.arange(PLACES) % 3 == 0, BIAS, -math.inf), s
    ),
}


class Windowed(nn.Module):
    """Attention within windows of 4x4 pixels. ``attend(scores, hidden)`` gives the scores that a softmax reads."""

    hidden: Tensor

    def __init__(self, hide: Hide | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 3, 3, padding=1)
        self.qkv, self.hide = nn.Linear(WIDTH, 3 * WIDTH), hide
        self.register_buffer("hidden", (torch.rand(PLACES, PLACES) > 0.5).fill_diagonal_(False))

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        sides = (b, WIDTH, h // SIDE, SIDE, w // SIDE, SIDE)
        tokens = self.first(x).view(sides).permute(0, 2, 4, 3, 5, 1).reshape(-1, PLACES, WIDTH)
        q, k, v = self.qkv(tokens).chunk(3, dim=-1)
        if self.hide is None:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=~self.hidden)
        else:
            out = self.hide(q @ k.transpose(-1, -2), self.hidden).softmax(-1) @ v
        pixels = out.reshape(b, h // SIDE, w // SIDE, SIDE, SIDE, WIDTH).permute(0, 5, 1, 3, 2, 4)
        return self.last(pixels.reshape(b, WIDTH, h, w))  # type: ignore[no-any-return]  # modules of torch return Any


@pytest.mark.parametrize("name", [*SPELLINGS, "scaled dot product"])
def test_minus_infinity_becomes_finite(name: str) -> None:
    module = Windowed(SPELLINGS.get(name)).eval()
    graph = trace(module, 3, "masked")
    assert not graph.uncounted
    weights = [weight for node in graph.nodes for weight in node.weights.values()]
    assert all(torch.isfinite(weight.float()).all() for weight in weights)
    x = torch.rand(1, 3, 24, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert (execute(graph, x) - module(x)).abs().max() <= 1e-6
    assert trace(GraphModule(graph), 3, "again").nodes == graph.nodes


@pytest.mark.parametrize("sign", ["-", "+"])
def test_infinity_that_others_read_is_refused(sign: str) -> None:
    value = float(f"{sign}inf")

    def fill(scores: Tensor, hidden: Tensor) -> Tensor:
        found = scores.masked_fill(hidden, value)
        return found.clamp(min=-5) if sign == "-" else found

    graph = trace(Windowed(fill).eval(), 3, "masked")
    (line,) = graph.uncounted
    assert "fills with infinity, which no format holds" in line
