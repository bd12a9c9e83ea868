"""Padding, rolling, means and reciprocal roots as TFLite files, beside LiteRT's reference kernels and TensorFlow Lite Micro: code
for code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from random_networks import quantize
from torch import Tensor

from hwmodels.errors import FileError
from hwsearch.formats.running.runtime import Runtime
from hwsearch.formats.tflite import litert, tflm
from hwsearch.formats.tflite.write import to_bytes
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ops.base import Op
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.input import Input
from searchspaces.ops.maps.activation import Exp, Gelu, LeakyRelu, PRelu, Relu, Rsqrt, Sigmoid, Silu, Tanh
from searchspaces.ops.maps.elementwise import Add, Mul
from searchspaces.ops.moves.move import Concat, Flip, Gather, Permute, PixelShuffle, PixelUnshuffle, Repeat, Reshape, Roll
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.moves.resize import Resize
from searchspaces.ops.moves.windows import Windows
from searchspaces.ops.reductions.reduce import MaxPool, Mean

SIZE = (9, 12)


def conv(channels: int, outputs: int, side: int = 3, padding: int = 0) -> tuple[Op, Mapping[str, Tensor]]:
    random = torch.Generator().manual_seed(channels * outputs)
    weight = torch.randn(outputs, channels, side, side, generator=random) / (channels * side**2) ** 0.5
    return Conv(padding=(padding,) * 4, activation=Relu()), {
        "weight": weight,
        "bias": torch.randn(outputs, generator=random) * 0.1,
    }


def chain(*steps: Op | tuple[Op, Mapping[str, Tensor]]) -> Graph:
    """Operators one after the other on a picture of three channels."""
    nodes = [Node("input", Input(3))]
    for number, step in enumerate(steps):
        op, weights = step if isinstance(step, tuple) else (step, {})
        nodes.append(Node(f"y{number}", op, (nodes[-1].name,), weights))
    return Graph("chain", tuple(nodes), multiple=2 if any(isinstance(node.op, PixelUnshuffle) for node in nodes) else 1)


def gated(broadcast: bool = True) -> Graph:
    """A picture times a gate, one a channel (``broadcast``) or one a place."""
    body, gate = conv(3, 8, padding=1), conv(8, 8, side=1)
    nodes = [Node("input", Input(3)), Node("y0", body[0], ("input",), body[1])]
    if broadcast:
        nodes.append(Node("mean", Mean(), ("y0",)))
    nodes.append(Node("y1", gate[0], (nodes[-1].name,), gate[1]))
    return Graph("gated", (*nodes, Node("y2", Mul(), ("y0", "y1"))))


SIGNED = Conv(padding=(1, 1, 1, 1)), conv(3, 8, padding=1)[1]
"""A layer without a bound."""


def attention() -> Graph:
    """A picture times the logistic function of a 1x1 layer of it."""
    body, gate = conv(3, 8, padding=1), conv(8, 8, side=1)
    nodes = Node("input", Input(3)), Node("y0", body[0], ("input",), body[1]), Node("gate", Conv(), ("y0",), gate[1])
    return Graph("attention", (*nodes, Node("y1", Sigmoid(), ("gate",)), Node("y2", Mul(), ("y0", "y1"))))


TOKENS = (Reshape((1, 3, "h * w")), Permute((0, 2, 1)))
"""A picture as tokens ``[1, H W, 3]``."""


def summed(slope: float) -> Graph:
    """A layer and what it read, and a slope."""
    body, other = conv(3, 8, padding=1), conv(8, 8, padding=1)
    nodes = (
        Node("input", Input(3)),
        Node("y0", body[0], ("input",), body[1]),
        Node("y1", Conv(padding=(1,) * 4), ("y0",), other[1]),
    )
    last = Node("y3", conv(8, 4)[0], ("y2",), conv(8, 4)[1])
    return Graph("summed", (*nodes, Node("y2", Add(activation=LeakyRelu(slope)), ("y0", "y1")), last))


def bent(*, alone: bool) -> Graph:
    """Slopes of channels, of either sign and one zero, behind a sum or the largest of windows and in front of a pixel shuffle."""
    body, other = conv(3, 8, padding=1), conv(8, 8, padding=1)
    slopes = {"slope": torch.tensor([0.05, -0.4, 1.3, 0.25, 0.0, 0.7, -1.1, 0.01])}
    nodes = [
        Node("input", Input(3)),
        Node("y0", body[0], ("input",), body[1]),
        Node("y1", Conv(padding=(1,) * 4), ("y0",), other[1]),
    ]
    if alone:
        nodes += [Node("largest", MaxPool((2, 2), (1, 1)), ("y1",)), Node("y2", PRelu(), ("largest",), slopes)]
    else:
        nodes += [Node("y2", Add(activation=PRelu()), ("y0", "y1"), slopes)]
    return Graph("bent", (*nodes, Node("y3", PixelShuffle(2), ("y2",))))


def side_by_side(axis: int, *steps: Op) -> Graph:
    """A tensor and the same turned over, concatenated."""
    nodes = chain(conv(3, 8, padding=1), *steps).nodes if not steps else chain(*steps).nodes
    last = nodes[-1].name
    return Graph("both", (*nodes, Node("turned", Flip((-1,)), (last,)), Node("both", Concat(axis), (last, "turned"))))


SIDE = Permute((0, 1, 3, 2))
"""A picture on its side, which stands in the file as the network has its axes."""
CUT = (Windows(2, 4, 2), Windows(3, 3, 2))
"""Windows of 4x3 pixels which overlap."""
GRAPHS: dict[str, Graph] = {
    "mirrored picture": chain(conv(3, 8, padding=1), Pad((1, 2, 3, 1), "reflect"), conv(8, 4)),
    "picture in its own border": chain(conv(3, 8, padding=1), Pad((1, 2, 3, 1), "replicate"), conv(8, 4)),
    "tokens in their own border": chain(*TOKENS, Pad((0, 0, 2, 5), "replicate")),
    "picture among zeros": chain(conv(3, 8, padding=1), Pad((2, 0, 1, 3)), conv(8, 4)),
    "mirrored tokens": chain(*TOKENS, Pad((0, 0, 2, 5), "reflect")),
    "shifted picture": chain(conv(3, 8, padding=1), Roll((-3, 15), (2, 3)), conv(8, 4)),
    "shifted channels and a shift of nothing": chain(conv(3, 8, padding=1), Roll((3, 9), (1, 2)), conv(8, 4)),
    "shifted tokens": chain(*TOKENS, Roll((7, 1), (1, -1))),
    "turned over": chain(conv(3, 8, padding=1), Flip((1, 3)), conv(8, 4)),
    "channels in another order": chain(conv(3, 8, padding=1), Gather((5, 5, 0, -1), 1), conv(4, 4)),
    "rows in another order": chain(*TOKENS, Gather((8, 0, 3), -2)),
    "windows of a picture": chain(conv(3, 8, padding=1), *CUT, Permute((0, 1, 4, 5, 2, 3)), Reshape((1, 96, -1))),
    "windows of tokens in another order": chain(*TOKENS, Windows(-2, 5, 3, 2)),
    "behind pixels in blocks": chain(conv(3, 12, padding=1), PixelShuffle(2), Pad((1, 1, 1, 1), "reflect"), conv(3, 4)),
    "pixels of blocks as channels": chain(PixelUnshuffle(2), conv(12, 4, padding=1)),
    "pixels of blocks that a layer wrote, as channels": chain(conv(3, 4, padding=1), PixelUnshuffle(2), conv(16, 4, padding=1)),
    "pixels of blocks out": chain(conv(3, 4, padding=1), PixelUnshuffle(2)),
    "pixels of blocks as tokens": chain(PixelUnshuffle(2), Reshape((1, 12, -1)), Permute((0, 2, 1))),
    "copies out": chain(conv(3, 4, padding=1), Repeat(3)),
    "mean of a picture": chain(conv(3, 8, padding=1), Mean(), conv(8, 32, side=1)),
    "mean of a picture, then tokens": chain(conv(3, 8, padding=1), Mean((2, 3), keepdims=False), Reshape((1, 2, 4))),
    "mean of channels": chain(conv(3, 8, padding=1), Mean((1,))),
    "mean of tokens": chain(*TOKENS, Mean((-1,))),
    "picture times a gate a channel": gated(),
    "picture times a gate a place": gated(broadcast=False),
    "tokens squared": Graph("s", (*chain(*TOKENS).nodes, Node("y2", Mul(), ("y1", "y1")))),
    "reciprocal root": chain(Exp(), Rsqrt()),
    "logistic function": chain(SIGNED, Sigmoid(), conv(8, 4)),
    "logistic function out": chain(SIGNED, Sigmoid()),
    "hyperbolic tangent": chain(SIGNED, Tanh(), conv(8, 4)),
    "logistic function of tokens": chain(SIGNED, Reshape((1, 8, "h * w")), Sigmoid()),
    "attention of pixels": attention(),
    "SiLU": chain(SIGNED, Silu(), conv(8, 4)),
    "slope that stands alone": chain(SIGNED, LeakyRelu(0.1), conv(8, 4)),
    "slope above one": chain(SIGNED, LeakyRelu(1.5)),
    "slope behind a sum": summed(0.05),
    "steep slope behind a sum": summed(1.25),
    "slopes of channels behind a sum": bent(alone=False),
    "slopes of channels that stand alone": bent(alone=True),
    "largest of windows": chain(conv(3, 8, padding=1), MaxPool((3, 2), (2, 2)), conv(8, 4)),
    "largest of windows with a border": chain(conv(3, 8, padding=1), MaxPool((3, 3), (2, 2), (1, 1)), conv(8, 4)),
    "largest of windows of signed values": chain(SIGNED, MaxPool((3, 3), (1, 1), (1, 1)), conv(8, 4)),
    "largest of windows on its side": chain(conv(3, 8, padding=1), SIDE, MaxPool((3, 2), (2, 2)), SIDE),
    "copies on its side": chain(conv(3, 8, padding=1), SIDE, Repeat(3), SIDE),
    "enlarged on its side": chain(conv(3, 8, padding=1), SIDE, Resize("nearest", 2), SIDE),
    "picture cut off": chain(conv(3, 8, padding=1), Pad((-1, 2, 0, -3)), conv(8, 4)),
    "picture cut off all around": chain(conv(3, 8, padding=1), Pad((-1, -2, -1, -3), "reflect"), conv(8, 4)),
    "one picture under another": side_by_side(2),
    "tokens behind tokens": side_by_side(1, *TOKENS),
    "values behind values": side_by_side(-1, *TOKENS),
}
WIDTHS: dict[str, int | dict[str, int]] = {
    "8": 8,
    "16": 16,
    "8, then 16": {"input": 8, "y0": 8, "y1": 16, "y2": 16},
    "16, then 8": {"input": 16, "y0": 16, "y1": 8, "y2": 8},
}


def picture(graph: Graph) -> Tensor:
    """One of bytes, of ``SIZE`` or a little more where the network takes whole blocks."""
    sides = (-(-side // graph.multiple) * graph.multiple for side in SIZE)
    return torch.randint(0, 256, (1, 3, *sides), generator=torch.Generator().manual_seed(5)) / 255


def differing(q: QuantizedGraph, plan: Runtime) -> int:
    """How many codes of the output differ from the engine's."""
    x = picture(q.graph)
    ours, theirs = integer.run(plan.executed, x), plan.run(x)
    assert len(ours.unique()) > 3
    step = plan.executed.formats[q.graph.output.name].scale
    return int(((ours - theirs).abs() > step / 2).sum())


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("name", GRAPHS)
def test_codes_of_the_reference_kernels(name: str, widths: str) -> None:
    q = quantize(GRAPHS[name], 8, WIDTHS[widths])
    if unsloped(q, micro=False):
        with pytest.raises(FileError, match="slopes of channels that no layer has"):
            to_bytes(q, flavour="reference", size=tuple(picture(q.graph).shape[2:]))
        return
    assert differing(q, litert.open_plan(q, reference=True)) == 0


@pytest.mark.parametrize("before", [SIDE, Reshape((1, 8, "h * w"))])
@pytest.mark.parametrize("reference", [True, False])
def test_bounds_of_what_is_no_picture_in_the_file(before: Op, reference: bool) -> None:
    q = quantize(chain(SIGNED, before, Relu(), Permute((0, 1, 3, 2) if before is SIDE else (0, 2, 1))), 8, 8)
    assert differing(q, litert.open_plan(q, reference=reference)) == 0


def unsloped(q: QuantizedGraph, *, micro: bool) -> bool:
    """Whether slopes of channels stand where LiteRT's PRELU is not: beside 16 bits, and in TensorFlow Lite Micro."""
    nodes = [node for node in q.graph.nodes if isinstance(node.op, PRelu) or isinstance(node.activation, PRelu)]
    return any(micro or any(q.formats[name].is_wide for name in (*node.inputs, node.name)) for node in nodes)


def lacking(q: QuantizedGraph) -> str:
    """What TensorFlow Lite Micro has no kernel for: gathered and mirrored tensors of 16 bits, and transposes of six axes; empty:
    it has them all. (Zeros are padded at 16 bits, too.)"""
    for node in q.graph.nodes:
        wide, op = q.formats[node.name].is_wide, node.op
        if wide and (isinstance(op, Gather | Windows) or (isinstance(op, Pad) and op.mode == "replicate")):
            return "TensorFlow Lite Micro has no GATHER of 16-bit tensors"
        if wide and isinstance(op, Pad) and op.mode == "reflect" and max(op.amounts) > 0:
            return "TensorFlow Lite Micro has no MIRROR_PAD of 16-bit tensors"
        turned = isinstance(op, Repeat | PixelUnshuffle) and not any(isinstance(r.op, Conv) for r in q.graph.readers(node.name))
        if wide and turned:  # nothing behind it reads channels in the order of the file
            return "TensorFlow Lite Micro has no GATHER of 16-bit tensors"
        sources = [q.formats[name].is_wide for name in node.inputs]
        if isinstance(op, LeakyRelu) and (wide or any(sources)):
            return "no kernel of its runtime"
        if unsloped(q, micro=True):
            return "slopes of channels that no layer has"
        if isinstance(op, Add) and isinstance(op.activation, LeakyRelu):
            return "no fused leaky_relu"
        if isinstance(op, Permute) and len(op.axes) > 5:
            return "exchanges no more than 5 axes"
    return ""


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("name", [name for name in GRAPHS if "root" not in name])
def test_codes_of_tensorflow_lite_micro(name: str, widths: str) -> None:
    q = quantize(GRAPHS[name], 8, WIDTHS[widths])
    if refusal := lacking(q):
        with pytest.raises(FileError, match=refusal):
            to_bytes(q, flavour="micro", size=tuple(picture(q.graph).shape[2:]))
    else:
        assert differing(q, tflm.open_plan(q)) == 0


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize(
    "name", [name for name in GRAPHS if not ("tokens" in name and "mean" not in name) and "root" not in name]
)
def test_codes_of_the_fast_kernels(name: str, widths: str) -> None:
    q = quantize(GRAPHS[name], 8, WIDTHS[widths])
    if unsloped(q, micro=False):
        with pytest.raises(FileError, match="slopes of channels that no layer has"):
            to_bytes(q, size=tuple(picture(q.graph).shape[2:]))
        return
    assert differing(q, litert.open_plan(q)) == 0


REFUSED: dict[str, tuple[Graph, str, str]] = {
    "a bicubic interpolation": (chain(Resize("bicubic", 2)), "reference", "no kernel of resize bicubic"),
    "an exponential on a microcontroller": (chain(Exp()), "micro", "kernel of EXP is for floating point alone"),
    "GELU on a microcontroller": (chain(Gelu()), "micro", "it has no GELU"),
    "a product of eight axes on a microcontroller": (
        chain(
            Reshape((1, 1, 1, 1, 3, 1, "h", "w")), (Mul(), {"other": torch.tensor([0.5, 2.0]).reshape(1, 1, 1, 1, 1, 2, 1, 1)})
        ),
        "micro",
        "computes wrongly with tensors of more than 7 axes",
    ),
    "a border of ones": (chain(Pad((1, 1), value=1.0)), "reference", "adds zeros or what is mirrored"),
    "a root of less than nothing": (chain((Conv(), conv(3, 3)[1]), Rsqrt()), "reference", "stops at codes below zero"),
}


def test_small_gates_are_computed_in_sixteen_bits() -> None:
    """The 8-bit kernel writes steps of 1/256: nothing would be left of gates of a few thousandths."""
    layer = SIGNED[0], {**SIGNED[1], "bias": SIGNED[1]["bias"] - 6}
    q = quantize(chain(layer, Sigmoid()), 8, 8)
    assert q.formats["y1"].scale < 1 / 4096
    exact = execute(q.graph, picture(q.graph))
    for plan in (litert.open_plan(q), litert.open_plan(q, reference=True), tflm.open_plan(q)):
        assert differing(q, plan) == 0
        assert (integer.run(plan.executed, picture(q.graph)) - exact).abs().max() < 1 / 1024


def stepping(q: QuantizedGraph, **scales: float) -> QuantizedGraph:
    """The network with other scales of some tensors."""
    return replace(q, formats={name: replace(fmt, scale=scales.get(name, fmt.scale)) for name, fmt in q.formats.items()})


@pytest.mark.parametrize(("op", "step"), [(Sigmoid(), 2.0**-12), (Sigmoid(), 2.0**-12 * 1.0006), (Tanh(), 2.0**-11 * 0.9995)])
def test_sixteen_bit_curves_of_steps_near_a_power_of_two_are_refused_for_fast_kernels(op: Op, step: float) -> None:
    """LiteRT has a kernel of its own for them. Others are one for all."""
    q = stepping(quantize(chain(SIGNED, op), 8, 16), y0=step)
    with pytest.raises(FileError, match="nearly a power of two"):
        to_bytes(q, flavour="litert", size=SIZE)
    assert differing(q, litert.open_plan(q, reference=True)) == differing(q, tflm.open_plan(q)) == 0


@pytest.mark.parametrize(
    ("op", "step"),
    [(Sigmoid(), 2.0**-11), (Sigmoid(), 2.0**-13), (Tanh(), 2.0**-10), (Tanh(), 2.0**-13), (Sigmoid(), 2.0**-12 * 1.0008)],
)
def test_sixteen_bit_curves_of_other_steps_are_the_same_in_all_kernels(op: Op, step: float) -> None:
    q = stepping(quantize(chain(SIGNED, op), 8, 16), y0=step)
    for plan in (litert.open_plan(q), litert.open_plan(q, reference=True), tflm.open_plan(q)):
        assert differing(q, plan) == 0


@pytest.mark.parametrize(("op", "step"), [(Sigmoid(), 2.0**-5 * 1.0005), (Tanh(), 2.0**-5), (Tanh(), 2.0**-4 * 1.0005)])
def test_small_gates_whose_finer_steps_would_be_near_a_power_of_two(op: Op, step: float) -> None:
    """They are brought to other finer steps, and stay in 16 bits."""
    q = stepping(quantize(chain(SIGNED, op), 8, 8), y0=step, y1=2.0**-10)
    for plan in (litert.open_plan(q), litert.open_plan(q, reference=True), tflm.open_plan(q)):
        assert differing(q, plan) == 0
        assert (plan.executed.formats["y1"].scale) == 2.0**-10


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_operator_is_refused_with_the_reason(name: str) -> None:
    graph, flavour, reason = REFUSED[name]
    with pytest.raises(FileError, match=reason):
        to_bytes(quantize(graph, 8, 8), flavour=flavour, size=SIZE)


def test_a_mean_of_more_codes_than_32_bits_hold_is_refused() -> None:
    q = quantize(GRAPHS["mean of a picture"], 8, 16)
    with pytest.raises(FileError, match="can overflow the 32 bits"):
        to_bytes(q, flavour="reference", size=(256, 257))
