"""Blocks of published networks: traced, equal to the module at two sizes, priced on four devices, simulated at 8 bits."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from block_networks import BLOCKS, build
from random_networks import quantize
from torch import Tensor, nn

from hwmodels import cost
from hwmodels.device import catalogue
from hwsearch.quant.engine.simulate import Prepared, prepare, simulate
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ops.moves.move import PixelShuffle, PixelUnshuffle
from searchspaces.ops.reductions.norm import LayerNorm
from searchspaces.space import build_space
from searchspaces.tracing.trace import to_workload, trace

DEVICES = ("jetson", "ethos-u55-128", "hexagon", "host")
SIZES = ((16, 24), (40, 32))


@cache
def traced(name: str) -> Graph:
    return trace(build(name), 3, name)


@pytest.mark.parametrize("name", BLOCKS)
def test_equal_to_the_module_at_sizes_that_were_not_traced(name: str) -> None:
    graph, module = traced(name), build(name)
    assert graph.uncounted == ()
    assert graph.size is None
    for height, width in SIZES:
        assert height % graph.multiple == width % graph.multiple == 0
        x = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height))
        with torch.no_grad():
            assert torch.allclose(execute(graph, x), module(x), atol=1e-4)


def test_several_pictures_at_once() -> None:
    """The axis that grows with their number is not a number of the graph."""
    module, x = build("swin"), torch.rand(3, 3, 13, 10)
    with torch.no_grad():
        assert torch.allclose(execute(traced("swin"), x), module(x), atol=1e-4)


def test_masks_of_windows_are_for_one_size() -> None:
    """Said by the graph, and traced at whatever size is asked for."""
    module = build("shifted")
    assert trace(module, 3, "shifted").size is not None
    asked, x = trace(module, 3, "shifted", size=(16, 20)), torch.rand(1, 3, 16, 20)
    assert asked.size == (16, 20)
    with torch.no_grad():
        assert torch.allclose(execute(asked, x), module(x), atol=1e-4)


def test_what_is_spelled_out_is_recognised() -> None:
    norms = [node.op for node in traced("naf").nodes if isinstance(node.op, LayerNorm)]
    assert [(op.axes, round(op.eps, 9)) for op in norms] == [((1,), 1e-6)]
    moves = [node.op for node in traced("shuffles").nodes]
    assert [op for op in moves if isinstance(op, PixelShuffle | PixelUnshuffle)] == [PixelUnshuffle(2), PixelShuffle(4)]


def test_multiples() -> None:
    """Those that the module itself accepts, and no smaller: halved twice is a multiple of 4."""
    assert {name: traced(name).multiple for name in ("swin", "hat", "unet", "shuffles", "naf")} == {
        "swin": 1, "hat": 4, "unet": 4, "shuffles": 2, "naf": 1,
    }  # fmt: skip


def test_a_network_that_takes_one_size_alone() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.up = nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 3, 3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.up(torch.relu(self.down(x)), [16, 16])

    assert trace(Fixed(), 3, "fixed").size == (16, 16)


@pytest.mark.parametrize("name", BLOCKS)
def test_priced(name: str) -> None:
    for target in DEVICES:
        device = catalogue.load(target)
        workload = to_workload(traced(name), *SIZES[0])
        widths = device.widths
        space = build_space(workload, tuple(widths.weight_bits), tuple(widths.activation_bits), wide=device.wide)
        priced = cost.lower(device, workload, space)
        assert priced is not None


@pytest.mark.parametrize("name", BLOCKS)
def test_simulated_at_8_bits(name: str) -> None:
    """Nearer to the floating-point network than a constant picture is."""
    q = quantize(traced(name), activation_bits=8)
    x = torch.rand(1, 3, *SIZES[0], generator=torch.Generator().manual_seed(5))

    def prepared(node: Node) -> Prepared:
        return prepare(node, q.layers[node.name], q.formats[node.inputs[0]], q.formats[node.name])

    found, wanted = simulate(q.graph, q.formats, prepared, x), execute(q.graph, x)
    assert found.shape == wanted.shape
    assert (found - wanted).square().mean() < wanted.var()
