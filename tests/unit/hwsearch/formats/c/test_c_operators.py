"""Every operator that the C kernels have, compiled, against our engine: code for code."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import c_program
import numpy as np
import pytest
import torch
from attention_block import shifted
from called import Called
from cost_twins import Widths
from operator_samples import SAMPLES
from random_networks import quantize
from torch import Tensor, nn

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.numbers import Int
from hwsearch.formats.c import calls, write
from hwsearch.formats.c.calls.places import LAST, broadcast, copies, natural, separated
from hwsearch.quant.engine import integer
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload
from searchspaces.tracing.trace import trace

SIZE = (8, 6)
ROUNDED_OTHERWISE = ("resize", "unit_norm", "rms_norm", "group_norm", "instance_norm")
"""What both compute in single precision, each in an order of its own."""
HAD = tuple(kind for kind, graph in SAMPLES.items() if calls.LOWERS.get(graph().nodes[-1].op) is not None)


def apart(q: QuantizedGraph, folder: Path, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Distances of the codes of the compiled export from the engine's, for random codes."""
    source, name = q.formats[q.graph.input.name], q.graph.output.name
    codes = np.random.default_rng(0).integers(source.qmin, source.qmax + 1, (q.graph.channels, *size))
    x = source.decode(torch.from_numpy(codes).float())[None]
    ours = integer.run_codes(replace(q, rule=write.RULE), x)[name]
    ours = (ours.permute(LAST) if ours.ndim == len(LAST) else ours).reshape(-1).numpy()
    theirs = c_program.run(c_program.build(q, folder, size), q, codes, (ours.size, 1, 1)).reshape(-1)
    return np.abs(ours - theirs)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", HAD)
def test_every_operator(kind: str, bits: int, tmp_path: Path) -> None:
    q = quantize(SAMPLES[kind](), 8, bits)
    assert apart(q, tmp_path).max() <= (1 if kind in ROUNDED_OTHERWISE else 0)


def test_no_operator_was_forgotten() -> None:
    assert len(HAD) > 40
    assert {"matmul", "softmax", "layer_norm", "linear", "mul", "mean", "permute", "windows"} <= set(HAD)


@pytest.mark.parametrize(("weights", "tensors"), [(8, 8), (4, 8), (8, 16), (3, 6)])
def test_a_block_of_attention(weights: int, tensors: int, tmp_path: Path) -> None:
    assert not apart(quantize(shifted(), weights, tensors, size=(8, 8)), tmp_path, (8, 8)).any()


def test_tokens_of_mixed_widths(tmp_path: Path) -> None:
    graph = shifted()
    groups = sorted(set(graph.quantizer_groups().values()))
    q = quantize(graph, 8, {name: (8, 16, 6)[i % 3] for i, name in enumerate(groups)}, size=(8, 8))
    assert not apart(q, tmp_path, (8, 8)).any()


class Statistics(nn.Module):
    """A mean or a deviation along one side of a picture, as attention of coordinates has it."""

    def __init__(self, axis: int, deviation: bool) -> None:
        super().__init__()
        self.axis, self.deviation = axis, deviation

    def forward(self, x: Tensor) -> Tensor:
        over = x.std if self.deviation else x.mean
        return x + over(dim=self.axis, keepdim=True)


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("deviation", [False, True])
def test_statistics_along_one_side(axis: int, deviation: bool, tmp_path: Path) -> None:
    assert not apart(quantize(trace(Statistics(axis, deviation).eval(), 4, "one"), 8, 8), tmp_path).any()


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "means of windows with a border": lambda x: nn.functional.avg_pool2d(x, 3, 2, 1),
    "without what lies beyond it": lambda x: nn.functional.avg_pool2d(x, (3, 2), 1, (1, 1), count_include_pad=False),
    "largest with a border": lambda x: nn.functional.max_pool2d(x, (3, 2), 1, (1, 1)),
    "a constant less a picture": lambda x: torch.linspace(0, 1, 4).view(4, 1, 1) - nn.functional.relu(x - 0.3),
    "a picture less one column": lambda x: x.flip(2) - x[:, :, :, :1],
    "the smaller of a picture and numbers": lambda x: torch.minimum(x, torch.linspace(0, 1, 6)),
    "slopes of channels": lambda x: nn.functional.prelu(x - 0.5, torch.tensor([0.1, -0.2, 0.5, 1.5])),
    "a bound on the left and on the right": lambda x: (x - 0.5).clamp(-0.25, 0.25),
    "a quotient by a number of each row": lambda x: x.flip(2) / (x.amax(3, keepdim=True) + 0.3),
    "numbers over a picture": lambda x: torch.linspace(-1, 1, 6) / (x + 0.5),
    "nothing over nothing": lambda x: nn.functional.relu(x - 0.5) / (nn.functional.relu(x.flip(2) - 0.5) + 1e-6),
    "a variance of rows": lambda x: x - x.var(3, keepdim=True),
    "chosen by a mask, else numbers": lambda x: torch.where(torch.arange(6) % 2 == 0, x, torch.tensor(0.3)),
    "slopes of channels behind a sum": lambda x: nn.functional.prelu(x - 0.5 + x.flip(2), torch.tensor([0.1, -0.2, 0.5, 0.0])),
    "a slope behind a sum": lambda x: nn.functional.leaky_relu(x - x.flip(2), 0.2),
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_in_the_form_that_networks_have_them(name: str, bits: int, tmp_path: Path) -> None:
    q = quantize(trace(Called(FUNCTIONS[name]).eval(), 4, "one", size=SIZE), 8, bits, size=SIZE)
    assert not apart(q, tmp_path).any()


CURVES: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "silu": nn.functional.silu}


@pytest.mark.parametrize("behind", [8, 16])
@pytest.mark.parametrize("step", [2.0**-12, 2.0**-11, 3e-4, 0.0021])
@pytest.mark.parametrize("name", CURVES)
def test_curves_of_every_16_bit_code(name: str, step: float, behind: int, tmp_path: Path) -> None:
    """By a step that the kernels take for a power of two, and by others; every code of the container."""
    size = (256, 256)
    q = quantize(trace(Called(CURVES[name]).eval(), 1, "one"), 8, 16)
    reach = step * 32768
    target = TensorFormat(Int(8), float(np.float32(reach / 255 if name == "silu" else 2 / 255)), 20 if name == "silu" else 128)
    source = TensorFormat(Int(16), step, 32768, 0, 65535)
    if behind == 16:
        target = TensorFormat(Int(16), float(np.float32(step if name == "silu" else 1 / 30000)), 32768, 0, 65535)
    q = replace(q, formats={q.graph.input.name: source, q.graph.output.name: target})
    every = np.arange(1 << 16).reshape(1, *size)
    ours = integer.run_codes(replace(q, rule=write.RULE), source.decode(torch.from_numpy(every).float())[None])[
        q.graph.output.name
    ]
    theirs = c_program.run(c_program.build(q, tmp_path, size), q, every, (1, *size))
    assert np.array_equal(ours[0].numpy(), theirs)
    assert len(np.unique(theirs)) > 100


@pytest.mark.parametrize("operand", ["a tensor", "numbers"])
def test_products_whose_steps_are_too_fine_for_integers(operand: str, tmp_path: Path) -> None:
    """They are computed on real values, here and in the engine."""
    by = torch.linspace(0.5, 1.5, SIZE[1])
    module = Called(lambda x: x * (by if operand == "numbers" else x.flip(2)))
    q = quantize(trace(module.eval(), 4, "one", size=SIZE), 8, 16, size=SIZE)
    name = q.graph.output.name
    fine = replace(q, formats={**q.formats, name: replace(q.formats[name], scale=float(np.float32(q.formats[name].scale / 9e4)))})
    assert not apart(fine, tmp_path).any()
    assert "HWS_PRODUCT" in (tmp_path / "net" / "net.c").read_text()


def _filtered(sides: tuple[int, int], mode: str, x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, sides, mode=mode, antialias=True)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("sides", [(8, 6), (13, 11), (24, 18), (20, 3), (5, 4)])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_interpolations_row_by_row(mode: str, sides: tuple[int, int], bits: int, tmp_path: Path) -> None:
    """To more and to fewer rows; at three times a bicubic row sees fewer rows than the next one, and earlier ones."""
    for number, antialias in enumerate((False, True)):
        module = nn.Upsample(sides, mode=mode) if not antialias else Called(partial(_filtered, sides, mode))
        folder = tmp_path / str(number)
        folder.mkdir()
        assert apart(quantize(trace(module.eval(), 4, "one", size=SIZE), 8, bits, size=SIZE), folder).max() <= 1


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_normalizations_of_groups_of_channels(groups: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(4, 8, 1), nn.GroupNorm(groups, 8))
    with torch.no_grad():
        for parameter in module[1].parameters():
            parameter.uniform_(0.5, 1.5)
    assert apart(quantize(trace(module.eval(), 4, "one"), 8, 8), tmp_path).max() <= 1


class Batches(nn.Module):
    """Windows of a picture as pictures of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 8, 1), nn.MaxPool2d(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        windows = x.reshape(n, c, h // 4, 4, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, 4, 2)
        y = nn.functional.pixel_shuffle(self.layers(windows), 2)
        y = nn.functional.interpolate(y, scale_factor=2, mode="bilinear")
        return y.reshape(1, -1, 2, 16, 4).permute(0, 1, 2, 4, 3)[:, :, 0]


def test_several_pictures_at_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert apart(quantize(trace(Batches().eval(), 4, "batches", size=SIZE), 8, 8, size=SIZE), tmp_path).max() <= 1


class Products(nn.Module):
    """A picture that is a product of matrices, or a softmax along its height."""

    def __init__(self, softmax: bool) -> None:
        super().__init__()
        self.softmax = softmax

    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(2) if self.softmax else x @ x.transpose(2, 3)


@pytest.mark.parametrize("softmax", [False, True])
def test_what_comes_out_has_its_channels_last(softmax: bool, tmp_path: Path) -> None:
    assert not apart(quantize(trace(Products(softmax).eval(), 4, "out", size=SIZE), 8, 8, size=SIZE), tmp_path).any()


RAM: dict[str, Callable[[], Graph]] = {
    "attention": shifted,
    "interpolation": lambda: trace(
        Called(lambda x: nn.functional.interpolate(x + x.flip(2), scale_factor=3, mode="bicubic")).eval(), 4, "one", size=(8, 8)
    ),
    "product": lambda: trace(Called(lambda x: x.flatten(2) @ x.flip(3).flatten(2).transpose(1, 2)).eval(), 4, "one", size=(8, 8)),
}


@pytest.mark.parametrize("tensors", [8, 16])
@pytest.mark.parametrize("name", RAM)
def test_ram_is_what_is_priced(name: str, tensors: int) -> None:
    q = quantize(RAM[name](), 8, tensors, size=(8, 8))
    program, target = write.lower(q, 8, 8), catalogue.load("stm32h743")
    workload = to_workload(q.graph, 8, 8)
    space = Widths.of(workload, target.weight_formats, target.tensor_formats)
    offered = target.offered
    row = [offered.weight_bits.index(8)] * len(space.layer_names)
    row += [offered.activation_bits.index(tensors)] * len(workload.group_names)
    price = cost.estimate(cost.lower(target, workload, space), np.array(row, np.int8))
    ends = sum(program.lowering.tensor_bytes(node.name) for node in (q.graph.input, q.graph.output))
    assert int(price.peak_activation_bytes[0]) == program.arena_bytes + ends


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "windows": lambda x: x.reshape(1, 4, 2, 4, 2, 3).permute(0, 2, 4, 1, 3, 5),
    "a corner of zeros": lambda x: nn.functional.pad(x[:, 1:], (1, 0, 2, 3)),
    "every other, backwards": lambda x: x[:, ::2].flip(1),
    "all in one row": lambda x: x.reshape(1, -1),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("order", [natural(4), LAST], ids=["natural", "channels last"])
def test_copies_are_the_move(name: str, order: tuple[int, ...]) -> None:
    """Executed as the kernel does, they give what torch gives."""
    shape = (1, 8, 8, 3)
    values = np.random.default_rng(0).integers(1, 255, shape)
    moved = MOVES[name](torch.from_numpy(values)).numpy()
    found = copies(MOVES[name], shape, order, natural(moved.ndim))
    stored, out = values.transpose(order).reshape(-1), []
    for places in np.ndindex(*(len(table) for table in found.tables)):
        offsets = [int(table[place]) for table, place in zip(found.tables, places, strict=True)]
        start = found.base + sum(offsets)
        out.append(np.zeros(found.run, int) if min(offsets) < 0 else stored[start : start + found.run])
    assert np.array_equal(np.concatenate(out), moved.reshape(-1))
    assert sum(len(table) for table in found.tables) < moved.size or found.run > 1 or order == LAST


def test_places_that_no_axes_tell_are_listed() -> None:
    places = np.random.default_rng(0).permutation(24).reshape(4, 6)
    found = separated(places)
    assert found.run == 1
    assert np.array_equal(found.base + found.tables[0], places.reshape(-1))


@pytest.mark.parametrize(
    ("shape", "whole", "told"),
    [((6, 1, 1), (1, 6, 4, 5), (1, 6)), ((1, 1, 4, 5), (1, 6, 4, 5), (6, 20)), ((1,), (1, 6, 4, 5), (120, 1))],
)
def test_operands_that_repeat(shape: tuple[int, ...], whole: tuple[int, ...], told: tuple[int, int]) -> None:
    """Beside a picture with its channels last."""
    order = tuple(axis - 4 + len(shape) for axis in LAST if axis >= 4 - len(shape))
    found = broadcast(shape, order, whole, LAST)
    assert found is not None
    assert (found.inner, found.count) == told
    assert found.count == math.prod(shape)
    assert broadcast((2, 1, 3), natural(3), (2, 4, 3), natural(3)) is None
