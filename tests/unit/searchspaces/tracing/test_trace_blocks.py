"""Blocks of published networks: traced, equal to the module at two sizes, priced on four devices, simulated at 8 bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import pytest
import torch
from block_networks import BLOCKS, build
from random_networks import quantize
from torch import Tensor, nn

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.errors import FileError
from hwsearch.quant.engine.simulate import Prepared, prepare, simulate
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ir.lower import to_workload
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.maps.activation import Activation, Gelu, Mish, Silu, Sqrt
from searchspaces.ops.moves.move import PixelShuffle, PixelUnshuffle, Roll
from searchspaces.ops.reductions.norm import LayerNorm, Norm
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace

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


def test_one_size_otherwise_is_the_one_asked_for() -> None:
    """Where formulas hold, it is for all sizes all the same; where none do, it equals the module at that size, though it was
    compared at a smaller one."""
    module = build("shifted")
    found = trace(module, 3, "shifted", otherwise=(72, 80))
    assert found.size == (72, 80)
    x = torch.rand(1, 3, 72, 80, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.allclose(execute(found, x), module(x), atol=1e-4)
    assert trace(build("swin"), 3, "swin", otherwise=(72, 80)).size is None


def test_one_size_that_computes_something_else_is_found_without_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that is wrong is wrong at the small size, too."""
    run = Roll.run
    monkeypatch.setattr(Roll, "run", lambda self, inputs, weights: -run(self, inputs, weights))
    with pytest.raises(FileError, match="differs"):
        trace(build("shifted"), 3, "shifted", otherwise=(72, 80))


class Spelled(nn.Module):
    """A function of one value between two convolutions."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.first, self.last = function, nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.function(self.first(x)))
        return found


@pytest.mark.parametrize(
    ("function", "becomes"),
    [
        (lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))), Gelu()),
        (lambda x: x * (torch.erf(x * 0.7071067811865475) + 1.0) * 0.5, Gelu()),
        (lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), Gelu("tanh")),
        (lambda x: 0.5 * x * (1 + torch.tanh(x * 0.7978845608 * (1 + 0.044715 * x * x))), Gelu("tanh")),
        (lambda x: x * torch.sigmoid(x), Silu()),
        (lambda x: x * torch.tanh(nn.functional.softplus(x)), Mish()),
        (nn.functional.mish, Mish()),
        (lambda x: x * 0.5 * (1 + torch.erf(x)), None),
        (lambda x: 0.5 * x * (1 + torch.tanh(x)), None),
        (lambda x: x * torch.sigmoid(x.mean(dim=1, keepdim=True)), None),
    ],
)
def test_functions_of_one_value_are_told_by_what_they_compute(
    function: Callable[[Tensor], Tensor], becomes: Activation | None
) -> None:
    """Whatever way they are written; what is no such function stays as it stands."""
    graph = trace(Spelled(function), 3, "spelled")
    between = [node.op for node in graph.nodes[1:] if not isinstance(node.op, Conv)]
    assert (between == [becomes]) if becomes else (len(between) > 1 and not any(isinstance(op, Gelu | Silu) for op in between))


def test_vectors_of_unit_length_are_one_operator() -> None:
    """And equal to the module also where vectors are zero."""
    module = Spelled(lambda x: nn.functional.normalize(x.relu().permute(0, 2, 3, 1), dim=-1).permute(0, 3, 1, 2))
    graph = trace(module, 3, "unit")
    assert [node.op.kind for node in graph.nodes if isinstance(node.op, Norm)] == ["unit_norm"]
    assert not any(isinstance(node.op, Sqrt) for node in graph.nodes)
    module.first.bias.data.fill_(-10.0)
    with torch.no_grad():
        x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        assert torch.equal(execute(trace(module, 3, "unit"), x), module(x))


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
        space = build_space(workload, device.weight_formats, device.tensor_formats)
        table = cost.lower(device, workload, space)
        found = cost.estimate(table, space.uniform(8, 8))
        assert 0 < found.latency_s[0] < 1
        assert found.peak_activation_bytes[0] >= max(tensor.elements for tensor in workload.tensors)


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


class LargeWindows(nn.Module):
    """Attention in windows of 16 or 32 pixels, to which the picture is filled up by reflection."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side, self.mix = side, nn.Linear(side * side, side * side)

    def forward(self, x: Tensor) -> Tensor:
        b, c, height, width = x.shape
        filled = nn.functional.pad(x, (0, -width % self.side, 0, -height % self.side), "reflect")
        h, w = filled.shape[2:]
        tokens = filled.flatten(2).transpose(1, 2).view(b, h // self.side, self.side, w // self.side, self.side, c)
        mixed = self.mix(tokens.permute(0, 1, 3, 5, 2, 4).reshape(-1, c, self.side * self.side))
        back = mixed.view(b, h // self.side, w // self.side, c, self.side, self.side).permute(0, 1, 4, 2, 5, 3)
        return back.reshape(b, h * w, c).transpose(1, 2).view(b, c, h, w)[:, :, :height, :width]


@pytest.mark.parametrize("side", [16, 32])
def test_height_width_and_area_are_told_apart_behind_large_windows(side: int) -> None:
    """The sizes that a network is traced at must not round up to squares, nor to as many pixels."""
    torch.manual_seed(0)
    module = LargeWindows(side).eval()
    graph = trace(module, 3, "windows")
    assert graph.size is None
    for size in ((48, 64), (64, 96), (100, 35)):
        x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(5))
        with torch.no_grad():
            assert torch.allclose(execute(graph, x), module(x), atol=1e-5)


class Pyramid(nn.Module):
    """Features of a half, a quarter and an eighth of the sides modulate the picture, as in SAFMN."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1, groups=3) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        for level, mix in enumerate(self.mix, 1):
            small = mix(nn.functional.adaptive_max_pool2d(x, (h >> level, w >> level)))
            x = x * nn.functional.gelu(nn.functional.interpolate(small, size=(h, w), mode="nearest"))
        return x


def test_windows_that_are_a_part_of_the_picture_ask_for_multiples() -> None:
    """At other sizes they are not all alike, and the graph is one for that size."""
    torch.manual_seed(0)
    module = Pyramid().eval()
    graph = trace(module, 3, "pyramid")
    assert (graph.uncounted, graph.size, graph.multiple) == ((), None, 8)
    for size in ((32, 48), (56, 24)):
        x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(5))
        with torch.no_grad():
            assert torch.allclose(execute(graph, x), module(x), atol=1e-6)
    x = torch.rand(1, 3, 33, 22, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert torch.allclose(execute(trace(module, 3, "pyramid", size=(33, 22)), x), module(x), atol=1e-6)
