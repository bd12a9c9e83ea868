"""Channels chosen by a mask that the network knows, however it comes by it: traced, and read from TorchScript and .pt2 files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hwmodels.errors import FileError
from hwsearch.formats.reading.readers import inspect
from searchspaces.ir.graph import execute
from searchspaces.tracing.trace import trace


class Pruned(nn.Module):
    """Half of the channels of a layer. ``kept``: which ones, of the module."""

    mask: Tensor
    bytes_of_mask: Tensor

    def __init__(self, kept: Callable[[Pruned, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.kept = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1), kept
        self.register_buffer("mask", torch.tensor([True, False, False, True, True, False, True, False]))
        self.register_buffer("bytes_of_mask", self.mask.to(torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.kept(self, self.first(x)))
        return found


def _written_before(network: Pruned, y: Tensor) -> Tensor:
    mask = network.mask.clone()
    mask[0], mask[1] = False, True
    return y[:, mask]


KEPT: dict[str, Callable[[Pruned, Tensor], Tensor]] = {
    "buffer": lambda network, y: y[:, network.mask],
    "the others": lambda network, y: y[:, ~network.mask],
    "bytes": lambda network, y: y[:, network.bytes_of_mask.bool()],
    "made": lambda network, y: y[:, torch.arange(8) % 2 == 0] + y[:, torch.tensor([True, False] * 4)],
    "of the first axis": lambda network, y: y[0, network.mask].unsqueeze(0),
}


def _save_script(module: nn.Module, path: Path) -> Path:
    torch.jit.trace(module, torch.rand(1, 3, 16, 16), check_trace=False).save(str(path.with_suffix(".ts")))
    return path.with_suffix(".ts")


def _save_program(module: nn.Module, path: Path) -> Path:
    torch.export.save(torch.export.export(module, (torch.rand(1, 3, 16, 16),)), path.with_suffix(".pt2"))
    return path.with_suffix(".pt2")


@pytest.mark.parametrize("name", KEPT)
def test_traced(name: str) -> None:
    module = Pruned(KEPT[name]).eval()
    graph, x = trace(module, 3, name), torch.rand(1, 3, 17, 22)
    assert (graph.uncounted, graph.size) == ((), None)
    with torch.no_grad():
        torch.testing.assert_close(execute(graph, x), module(x))


@pytest.mark.parametrize("save", [_save_script, _save_program])
@pytest.mark.parametrize("name", ["buffer", "the others", "made"])
def test_read_from_files(name: str, save: Callable[[nn.Module, Path], Path], tmp_path: Path) -> None:
    module = Pruned(KEPT[name]).eval()
    found = inspect(save(module, tmp_path / "net")).graph
    assert found is not None
    assert not found.uncounted
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(execute(found, x), module(x))


def test_a_mask_that_is_written_is_not_taken_for_what_it_was() -> None:
    with pytest.raises(FileError, match="how many values it gives"):
        trace(Pruned(_written_before).eval(), 3, "written")


def test_a_mask_of_the_picture_is_refused() -> None:
    def brightest(network: Pruned, y: Tensor) -> Tensor:
        means = y.mean((0, 2, 3))
        return y[:, means >= means.sort().values[4]]

    with pytest.raises(FileError, match="depends on those of the picture"):
        trace(Pruned(brightest).eval(), 3, "brightest")
