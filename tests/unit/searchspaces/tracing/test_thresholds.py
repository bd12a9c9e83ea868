"""Networks that compute otherwise from some size on are no graphs for every size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.ir.graph import execute
from searchspaces.tracing.thresholds import changed
from searchspaces.tracing.trace import trace


class Between(nn.Module):
    """A function of the picture between two convolutions. Keeps what it saw, as networks keep masks."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.tail, self.function = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1), function
        self.kept = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        if not torch.compiler.is_exporting():
            self.kept = x
        found: Tensor = self.tail(self.function(x))
        return found


def _at_least_48(x: Tensor) -> Tensor:
    return F.interpolate(F.interpolate(x, size=(max(x.shape[2], 48), x.shape[3])), size=x.shape[2:])


def _at_most_64(x: Tensor) -> Tensor:
    return x * torch.sigmoid(F.interpolate(x[:, :, : min(x.shape[2], 64)], size=x.shape[2:]))


def _by_area(x: Tensor) -> Tensor:
    return x * 2 if x.shape[2] * x.shape[3] > 5000 else x * 3


def _from_301_rows(x: Tensor) -> Tensor:
    return x * 2 if x.shape[2] > 300 else x * 3


def _in_high_definition(x: Tensor) -> Tensor:
    return x * 2 if x.shape[2] * x.shape[3] > 10**6 else x * 3


@pytest.mark.parametrize("function", [_at_least_48, _at_most_64, _by_area, _from_301_rows, _in_high_definition])
def test_what_changes_at_a_size_is_a_graph_for_one(function: Callable[[Tensor], Tensor]) -> None:
    module = Between(function).eval()
    assert trace(module, 3, "net").size is not None
    for size in ((24, 32), (96, 72)):
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            assert torch.allclose(execute(trace(module, 3, "net", size=size), x), module(x), atol=1e-5)


def _windows(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, c, h // 4, 4, w // 4, 4).mean((3, 5), keepdim=True).expand(b, c, h // 4, 4, w // 4, 4).reshape(x.shape)


def test_what_follows_the_picture_does_not_change() -> None:
    module = Between(_windows).eval()
    module(torch.rand(1, 3, 8, 8))
    assert changed(module, 3, ((20, 28), (52, 20)), 4) is None
    assert module.kept.device.type == "cpu"
    assert (trace(module, 3, "net").size, trace(module, 3, "net").multiple) == (None, 4)


def test_the_smallest_size_that_changes_is_compared() -> None:
    """Pictures of 301 rows, of few columns: numbers there take little."""
    found = changed(Between(_from_301_rows).eval(), 3, ((19, 37), (41, 71)), 1)
    assert found is not None
    assert 300 < found[0] <= 304
    assert found[1] == 136


def test_what_only_looks_changed_is_still_for_all_sizes() -> None:
    """A number of tiles that decides nothing: one at the sizes that are known, several at larger ones."""
    module = Between(lambda x: x * float(x.shape[2] // 300 * 0 + 2)).eval()
    assert trace(module, 3, "net").size is None


def _folded(x: Tensor) -> Tensor:
    return x + F.fold(F.unfold(x, 4, stride=4), x.shape[2:], 4, stride=4)


def test_windows_that_fit_exactly() -> None:
    """All sizes that are compared first have a rest: a formula for what is cut off may be wrong where there is none."""
    module = Between(_folded).eval()
    graph = trace(module, 3, "net")
    for size in ((24, 32), (36, 20), (19, 30)):
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            found = execute(graph if graph.size is None else trace(module, 3, "net", size=size), x)
            assert torch.allclose(found, module(x), atol=1e-5)


class Named(nn.Module):
    """Layers that stand under names of their own and in a sequence, and a part under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = self.also = nn.Sequential(nn.BatchNorm2d(4))
        self.body = nn.Sequential(self.first, nn.ReLU(), self.second)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(self.norm(self.body(x)), 2)


def test_what_stands_under_two_names_keeps_its_numbers() -> None:
    module = Named()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trace(module, 1, "named")
    after = module.state_dict()
    assert after.keys() == before.keys()
    assert [name for name, value in after.items() if value.is_meta] == []
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert module.body[0] is module.first
