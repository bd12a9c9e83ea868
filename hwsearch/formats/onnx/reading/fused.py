"""Readers of ONNX Runtime's own operators (com.microsoft) that its optimizer puts in place of several, and of the attention that
ONNX has as one operator since operator set 23.

Sources: ONNX Runtime, ``docs/ContribOperators.md``; ONNX, ``docs/Operators.md``.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from hwsearch.formats.onnx.reading.constants import Constant
from hwsearch.formats.onnx.reading.pointwise import added
from hwsearch.formats.onnx.reading.products import linear, matmul, product
from hwsearch.formats.onnx.reading.table import READS, Call, Value
from hwsearch.formats.onnx.reading.walk import Walk
from hwsearch.formats.reading.builder import Map, tensor
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.maps.activation import Gelu
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.moves.move import Permute, Reshape, Slice
from searchspaces.ops.reading import NotRead
from searchspaces.ops.reductions.norm import LayerNorm, RmsNorm
from searchspaces.ops.reductions.softmax import Softmax

HEADS_APART = (0, 2, 1, 3)
"""Tokens of heads as heads of tokens, and back."""


@READS.register("FastGelu", "BiasGelu", becomes=(Gelu, Add))
def _biased_gelu(walk: Walk, call: Call) -> Value:
    """By a tangent, and the exact one, behind a bias."""
    value = call.map()
    if call.has(1):
        value = walk.scaled(f"{call.name}.biased", value, 1.0, call.numbers(1, "its bias"))
    return walk.unary(call.name, Gelu("tanh" if call.kind == "FastGelu" else "none"), value)


@READS.register("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", becomes=(Add, LayerNorm, RmsNorm, Affine))
def _skip_norm(walk: Walk, call: Call) -> list[Map]:
    """A normalization of a sum, which is the fourth output."""
    if any(call.outputs[1:3]):
        raise NotRead("its mean or deviation is read")
    simplified = call.kind == "SkipSimplifiedLayerNormalization"
    total = added(walk, f"{call.name}.sum", call.map(), call.inputs[1] or call.map(1))
    bias = 3 if simplified else 4
    if call.has(bias):
        total = walk.scaled(f"{call.name}.biased", total, 1.0, call.numbers(bias, "its bias"))
    epsilon = float(call.attrs.get("epsilon", 1e-12))
    op = RmsNorm((-1,), epsilon) if simplified else LayerNorm((-1,), epsilon)
    roles = {"weight": 2} if simplified else {"weight": 2, "bias": 3}
    weights = {role: tensor(call.numbers(place)) for role, place in roles.items() if call.has(place)}
    return [walk.put(call.name, op, [total], weights), total, total, total]


@READS.register("FusedMatMul", becomes=(Linear, MatMul, Affine))
def _scaled_product(walk: Walk, call: Call) -> Value:
    """A product of matrices that may be turned, times a number."""
    if call.attrs.get("transBatchA", 0) or call.attrs.get("transBatchB", 0):
        raise NotRead("batches that are turned")
    sides = [_turned(walk, call.inputs[place], bool(call.attrs.get(f"trans{'AB'[place]}", 0))) for place in (0, 1)]
    made = matmul(walk, call.name, sides[0], sides[1])
    alpha = float(call.attrs.get("alpha", 1.0))
    return made if alpha == 1 else walk.scaled(f"{call.name}.scaled", made, alpha, 0.0)


def _turned(walk: Walk, value: Value | None, turns: bool) -> Value | None:
    if not turns or value is None:
        return value
    if isinstance(value, Constant):
        return replace(value, real=value.real.swapaxes(-1, -2), integers=None)
    rank = len(value.axes)
    return walk.turned(value, (*range(rank - 2), rank - 1, rank - 2))


@READS.register("Attention", becomes=(Linear, MatMul, Softmax, Affine, Add, Slice, Reshape, Permute))
def _attention(walk: Walk, call: Call) -> Value:
    """ONNX Runtime's, which begins with the layer that makes queries, keys and values; else that of ONNX."""
    if call.parsed.proto.domain != "com.microsoft":
        return _attention_of_onnx(walk, call)
    _plain(
        call,
        {3: "lengths of rows", 4: "earlier keys"},
        {"unidirectional": "a mask of what follows", "do_rotary": "turned places"},
    )
    weight, value = call.constant(1, "its weights"), call.map()
    made = linear(walk, value, weight, weight.real.T, call.numbers(2, "its bias") if call.has(2) else None)
    sizes = call.integers("qkv_hidden_sizes", default=[weight.real.shape[1] // 3] * 3)
    ends = np.cumsum([0, *sizes]).tolist()
    parts = [walk.part(f"{call.name}.part", made, 2, ends[i], ends[i + 1]) for i in range(3)]
    return _attended(walk, call, parts, call.integers("num_heads"), call.inputs[5] if call.has(5) else None)


@READS.register("MultiHeadAttention", becomes=(MatMul, Softmax, Affine, Add, Slice, Reshape, Permute))
def _multi_head(walk: Walk, call: Call) -> Value:
    _plain(call, {4: "places that are left out", 6: "earlier keys"}, {"unidirectional": "a mask of what follows"})
    parts = [call.map(place) for place in range(3)]
    if any(len(part.axes) != 3 for part in parts):
        raise NotRead("queries, keys and values packed into one tensor")
    if call.has(3):
        ends = np.cumsum([0, *(walk.shape(part)[2] for part in parts)]).tolist()
        bias = call.numbers(3, "its bias")
        parts = [walk.scaled(f"{call.name}.biased", part, 1.0, bias[ends[i] : ends[i + 1]]) for i, part in enumerate(parts)]
    return _attended(walk, call, parts, call.integers("num_heads"), call.inputs[5] if call.has(5) else None)


def _attention_of_onnx(walk: Walk, call: Call) -> Value:
    _plain(call, {4: "earlier keys", 6: "lengths of rows"}, {"is_causal": "a mask of what follows", "softcap": "bounded scores"})
    if any(call.outputs[1:]):
        raise NotRead("its scores are read")
    parts, mask = [call.map(place) for place in range(3)], call.inputs[3] if call.has(3) else None
    if isinstance(mask, Constant) and mask.real.dtype == np.bool_:
        raise NotRead("a mask of yes and no; add one of numbers")
    if len(parts[0].axes) == 3:
        heads, others = (call.integers(key) for key in ("q_num_heads", "kv_num_heads"))
        if heads != others:
            raise NotRead("keys that several heads share")
        return _attended(walk, call, parts, heads, mask)
    if len({walk.shape(part)[1] for part in parts}) > 1:
        raise NotRead("keys that several heads share")
    return _mixed(walk, call, parts, mask)


def _plain(call: Call, inputs: dict[int, str], attributes: dict[str, str]) -> None:
    """Raises NotRead where one of these inputs or attributes is given."""
    for place, what in inputs.items():
        if call.has(place):
            raise NotRead(what)
    for attribute, what in attributes.items():
        if call.attrs.get(attribute, 0):
            raise NotRead(what)


def _attended(walk: Walk, call: Call, parts: list[Map], heads: int, bias: Value | None) -> Map:
    """Attention of tokens ``[N, tokens, channels]`` in so many heads."""
    apart = []
    for part in parts:
        count, tokens, channels = walk.shape(part)
        each = walk.reshaped(f"{call.name}.heads", part, (count, tokens, heads, channels // heads))
        apart.append(walk.turned(each, HEADS_APART))
    mixed = walk.turned(_mixed(walk, call, apart, bias), HEADS_APART)
    count, tokens, _, channels = walk.shape(mixed)
    return walk.reshaped(f"{call.name}.tokens", mixed, (count, tokens, heads * channels))


def _mixed(walk: Walk, call: Call, parts: list[Map], bias: Value | None) -> Map:
    """Values ``[N, heads, tokens, channels]`` by the softmax of the products of queries and keys, in which ``bias`` is added."""
    queries, keys, values = parts
    scale = float(call.attrs.get("scale", 0.0)) or 1.0 / math.sqrt(walk.shape(queries)[3])
    scores = product(walk, f"{call.name}.scores", queries, walk.turned(keys, (0, 1, 3, 2)))
    scores = walk.scaled(f"{call.name}.scaled", scores, scale, 0.0)
    if bias is not None:
        scores = added(walk, f"{call.name}.biased", scores, bias)
    shares = walk.put(f"{call.name}.shares", Softmax(-1), [scores])
    return product(walk, call.name, shares, values)
