"""Steps of the exported C one by one: predicted instructions beside the exact counts of emulated Cortex-M4, M7 and M55.

Every kind of step that is no convolution: functions and sums of two tensors, statistics, windows, normalizations, products,
interpolations, moves. ``fitted`` is what the constants come from, ``CHECKED`` has other sizes. A prediction is what the shipped
device file gives for the step in cycles, over its cycles per instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from called import Called
from random_networks import quantize
from scipy.optimize import nnls
from torch import Tensor

from hwmodels import cost
from hwmodels.classes.mcu_steps import forms, lies_last
from hwmodels.device.device import Device
from hwmodels.device.facts import number
from hwmodels.numbers import Precision
from hwmodels.workload import Layer, Workload
from hwsearch.formats.c import emulator, qemu
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.lower import to_workload
from searchspaces.tracing.trace import trace

PLAIN = ("add", "gelu", "repeat")
"""Kinds that take as much for every element of their output, but for the call."""


@dataclass(frozen=True)
class Step:
    """One operator at one size.

    Attributes:
        kind: the ``kind`` of the operator that is counted, the last one; others around it are not.
        channels, side: of the picture that goes in.
        bits: of every tensor.
    """

    label: str
    kind: str
    function: Callable[[Tensor], Tensor]
    channels: int
    side: int
    bits: int = 8

    def network(self) -> QuantizedGraph:
        torch.manual_seed(0)
        graph = trace(Called(self.function).eval(), self.channels, "step", size=(self.side, self.side))
        return quantize(graph, 8, self.bits, size=(self.side, self.side))

    def layer(self, q: QuantizedGraph) -> tuple[Workload, Layer]:
        """The table of the network, and the row of the step."""
        workload = to_workload(q.graph, self.side, self.side)
        name = next(node.name for node in reversed(q.graph.nodes) if node.op.kind == self.kind)
        return workload, next(layer for layer in workload.layers if layer.name == name)

    def counted(self, board: emulator.Board) -> int:
        """Instructions of the step."""
        q = self.network()
        codes = np.random.default_rng(0).integers(0, 1 << self.bits, (1, self.channels, self.side, self.side))
        with TemporaryDirectory() as folder:
            network = qemu.CompiledNetwork(q, board, Path(folder), (self.side, self.side))
            counts = network.run(codes)[1][0]
        return int([n for step, n in zip(network.program.steps, counts, strict=True) if step.node.op.kind == self.kind][-1])

    def predicted(self, target: Device) -> float:
        """Instructions of the step by the model of ``target``."""
        workload, layer = self.layer(self.network())
        table = cost.uniform_table(target, workload, Precision.integers(8, self.bits))
        row = workload.layers.index(layer)
        seconds = sum(float(term[row].item()) for term in (table.compute_s, table.activation_s, table.overhead_s))
        return seconds * number(target, "mcu.clock_hz") / number(target, "mcu.cycles_per_instruction")


def fit(steps: Sequence[Step], counts: np.ndarray, lanes: float) -> tuple[float, dict[int, dict[str, float]], np.ndarray]:
    """Instructions of a call and of everything that the model has cycles for, by bits, and the relative error of every step.

    What a call takes comes from steps that are exactly so much for each element. The others are fitted to what is left, with
    small relative errors, none below zero.
    """
    rows = []
    for step in steps:
        workload, layer = step.layer(step.network())
        counted = next(iter(forms(workload, layer, lanes, (step.bits > 8, step.bits > 8), lies_last(workload))))
        rows.append({(key, step.bits): times for key, times in counted.items()})
    keys = sorted({key for row in rows for key in row})
    table = np.array([[row.get(key, 0.0) for key in keys] for row in rows])
    simple = np.array([step.kind in PLAIN for step in steps])
    first, _ = nnls(np.c_[table, np.ones(len(steps))][simple] / counts[simple, None], np.ones(simple.sum()))
    call = float(first[-1])
    constants, _ = nnls(table / counts[:, None], 1 - call / counts)
    found: dict[int, dict[str, float]] = {8: {}, 16: {}}
    for (key, bits), value in zip(keys, constants, strict=True):
        found[bits][key] = float(value)
    return call, found, (table @ constants + call) / counts - 1


def _resized(mode: str, factor: float) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=factor, mode=mode)

    return function


def _filtered(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=0.5, mode="bicubic", antialias=True)


def _weighted(x: Tensor) -> Tensor:
    return x * torch.linspace(0.5, 1.5, x.shape[1]).view(-1, 1, 1) ** 2


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def _product(x: Tensor) -> Tensor:
    tokens = _tokens(x)
    return tokens @ tokens.transpose(1, 2)


def _mixed(x: Tensor) -> Tensor:
    return (_tokens(x).transpose(1, 2) @ _tokens(x)).unsqueeze(0)


def _upside(x: Tensor) -> Tensor:
    return x.flip(2)


def _squared(x: Tensor) -> Tensor:
    return x @ x.transpose(-1, -2)


def _heads(x: Tensor) -> Tensor:
    return _tokens(x).reshape(1, -1, 4, x.shape[1] // 4).permute(0, 2, 1, 3)


def _matrices(rows: int, columns: int, turned: bool) -> Callable[[Tensor], Tensor]:
    """The product of matrices of as many vectors, over the pixels of a picture."""

    def function(x: Tensor) -> Tensor:
        tokens = x.flatten(2)
        first, second = tokens[:, :rows], tokens[:, -columns:]
        return first @ (second.transpose(1, 2) if turned else second.reshape(1, -1, columns))

    return function


PRODUCTS = ((64, 64, True, 4), (16, 16, True, 8), (32, 8, True, 4), (8, 48, False, 8), (48, 24, False, 4), (24, 24, True, 16))
"""Rows, columns, whether the second matrix is turned, and the side of the picture whose pixels are what is summed over."""


def _sizes(label: str, kind: str, function: Callable[[Tensor], Tensor], *sizes: tuple[int, int]) -> list[Step]:
    return [Step(label, kind, function, channels, side, bits) for channels, side in sizes for bits in (8, 16)]


def fitted() -> list[Step]:
    """What the constants are fitted to: every operation at some sizes, in 8 and in 16 bits."""
    small, large = (4, 12), (16, 24)
    return [
        *_sizes("sum", "add", lambda x: x + _upside(x), small, large),
        *_sizes("sum with a repeated tensor", "add", lambda x: _upside(x) + x[:, :1], small, large),
        *_sizes("sum with a slope", "add", lambda x: F.leaky_relu(x + _upside(x), 0.1), small, large),
        *_sizes("larger of two", "maximum", lambda x: torch.maximum(x, _upside(x)), small, large),
        *_sizes("product", "mul", lambda x: x * _upside(x), small, large),
        *_sizes("product with a repeated tensor", "mul", lambda x: _upside(x) * x[:, :1], small, large),
        *_sizes("function", "gelu", F.gelu, small, large),
        *(Step("bound", "relu", F.relu, *size, 16) for size in (small, large)),
        *(Step("logistic", "sigmoid", torch.sigmoid, *size, 16) for size in (small, large)),
        *(Step("gated", "silu", F.silu, *size, 16) for size in (small, large)),
        *(
            one
            for kind, over in (("mean", torch.mean), ("std", torch.std), ("var", torch.var))
            for one in (
                *_sizes(kind, kind, lambda x, over=over: over(x, dim=(2, 3), keepdim=True), small, (48, 6), large),
                *_sizes(kind, kind, lambda x, over=over: over(x, dim=1, keepdim=True), small, large),
            )
        ),
        *(
            one
            for size, step in ((2, 2), (3, 1), (5, 5))
            for kind, pool in (("max_pool", F.max_pool2d), ("avg_pool", F.avg_pool2d))
            for one in _sizes("windows", kind, lambda x, f=pool, n=size, s=step: f(x, n, s), small, (16, 15))
        ),
        *_sizes("softmax", "softmax", lambda x: _tokens(x).softmax(2), (8, 8), (24, 8), (96, 4)),
        *_sizes("root mean square", "rms_norm", lambda x: F.rms_norm(_tokens(x), [x.shape[1]]), (8, 8), (32, 8), (96, 4)),
        *_sizes("length", "unit_norm", lambda x: F.normalize(_tokens(x), dim=2), (8, 8), (32, 8), (96, 4)),
        *_sizes("normalization", "layer_norm", lambda x: F.layer_norm(_tokens(x), [x.shape[1]]), (8, 8), (32, 8), (96, 4)),
        *(
            one
            for rows, columns, turned, side in PRODUCTS
            for one in _sizes("matrices", "matmul", _matrices(rows, columns, turned), (max(rows, columns), side))
        ),
        *(
            one
            for mode in ("bilinear", "bicubic")
            for factor, size in ((2, (4, 12)), (3, (1, 16)), (4, (8, 8)))
            for one in _sizes("interpolation", "resize", _resized(mode, factor), size)
        ),
        *_sizes("filtered", "resize", _filtered, (4, 12), (8, 16)),
        *_sizes("nearest", "resize", _resized("nearest", 2), (2, 16), (5, 12), (32, 8)),
        *_sizes("concatenation", "concat", lambda x: torch.cat([x, _upside(x)], 1), (4, 12), (6, 12), (32, 12)),
        *_sizes("part", "slice", lambda x: x[:, 1:-1], (4, 12), (9, 12), (32, 12)),
        *_sizes("shuffle", "pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), (4, 12), (12, 24), (64, 6)),
        *(
            one
            for times in (2, 6)
            for one in _sizes("repetition", "repeat", lambda x, n=times: torch.repeat_interleave(x, n, 1), (4, 12), (16, 24))
        ),
        *_sizes("roll", "roll", lambda x: torch.roll(x, (1, 1), (2, 3)), (4, 12), (32, 12)),
        *_sizes("mirrored", "flip", lambda x: x.flip(2), (4, 12), (32, 12)),
        *_sizes("channels mirrored", "flip", lambda x: x.flip(1), (4, 12), (16, 12)),
        *_sizes("part of tokens", "slice", lambda x: _tokens(x)[:, : x.shape[2]].softmax(2), (4, 12), (32, 12)),
        *_sizes("padding", "pad", lambda x: F.pad(x, (1, 1, 1, 1)), (4, 12), (32, 12)),
        *_sizes("heads", "permute", lambda x: _heads(x).softmax(3).flatten(2), (16, 8), (64, 8)),
        *_sizes(
            "tokens with other axes",
            "reshape",
            lambda x: _squared(_tokens(x).reshape(1, -1, 4, x.shape[1] // 4)),
            (16, 8),
            (64, 8),
        ),
        *_sizes("rows of a picture", "reshape", lambda x: x.flatten(2).softmax(2), (4, 12), (32, 12)),
    ]


CHECKED: Sequence[Step] = (
    *(Step(f"bilinear x2, {c} channels", "resize", _resized("bilinear", 2), c, 16) for c in (1, 3, 12)),
    *(Step(f"bicubic x{s}, {c} channels", "resize", _resized("bicubic", s), c, 16) for s, c in ((2, 1), (3, 3), (4, 3))),
    Step("bicubic x2, 3 channels", "resize", _resized("bicubic", 2), 3, 16, 16),
    *(Step(f"nearest x2, {c} channels", "resize", _resized("nearest", 2), c, 16) for c in (1, 3, 24)),
    *(
        step
        for bits in (8, 16)
        for step in (
            Step("mean of a picture, 24 channels", "mean", lambda x: x.mean((2, 3), keepdim=True), 24, 14, bits),
            Step("mean of 24 channels", "mean", lambda x: x.mean(1, keepdim=True), 24, 14, bits),
            Step("deviation of a picture, 24 channels", "std", lambda x: x.std((2, 3), keepdim=True), 24, 14, bits),
            Step("deviation of 24 channels", "std", lambda x: x.std(1, keepdim=True), 24, 14, bits),
            Step("max of 2x2, 24 channels", "max_pool", lambda x: F.max_pool2d(x, 2), 24, 14, bits),
            Step("max of 3x3, 6 channels", "max_pool", lambda x: F.max_pool2d(x, 3, 1, 1), 6, 14, bits),
            Step("max of 7x7 by 3, 8 channels", "max_pool", lambda x: F.max_pool2d(x, 7, 3), 8, 20, bits),
            Step("gelu", "gelu", F.gelu, 6, 14, bits),
            Step("sum of two tensors", "add", lambda x: x + x.flip(2), 6, 14, bits),
            Step("sum with a number a channel", "add", lambda x: x.flip(2) + x.mean((2, 3), keepdim=True), 6, 14, bits),
            Step("product of two tensors", "mul", lambda x: x * x.flip(2), 6, 14, bits),
            Step("product with a number a channel", "mul", lambda x: x * x.mean((2, 3), keepdim=True), 6, 14, bits),
            Step("sum with a slope", "add", lambda x: F.leaky_relu(x + x.flip(2), 0.1), 6, 14, bits),
            Step("smaller of two", "minimum", lambda x: torch.minimum(x, x.flip(2)), 6, 14, bits),
            Step("difference with a number a channel", "sub", lambda x: x.flip(2) - x.mean((2, 3), keepdim=True), 6, 14, bits),
            Step("slopes of channels", "prelu", lambda x: F.prelu(x, torch.full([6], 0.1)), 6, 14, bits),
            Step("a function less a half", "conv", lambda x: F.gelu(x) - 0.5, 6, 14, bits),
            Step("means of 2x2, 24 channels", "avg_pool", lambda x: F.avg_pool2d(x, 2), 24, 14, bits),
            Step("instance normalization of 14x14", "instance_norm", F.instance_norm, 6, 14, bits),
            Step("rms normalization of 24", "rms_norm", lambda x: F.rms_norm(_tokens(x), [24]), 24, 10, bits),
            Step("softmax of 48", "softmax", lambda x: _tokens(x).softmax(2), 48, 8, bits),
            Step("layer normalization of 12", "layer_norm", lambda x: F.layer_norm(_tokens(x), [12]), 12, 10, bits),
            Step("layer normalization of 48", "layer_norm", lambda x: F.layer_norm(_tokens(x), [48]), 48, 10, bits),
            Step("unit norm of 24", "unit_norm", lambda x: F.normalize(_tokens(x), dim=2), 24, 10, bits),
            Step("matrices 64x24x64", "matmul", _product, 24, 8, bits),
            Step("matrices 24x100x24", "matmul", _mixed, 24, 10, bits),
            Step("concatenation of 6 and 6 channels", "concat", lambda x: torch.cat([x, x.flip(2)], 1), 6, 14, bits),
            Step("concatenation of 24 and 24 channels", "concat", lambda x: torch.cat([x, x.flip(2)], 1), 24, 14, bits),
            Step("6 of 24 channels", "slice", lambda x: x[:, 3:9], 24, 14, bits),
            Step("pixel shuffle x2", "pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), 24, 14, bits),
            Step("channels repeated 4 times", "repeat", lambda x: torch.repeat_interleave(x, 4, 1), 3, 14, bits),
            Step("rows upside down, 6 channels", "flip", lambda x: x.flip(2), 6, 14, bits),
            Step("columns mirrored, 6 channels", "flip", lambda x: x.flip(3), 6, 14, bits),
            Step("channels mirrored, 6 channels", "flip", lambda x: x.flip(1), 6, 14, bits),
            Step("half of the tokens", "slice", lambda x: _tokens(x)[:, :50].softmax(2), 24, 10, bits),
            Step("half of the heads", "slice", lambda x: _heads(x).softmax(3)[:, :2].flatten(2), 24, 10, bits),
            Step("tokens rolled", "roll", lambda x: torch.roll(_tokens(x), 3, 1).softmax(2), 24, 10, bits),
            Step("logistic function", "sigmoid", torch.sigmoid, 6, 14, bits),
            Step("SiLU", "silu", F.silu, 6, 14, bits),
            Step("quotient by a number a channel", "div", lambda x: x.flip(2) / (x.mean((2, 3), keepdim=True) + 1), 6, 14, bits),
            Step("variance of a picture, 24 channels", "var", lambda x: x.var((2, 3), keepdim=True), 24, 14, bits),
            Step("a roll of 24 channels", "roll", lambda x: torch.roll(x, (2, 2), (2, 3)), 24, 14, bits),
            Step("heads apart", "permute", lambda x: _heads(x).softmax(3).flatten(2), 24, 8, bits),
        )
    ),
)
"""Held out of the fit."""
