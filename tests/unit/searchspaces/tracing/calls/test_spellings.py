"""Networks as people write them: graph and module are compared at a picture size at which ``trace`` has not compared them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from spelled import Spelled, Spelling
from torch import Tensor

from searchspaces.ir.graph import execute
from searchspaces.tracing.trace import trace

MIX = torch.linspace(-1, 1, 64).view(1, 8, 8)
FORMS = torch.linspace(-1, 1, 512).view(8, 8, 8)


def _normalized(y: Tensor) -> Tensor:
    variance, mean = torch.var_mean(y, dim=1, keepdim=True, correction=0)
    return (y - mean) / (variance + 1e-5).sqrt()


def _halves_of_two_enlargements(y: Tensor) -> Tensor:
    """Places that are left by steps end at ``2 w - 1``; for two pictures that are 6 wider than high, also at ``2 h + 11``."""
    twice = F.interpolate(y, scale_factor=2, mode="bilinear")
    return twice[..., ::2, ::2] + F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)[..., 1::2, 1::2]


ANY_SIZE: dict[str, Spelling] = {
    "circular padding": lambda y: F.avg_pool2d(F.pad(y, (2, 1, 1, 2), mode="circular"), 4, 1),
    "circular padding of one side": lambda y: F.pad(y, (1, 0, 0, 0), mode="circular")[..., :-1],
    "var_mean": _normalized,
    "constant batch in front": lambda y: torch.bmm(MIX.expand(len(y), -1, -1), y.flatten(2)).view_as(y),
    "einsum": lambda y: torch.einsum("bchw,dc->bdhw", y, MIX[0]),
    "bilinear form": lambda y: F.bilinear(y.movedim(1, 3), y.movedim(1, 3).abs(), FORMS, MIX[0, 0]).movedim(3, 1),
    "expm1, log1p": lambda y: torch.expm1(y) + torch.log1p(y.abs()),
    "cut before a layer that pads": lambda y: y[..., 1:, :-1],
    "parts by steps": _halves_of_two_enlargements,
}


@pytest.mark.parametrize("name", ANY_SIZE)
def test_any_size(name: str) -> None:
    module = Spelled(ANY_SIZE[name])
    graph = trace(module, 3, name)
    assert not graph.uncounted
    assert graph.size is None
    for size in ((24, 32), (18, 41)):
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(execute(graph, x), module(x), rtol=1e-4, atol=1e-4)


def test_attention_to_what_stands_before() -> None:
    def causal(y: Tensor) -> Tensor:
        tokens = y.flatten(2).transpose(1, 2)
        found = F.scaled_dot_product_attention(tokens, tokens.flip(1), tokens, is_causal=True)
        return found.transpose(1, 2).view_as(y)

    module, x = Spelled(causal), torch.rand(1, 3, 6, 8)
    graph = trace(module, 3, "causal", size=(6, 8))
    assert not graph.uncounted
    with torch.no_grad():
        torch.testing.assert_close(execute(graph, x), module(x), rtol=1e-4, atol=1e-4)
