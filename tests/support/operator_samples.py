"""One network of every operator: the smallest one in which it reads what it is made for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.base import Op
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.input import Input
from searchspaces.ops.maps import activation as act
from searchspaces.ops.maps import elementwise as ew
from searchspaces.ops.maps import jumps
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.moves import move as mv
from searchspaces.ops.moves.grid_sample import GridSample
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.moves.windows import Windows
from searchspaces.ops.reductions import norm as nm
from searchspaces.ops.reductions import reduce as rd
from searchspaces.ops.reductions.softmax import Softmax

CHANNELS = 4


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))) * 0.5


def _network(name: str, ops: list[tuple[Op, tuple[str, ...], dict[str, Tensor]]]) -> Graph:
    nodes = [Node("x", Input(CHANNELS))]
    nodes += [Node(f"y{i}", op, inputs, weights) for i, (op, inputs, weights) in enumerate(ops)]
    return Graph(name, tuple(nodes))


def _picture(op: Op, **weights: Tensor) -> Callable[[], Graph]:
    """The operator on the picture."""
    return lambda: _network(op.kind, [(op, ("x",), weights)])


def _pair(op: Op, **weights: Tensor) -> Callable[[], Graph]:
    """The operator on the picture and on the picture upside down."""
    return lambda: _network(op.kind, [(mv.Flip((2,)), ("x",), {}), (op, ("x", "y0"), weights)])


def _tokens(op: Op, **weights: Tensor) -> Callable[[], Graph]:
    """The operator on the pixels as tokens ``[1, H W, C]``."""
    first = [(mv.Reshape((1, CHANNELS, "h * w")), ("x",), {}), (mv.Permute((0, 2, 1)), ("y0",), {})]
    return lambda: _network(op.kind, [*first, (op, ("y1",), weights)])


def _products(op: Op) -> Callable[[], Graph]:
    """The product of the tokens with themselves."""
    first = [(mv.Reshape((1, CHANNELS, "h * w")), ("x",), {}), (mv.Permute((0, 2, 1)), ("y0",), {})]
    return lambda: _network(op.kind, [*first, (op, ("y1", "y1"), {})])


_ACTIVATIONS = [
    act.Relu(), act.Relu6(), act.LeakyRelu(0.1), act.Clip(-0.5, 0.7), act.Sigmoid(), act.Tanh(), act.Gelu(), act.Silu(),
    act.Elu(0.7), act.HardSwish(), act.HardSigmoid(), act.Softplus(), act.Mish(), act.Erf(), act.Exp(), act.Abs(), act.Neg(),
    act.Sin(), act.Cos(), act.Atan(), act.Pow(2.0), jumps.Comparison(">", 0.1), jumps.Sign(),
]  # fmt: skip
_POSITIVE = [act.Log(), act.Sqrt(), act.Rsqrt(), act.Reciprocal()]


def _positive(op: Op) -> Callable[[], Graph]:
    """The operator on what is at least a half."""
    return lambda: _network(op.kind, [(act.Clip(0.5, 1.0), ("x",), {}), (op, ("y0",), {})])


SAMPLES: dict[str, Callable[[], Graph]] = {
    **{op.kind: _picture(op) for op in _ACTIVATIONS},
    **{op.kind: _positive(op) for op in _POSITIVE},
    "round": lambda: _network("round", [(ew.Mul(), ("x",), {"other": torch.tensor([4.0])}), (jumps.Round("floor"), ("y0",), {})]),
    "prelu": _picture(act.PRelu(), slope=_random(CHANNELS)),
    "affine": _picture(Affine(), scale=_random(CHANNELS), shift=_random(CHANNELS)),
    "conv": _picture(Conv(padding=(1, 1, 1, 1)), weight=_random(6, CHANNELS, 3, 3), bias=_random(6)),
    "linear": _tokens(Linear(act.Relu()), weight=_random(6, CHANNELS), bias=_random(6)),
    "matmul": _products(MatMul(transpose_b=True)),
    **{op.kind: _pair(op) for op in (ew.Add(), ew.Sub(), ew.Mul(), ew.SquaredDifference(), ew.Minimum(), ew.Maximum())},
    "div": _picture(ew.Div(), other=_random(CHANNELS, 1, 1).abs() + 0.5),
    "where": _pair(ew.Where(), mask=(_random(CHANNELS, 1, 1) > 0).float()),
    "concat": _pair(mv.Concat(2)),
    "slice": _picture(mv.Slice(1, "h - 1", axis=2, step=2)),
    "repeat": _picture(mv.Repeat(3)),
    "pixel_shuffle": _picture(mv.PixelShuffle(2)),
    "pixel_unshuffle": _picture(mv.PixelUnshuffle(2)),
    "reshape": _picture(mv.Reshape((1, CHANNELS, "h // 2", 2, "w"))),
    "permute": _picture(mv.Permute((0, 2, 3, 1))),
    "roll": _picture(mv.Roll((2, -1), (2, 3))),
    "flip": _picture(mv.Flip((2, 3))),
    "gather": _picture(mv.Gather((2, 0, 0, 3, 1))),
    "windows": _picture(Windows(3, 3, 2)),
    "expand": lambda: _network("expand", [(rd.Mean(), ("x",), {}), (mv.Expand((-1, -1, "h", "w")), ("y0",), {})]),
    "pad": _picture(Pad((1, 2, 0, 1), "reflect")),
    "layer_norm": _tokens(nm.LayerNorm(), weight=_random(CHANNELS), bias=_random(CHANNELS)),
    "rms_norm": _tokens(nm.RmsNorm(), weight=_random(CHANNELS)),
    "unit_norm": _tokens(nm.UnitNorm()),
    "group_norm": _picture(nm.GroupNorm(2), weight=_random(CHANNELS), bias=_random(CHANNELS)),
    "instance_norm": _picture(nm.InstanceNorm(), weight=_random(CHANNELS), bias=_random(CHANNELS)),
    "softmax": _tokens(Softmax()),
    **{op.kind: _picture(op) for op in (rd.Mean(), rd.Std(), rd.Max(), rd.Min(), rd.Var((1,)), rd.Sum((1,), keepdims=False))},
    "grid_sample": lambda: _network(
        "grid_sample",
        [
            (mv.Permute((0, 2, 3, 1)), ("x",), {}),
            (mv.Slice(0, 2, axis=3), ("y0",), {}),
            (GridSample(align_corners=True), ("x", "y1"), {}),
        ],
    ),
    "max_pool": _picture(rd.MaxPool((3, 3), (2, 2), (1, 1))),
    "avg_pool": _picture(rd.AvgPool((2, 2), (2, 2))),
    "resize": _picture(Resize("bicubic", size=("h * 2", "w + 3"))),
}
"""Operator's kind -> a graph whose last node is one."""
