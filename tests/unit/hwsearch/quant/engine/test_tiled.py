"""Tiles computed one by one, from nothing but what the price counts, give the whole picture."""

from __future__ import annotations

import pytest
import random_networks
import torch
from torch import Tensor, nn

from hwmodels.errors import UsageError
from hwmodels.tiling import regions
from hwmodels.tiling.tiling import Tiling
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.tiled import run_tiled
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ir.lower import to_workload
from searchspaces.ir.tiled import execute_tiled
from searchspaces.ops.input import Input
from searchspaces.ops.maps.elementwise import Add
from searchspaces.tracing.trace import trace

HEIGHT, WIDTH = 23, 18
CUTS = (
    Tiling(1, WIDTH, "keep"),
    Tiling(4, WIDTH, "keep"),
    Tiling(9, WIDTH, "keep"),
    Tiling(22, WIDTH, "keep"),
    Tiling(5, WIDTH),
    Tiling(HEIGHT, 7),
    Tiling(3, 4),
    Tiling(12, 9),
)
LOCAL = [name for name in random_networks.MODULES if name != "attention"]


class Branches(nn.Module):
    """Uneven kernels, a dilation, a stride that an interpolation undoes, and branches of different depth that join twice."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.head = nn.Conv2d(1, 6, (5, 3), padding=(2, 1))
        self.wide = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6)
        self.down = nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.tail, self.up = nn.Conv2d(12, 4, 3, padding=1), nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        head = torch.relu(self.head(x))
        deep = nn.functional.interpolate(self.down(self.wide(head)), scale_factor=2, mode=self.mode)
        skip = nn.functional.interpolate(x, scale_factor=2, mode=self.mode)
        return self.up(self.tail(torch.cat([head, deep], dim=1))) + skip


def branches(mode: str) -> Graph:
    torch.manual_seed(1)
    return trace(Branches(mode).eval(), 1, f"branches-{mode}")


@pytest.mark.parametrize("name", LOCAL)
def test_tiles_give_the_picture(name: str) -> None:
    graph = random_networks.float_graph(name)
    _check(graph, HEIGHT)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_strides_branches_and_interpolation(mode: str) -> None:
    _check(branches(mode), HEIGHT + 1)


class Blocks(nn.Module):
    """Reads blocks of 2x2 pixels as channels, and what lies between as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.deep = nn.Conv2d(12, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.skip = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.deep(torch.relu(self.head(nn.functional.pixel_unshuffle(x, 2))))
        return nn.functional.pixel_shuffle(deep, 2) + self.skip(x)


def test_blocks_of_pixels_read_as_channels() -> None:
    torch.manual_seed(0)
    graph = trace(Blocks().eval(), 3, "blocks")
    _check(graph, HEIGHT + 1)
    pieces = regions.recompute(to_workload(graph, 24, WIDTH), regions.ROWS, 5)
    row = {node.name: i for i, node in enumerate(graph.nodes)}
    head, x = (row[name] for name in ("head", graph.input.name))
    # Rows 5 to 9 of the output lie in blocks 2 to 4, the second convolution reads blocks 1 to 5, the first 0 to 6: rows 0 to 13.
    assert (pieces.begin[head, 1], pieces.end[head, 1]) == (1, 6)
    assert (pieces.begin[x, 1], pieces.end[x, 1]) == (0, 14)
    qgraph = random_networks.quantize(graph, 8, 8)
    picture = random_networks.picture(graph, HEIGHT + 1, WIDTH, seed=3)
    for tiling in CUTS:
        assert torch.equal(run_tiled(qgraph, picture, tiling), integer.run(qgraph, picture)), tiling


def _check(graph: Graph, height: int) -> None:
    x = random_networks.picture(graph, height, WIDTH)
    with torch.no_grad():
        whole = execute(graph, x)
        for tiling in CUTS:
            torch.testing.assert_close(
                execute_tiled(graph, x, tiling), whole, rtol=0, atol=2e-5, msg=lambda m, t=tiling: f"{t}: {m}"
            )


@pytest.mark.parametrize("bits", [(4, 8), (8, 16)])
@pytest.mark.parametrize("name", LOCAL)
def test_integers_are_equal_code_for_code(name: str, bits: tuple[int, int]) -> None:
    qgraph = random_networks.quantize(random_networks.float_graph(name), *bits)
    x = random_networks.picture(qgraph.graph, HEIGHT, WIDTH, seed=3)
    whole = integer.run(qgraph, x)
    for tiling in CUTS:
        assert torch.equal(run_tiled(qgraph, x, tiling), whole), tiling


def test_one_row_less_of_halo_would_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line buffers have no row to spare, and neither have the recomputed regions."""
    graph = random_networks.float_graph("fsrcnn-relu")
    x = random_networks.picture(graph, HEIGHT, WIDTH)
    kept, asked = regions.keep, regions.recompute

    def fewer(*arguments):  # type: ignore[no-untyped-def]
        pieces = kept(*arguments)
        pieces.kept[2] = (pieces.kept[2] - 1).clip(0)
        return pieces

    def narrower(workload, axis, piece):  # type: ignore[no-untyped-def]
        pieces = asked(workload, axis, piece)
        if axis == regions.ROWS:
            pieces.end[1, :-1] -= 1
        return pieces

    monkeypatch.setattr(regions, "keep", fewer)
    with pytest.raises(IndexError, match="neither computed nor kept"):
        execute_tiled(graph, x, Tiling(4, WIDTH, "keep"))
    monkeypatch.setattr(regions, "recompute", narrower)
    with pytest.raises(IndexError, match="neither computed nor kept"):
        execute_tiled(graph, x, Tiling(4, WIDTH))


def test_halo_of_three_convolutions_by_hand() -> None:
    """3x3, 3x3 and 5x5: a row of output needs 2 + 1 + 1 rows of input on each side; line buffers hold one row less than the
    kernel is high, and with strips of one row the output lags four steps behind."""
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 1, 5, padding=2))
    workload = to_workload(trace(network.eval(), 1, "three"), 20, 10)
    pieces = regions.recompute(workload, regions.ROWS, 5)
    assert pieces.begin[:, 1].tolist() == [1, 2, 3, 5]
    assert pieces.end[:, 1].tolist() == [14, 13, 12, 10]
    assert pieces.begin[:, 0].tolist() == [0, 0, 0, 0]
    assert pieces.end[:, 3].tolist() == [20, 20, 20, 20]
    lines = regions.keep(workload, regions.ROWS, 1)
    assert lines.end.shape[1] == 20 + 4
    assert lines.kept[:, 10].tolist() == [2, 2, 4, 0]
    assert (lines.end - lines.begin)[:, 10].tolist() == [1, 1, 1, 1]


def test_a_network_that_knows_its_places_is_not_cut() -> None:
    """A bias for every pixel: a tile has no part of it. One for every channel is no reason."""
    picture = torch.rand(1, 3, HEIGHT, WIDTH)

    def biased(*sides: int) -> Graph:
        bias = torch.rand(1, 3, *sides)
        return Graph("biased", (Node("x", Input(3)), Node("y", Add(), ("x",), {"other": bias})))

    with pytest.raises(UsageError, match="y has numbers of its own for every place"):
        execute_tiled(biased(HEIGHT, WIDTH), picture, Tiling(4, WIDTH))
    graph = biased(1, 1)
    assert torch.equal(execute_tiled(graph, picture, Tiling(4, WIDTH)), execute(graph, picture))


def test_a_network_that_sees_the_whole_picture_is_not_cut() -> None:
    graph = random_networks.float_graph("attention")
    with pytest.raises(UsageError, match="cannot be cut into tiles"):
        execute_tiled(graph, random_networks.picture(graph), Tiling(4, 20))
