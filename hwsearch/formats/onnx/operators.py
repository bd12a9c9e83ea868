"""Every operator in single-precision ONNX: what the float file is made of, and what stands between codes without an integer form.

One function an operator; it gets the writer, the node and the names of the tensors that it reads, and returns the name of its
result, which is ``name`` where one is given. Sizes that depend on the picture are computed in the file (``Writer.extent``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from searchspaces.ir.graph import Node
from searchspaces.ops import activation as act
from searchspaces.ops import elementwise as ew
from searchspaces.ops import move as mv
from searchspaces.ops import norm as nm
from searchspaces.ops import reduce as rd
from searchspaces.ops.affine import Affine
from searchspaces.ops.conv import Conv
from searchspaces.ops.grid_sample import GridSample
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.linear import Linear
from searchspaces.ops.matmul import MatMul
from searchspaces.ops.pad import Pad
from searchspaces.ops.resize import Resize
from searchspaces.ops.softmax import Softmax
from searchspaces.ops.table import OpTable

if TYPE_CHECKING:
    from hwsearch.formats.onnx.writer import Writer

Write = Callable[["Writer", Node, list[str], str], str]
WRITES: OpTable[Write] = OpTable("ONNX")
WRITES.lacks("nobody knows what it computes", Unknown)


@WRITES.register(Input)
def _input(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    return "input"


@WRITES.register(Conv)
def _conv(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    return writer.op("Conv", [xs[0], *writer.weights(node)], name, **window(node))


@WRITES.register(Linear)
def _linear(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    weight, *bias = writer.weights(node)
    matrix = writer.op("Reshape", [weight, writer.const(node.weights["weight"].shape[:2], np.int64)])
    turned = writer.op("Transpose", [matrix], perm=[1, 0])
    if not bias:
        return writer.op("MatMul", [xs[0], turned], name)
    return writer.op("Add", [writer.op("MatMul", [xs[0], turned]), *bias], name)


@WRITES.register(MatMul)
def _matmul(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    op = node.op
    assert isinstance(op, MatMul)
    sides = []
    for x, source, turn in zip(xs, node.inputs, (op.transpose_a, op.transpose_b), strict=True):
        *lead, last, first = range(len(writer.shapes[source]))
        sides.append(writer.op("Transpose", [x], perm=[*lead, first, last]) if turn else x)
    return writer.op("MatMul", sides, name)


@WRITES.register(Affine)
def _affine(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, Affine)
    sides = [1] * len(writer.shapes[node.name])
    sides[node.op.axis] = -1
    scale, shift = (writer.const(node.weights[key].numpy().reshape(sides)) for key in ("scale", "shift"))
    return writer.op("Add", [writer.op("Mul", [xs[0], scale]), shift], name)


# Element by element


def operands(writer: Writer, node: Node, xs: list[str]) -> list[str]:
    """Both operands of an element-wise operation, one of which may be a constant."""
    if "other" not in node.weights:
        return xs
    constant = writer.const(node.weights["other"].numpy())
    return [constant, *xs] if getattr(node.op, "constant_first", False) else [*xs, constant]


def _pointwise(kind: str) -> Write:
    return lambda writer, node, xs, name: writer.op(kind, operands(writer, node, xs), name)


for _cls, _kind in {
    ew.Add: "Add", ew.Sub: "Sub", ew.Mul: "Mul", ew.Div: "Div", ew.Minimum: "Min", ew.Maximum: "Max",
}.items():  # fmt: skip
    WRITES.put(_pointwise(_kind), _cls)


@WRITES.register(ew.SquaredDifference)
def _squared(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    difference = writer.op("Sub", operands(writer, node, xs))
    return writer.op("Mul", [difference, difference], name)


@WRITES.register(ew.Where)
def _where(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    mask = writer.const(node.weights["mask"].numpy() != 0, np.bool_)
    return writer.op("Where", [mask, *operands(writer, node, xs)], name)


# Functions of one value


def _function(kind: str, **attrs: Any) -> Write:
    return lambda writer, node, xs, name: writer.op(kind, [xs[0]], name, **attrs)


for _activation, _kind in {
    act.Relu: "Relu", act.Sigmoid: "Sigmoid", act.Tanh: "Tanh", act.HardSwish: "HardSwish", act.Softplus: "Softplus",
    act.Erf: "Erf", act.Exp: "Exp", act.Log: "Log", act.Sqrt: "Sqrt", act.Reciprocal: "Reciprocal", act.Abs: "Abs",
    act.Neg: "Neg", act.Sin: "Sin", act.Cos: "Cos",
}.items():  # fmt: skip
    WRITES.put(_function(_kind), _activation)
WRITES.put(_function("HardSigmoid", alpha=1 / 6, beta=0.5), act.HardSigmoid)


@WRITES.register(act.Relu6, act.Clip)
def _clip(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    low, high = act.bounds(node.op if isinstance(node.op, act.Activation) else None)
    return writer.op("Clip", [xs[0], writer.const(low), writer.const(high)], name)


@WRITES.register(act.LeakyRelu)
def _leaky(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, act.LeakyRelu)
    return writer.op("LeakyRelu", [xs[0]], name, alpha=float(node.op.slope))


@WRITES.register(act.PRelu)
def _prelu(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    slope = node.weights["slope"].detach().numpy().astype(np.float32)
    return writer.op("PRelu", [xs[0], writer.const(slope.reshape(-1, 1, 1))], name)


@WRITES.register(act.Gelu)
def _gelu(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, act.Gelu)
    return writer.op("Gelu", [xs[0]], name, approximate=node.op.approximate)


@WRITES.register(act.Silu)
def _silu(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    return writer.op("Mul", [xs[0], writer.op("Sigmoid", [xs[0]])], name)


@WRITES.register(act.Elu)
def _elu(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, act.Elu)
    return writer.op("Elu", [xs[0]], name, alpha=float(node.op.alpha))


@WRITES.register(act.Rsqrt)
def _rsqrt(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    return writer.op("Reciprocal", [writer.op("Sqrt", [xs[0]])], name)


@WRITES.register(act.Pow)
def _pow(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, act.Pow)
    return writer.op("Pow", [xs[0], writer.const(node.op.exponent)], name)


# Moves


@WRITES.register(mv.Concat)
def _concat(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, mv.Concat)
    return writer.op("Concat", xs, name, axis=node.op.axis)


@WRITES.register(mv.Slice)
def _slice(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    op = node.op
    assert isinstance(op, mv.Slice)
    bounds = [writer.extents([end]) for end in (op.start, op.stop)]
    steps = [writer.const([op.step], np.int64)] if op.step != 1 else []
    return writer.op("Slice", [xs[0], *bounds, writer.const([op.axis], np.int64), *steps], name)


@WRITES.register(mv.Repeat)
def _repeat(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    op = node.op
    assert isinstance(op, mv.Repeat)
    places = np.repeat(np.arange(writer.fixed_side(node.inputs[0], op.axis)), op.times)
    return writer.op("Gather", [xs[0], writer.const(places, np.int64)], name, axis=op.axis)


@WRITES.register(mv.Gather)
def _gather(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, mv.Gather)
    return writer.op("Gather", [xs[0], writer.const(node.op.indices, np.int64)], name, axis=node.op.axis)


@WRITES.register(mv.PixelShuffle)
def _pixel_shuffle(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, mv.PixelShuffle)
    return writer.op("DepthToSpace", [xs[0]], name, blocksize=int(node.op.factor), mode="CRD")


@WRITES.register(mv.PixelUnshuffle)
def _pixel_unshuffle(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    """SpaceToDepth has all channels of a block's first pixel first; a pixel unshuffle all pixels of a channel."""
    assert isinstance(node.op, mv.PixelUnshuffle)
    factor, channels = node.op.factor, writer.shapes[node.inputs[0]][1]
    apart = writer.op("SpaceToDepth", [xs[0]], blocksize=factor)
    places = np.arange(channels * factor**2).reshape(factor**2, channels).T.reshape(-1)
    return writer.op("Gather", [apart, writer.const(places, np.int64)], name, axis=1)


@WRITES.register(mv.Reshape)
def _reshape(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, mv.Reshape)
    return writer.op("Reshape", [xs[0], writer.extents(node.op.sizes)], name)


@WRITES.register(mv.Expand)
def _expand(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, mv.Expand)
    return writer.op("Expand", [xs[0], writer.extents([1 if side == -1 else side for side in node.op.sizes])], name)


@WRITES.register(mv.Permute)
def _permute(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, mv.Permute)
    return writer.op("Transpose", [xs[0]], name, perm=list(node.op.axes))


def _part(writer: Writer, x: str, axis: int, start: int, stop: int, step: int = 1) -> str:
    return writer.op("Slice", [x, *(writer.const([value], np.int64) for value in (start, stop, axis, step))])


_END = 2**31 - 1


@WRITES.register(mv.Roll)
def _roll(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    """What leaves at one end stands in front of the rest."""
    assert isinstance(node.op, mv.Roll)
    x = xs[0]
    for shift, axis in zip(node.op.shifts, node.op.axes, strict=True):
        if shift:
            x = writer.op("Concat", [_part(writer, x, axis, -shift, _END), _part(writer, x, axis, 0, -shift)], axis=axis)
    return writer.op("Identity", [x], name)


@WRITES.register(mv.Flip)
def _flip(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, mv.Flip)
    x = xs[0]
    for axis in node.op.axes:
        x = _part(writer, x, axis, -1, -_END, -1)
    return writer.op("Identity", [x], name)


@WRITES.register(Pad)
def _pad(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, Pad)
    return padded(writer, node, xs[0], writer.const(node.op.value), name)


def padded(writer: Writer, node: Node, x: str, value: str, name: str = "") -> str:
    """A pad with the constant ``value`` of the type of ``x``."""
    op = node.op
    assert isinstance(op, Pad)
    rank, sides = len(writer.shapes[node.inputs[0]]), op.padding
    none: Sequence[int | str] = [0] * (rank - len(sides) // 2)
    amounts = [*none, *sides[::2][::-1], *none, *sides[1::2][::-1]]
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}[op.mode]
    return writer.op("Pad", [x, writer.extents(amounts), value], name, mode=mode)


@WRITES.register(Resize)
def _resize(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    op = node.op
    assert isinstance(op, Resize)
    if op.size is not None:
        count, channels = writer.shapes[node.inputs[0]][:2]
        how = ["", "", writer.extents([count, channels, *op.size])]
    else:
        assert op.factor is not None
        how = ["", writer.const([1.0, 1.0, float(op.factor), float(op.factor)])]
    if op.mode == "nearest":
        attrs: dict[str, Any] = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        return writer.op("Resize", [xs[0], *how], name, mode="nearest", **attrs)
    if op.mode == "nearest-exact":
        attrs = {"nearest_mode": "round_prefer_ceil", "coordinate_transformation_mode": "half_pixel"}
        return writer.op("Resize", [xs[0], *how], name, mode="nearest", **attrs)
    attrs = {"mode": {"bilinear": "linear", "bicubic": "cubic"}[op.mode], "cubic_coeff_a": -0.75}
    if op.antialias:
        attrs |= {"antialias": 1, "cubic_coeff_a": -0.5}
    where = "align_corners" if op.align_corners else "half_pixel"
    return writer.op("Resize", [xs[0], *how], name, coordinate_transformation_mode=where, **attrs)


# Many values to one


def _axes(writer: Writer, axes: Sequence[int]) -> str:
    return writer.const(list(axes), np.int64)


@WRITES.register(rd.Mean)
def _mean(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, rd.Mean)
    if node.op.over_picture:
        return writer.op("GlobalAveragePool", [xs[0]], name)
    return writer.op("ReduceMean", [xs[0], _axes(writer, node.op.axes)], name, keepdims=int(node.op.keepdims))


@WRITES.register(rd.Sum, rd.Max, rd.Min)
def _reduce(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, rd.Reduction)
    kind = f"Reduce{type(node.op).__name__}"
    return writer.op(kind, [xs[0], _axes(writer, node.op.axes)], name, keepdims=int(node.op.keepdims))


@WRITES.register(rd.Var, rd.Std)
def _deviation(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    op, shape = node.op, writer.shapes[node.inputs[0]]
    assert isinstance(op, rd.Var | rd.Std)
    over, root = _axes(writer, op.axes), isinstance(op, rd.Std)
    plain = op.over_picture and op.correction == 0
    mean = writer.op("GlobalAveragePool", [xs[0]]) if plain else writer.op("ReduceMean", [xs[0], over], keepdims=1)
    centred = writer.op("Sub", [xs[0], mean])
    squares, last = writer.op("Mul", [centred, centred]), "" if root else name
    if plain:
        variance = writer.op("GlobalAveragePool", [squares], last)
    else:
        count = float(np.prod([writer.fixed_side(node.inputs[0], axis % len(shape)) for axis in op.axes]))
        total = writer.op("ReduceSum", [squares, over], keepdims=int(op.keepdims))
        variance = writer.op("Div", [total, writer.const(count - op.correction)], last)
    return writer.op("Sqrt", [variance], name) if root else variance


@WRITES.register(rd.MaxPool)
def _max_pool(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, rd.MaxPool)
    return writer.op("MaxPool", [xs[0]], name, **_pooled(node.op))


@WRITES.register(rd.AvgPool)
def _avg_pool(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, rd.AvgPool)
    return writer.op("AveragePool", [xs[0]], name, count_include_pad=int(node.op.count_padding), **_pooled(node.op))


def _pooled(op: rd.WindowPool) -> dict[str, Any]:
    return {"kernel_shape": list(op.kernel), "strides": list(op.stride), "pads": [*op.padding, *op.padding]}


@WRITES.register(GridSample)
def _grid_sample(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    op = node.op
    assert isinstance(op, GridSample)
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(op.mode, op.mode)
    return writer.op("GridSample", xs, name, mode=mode, padding_mode=op.around, align_corners=int(op.align_corners))


@WRITES.register(Softmax)
def _softmax(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, Softmax)
    return writer.op("Softmax", [xs[0]], name, axis=node.op.axis)


# Normalizations


def _scaled(writer: Writer, node: Node, x: str, axes: Sequence[int], name: str) -> str:
    """Weight and bias of a normalization over ``axes``, in their places."""
    shape = writer.shapes[node.name]
    sides = [shape[axis] if axis in [a % len(shape) for a in axes] else 1 for axis in range(len(shape))]
    for key, kind in (("weight", "Mul"), ("bias", "Add")):
        if key in node.weights:
            x = writer.op(kind, [x, writer.const(node.weights[key].numpy().reshape(sides))])
    return writer.op("Identity", [x], name)


@WRITES.register(nm.LayerNorm)
def _layer_norm(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, nm.LayerNorm)
    over = _axes(writer, node.op.axes)
    centred = writer.op("Sub", [xs[0], writer.op("ReduceMean", [xs[0], over], keepdims=1)])
    return _scaled(writer, node, _over_root(writer, centred, over, node.op.eps), node.op.axes, name)


@WRITES.register(nm.RmsNorm)
def _rms_norm(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, nm.RmsNorm)
    normal = _over_root(writer, xs[0], _axes(writer, node.op.axes), node.op.eps)
    return _scaled(writer, node, normal, node.op.axes, name)


def _over_root(writer: Writer, x: str, over: str, eps: float) -> str:
    """``x`` over the root of its mean square."""
    square = writer.op("ReduceMean", [writer.op("Mul", [x, x]), over], keepdims=1)
    return writer.op("Div", [x, writer.op("Sqrt", [writer.op("Add", [square, writer.const(eps)])])])


@WRITES.register(nm.InstanceNorm)
def _instance_norm(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    assert isinstance(node.op, nm.InstanceNorm)
    return writer.op("InstanceNormalization", [xs[0], *_per_channel(writer, node)], name, epsilon=node.op.eps)


@WRITES.register(nm.GroupNorm)
def _group_norm(writer: Writer, node: Node, xs: list[str], name: str) -> str:
    """Groups as the channels of an instance normalization, then scale and shift."""
    assert isinstance(node.op, nm.GroupNorm)
    groups, shape = node.op.groups, writer.op("Shape", [xs[0]])
    apart = writer.op("Reshape", [xs[0], writer.const([0, groups, -1], np.int64)])
    ends = [writer.const(np.full(groups, value)) for value in (1.0, 0.0)]
    normal = writer.op("InstanceNormalization", [apart, *ends], epsilon=node.op.eps)
    return _scaled(writer, node, writer.op("Reshape", [normal, shape]), (1,), name)


def _per_channel(writer: Writer, node: Node) -> list[str]:
    channels = writer.shapes[node.name][1]
    given = [node.weights.get("weight"), node.weights.get("bias")]
    values = [np.full(channels, v) if w is None else w.numpy() for w, v in zip(given, (1.0, 0.0), strict=True)]
    return [writer.const(value) for value in values]


def window(node: Node) -> dict[str, Any]:
    """Attributes of a convolution."""
    op = node.op
    assert isinstance(op, Conv)
    left, right, top, bottom = op.padding
    return {
        "pads": [int(top), int(left), int(bottom), int(right)],
        "strides": list(op.strides),
        "dilations": list(op.dilations),
        "group": int(op.groups),
    }
