"""Exact rewritings of a traced graph: each replaces nodes by fewer or plainer ones that compute the same function.

``simplify`` folds scales and shifts of channels (``Affine``), zeros around pictures and rows and columns cut off (``Pad``), and
activations into their neighbours. A lone ``Affine`` of pictures is a depthwise 1x1 convolution; what cannot be folded stays.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from searchspaces.ir.channel_order import taken_up
from searchspaces.ir.framed import padded_convolutions
from searchspaces.ir.graph import Node
from searchspaces.ir.recognise import of_pictures, recognise
from searchspaces.ops.base import Op
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.input import Input, Unknown
from searchspaces.ops.maps.activation import FUSED, Activation
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.maps.elementwise import Add, Mul
from searchspaces.ops.moves.move import Permute, PixelShuffle
from searchspaces.ops.moves.pad import Pad
from searchspaces.ops.reductions.norm import GroupNorm, InstanceNorm, LayerNorm, RmsNorm, UnitNorm
from searchspaces.ops.state import Remember, State


def simplify(nodes: list[Node]) -> list[Node]:
    """The nodes, in execution order, with helpers and activations folded into their neighbours."""
    nodes = padded_convolutions(computed_once(taken_up(recognise(nodes))))
    _normalize_in_place(nodes)
    _fold_pads(nodes)
    while _fold_one(nodes):
        pass
    by_name = {node.name: node for node in nodes}
    nodes = [_as_depthwise(n) if n.op == Affine(1) and of_pictures(by_name, n.inputs[0]) else n for n in nodes]
    while _fold_one(nodes):  # activations behind what is a convolution only now
        pass
    return with_shared([plain for node in nodes for plain in _as_arithmetic(node)])


def computed_once(nodes: list[Node]) -> list[Node]:
    """What is computed twice from the same tensors by the same numbers is computed once, as compilers do; the last node stays."""
    stands, found = dict[str, str](), list[Node]()
    alike: dict[tuple[Op, tuple[str, ...]], list[Node]] = {}
    for own in nodes:
        inputs = tuple(stands.get(source, source) for source in own.inputs)
        node = own if inputs == own.inputs else replace(own, inputs=inputs)
        if isinstance(node.op, Input | Unknown | State | Remember):
            found.append(node)
            continue
        earlier = alike.setdefault((node.op, inputs), [])
        twin = next((other for other in earlier if _same_weights(other, node)), None)
        if twin is None or node.name == nodes[-1].name:
            earlier.append(node)
            found.append(node)
        else:
            stands[node.name] = twin.name
    return found


def _same_weights(one: Node, other: Node) -> bool:
    if one.parameter != other.parameter or one.weight_shapes != other.weight_shapes:
        return False
    return all(torch.equal(weight, other.weights[role]) for role, weight in one.weights.items())


def with_shared(nodes: list[Node]) -> list[Node]:
    """``Node.parameter`` only where layers still share it: what was folded into one of them and not into another parts them."""
    users: dict[str, list[Node]] = {}
    for node in nodes:
        if node.op.quantized and node.parameter:
            users.setdefault(node.parameter, []).append(node)
    name_of: dict[str, str] = {}
    for parameter, layers in users.items():
        kinds: list[list[Node]] = []
        for node in layers:
            weight = node.weights[node.op.quantized]
            alike = (kind for kind in kinds if torch.equal(kind[0].weights[kind[0].op.quantized], weight))
            kind = next(alike, None)
            if kind is None:
                kinds.append([node])
            else:
                kind.append(node)
        shared = [kind for kind in kinds if len(kind) > 1]
        for number, kind in enumerate(shared):
            name_of |= dict.fromkeys((node.name for node in kind), parameter if number == 0 else f"{parameter}@{number + 1}")
    return [n if n.parameter == name_of.get(n.name, "") else replace(n, parameter=name_of.get(n.name, "")) for n in nodes]


def _as_arithmetic(node: Node) -> list[Node]:
    """An affine that nothing took up as what runtimes have: a product and a sum with constants."""
    if not isinstance(node.op, Affine):
        return [node]
    scale, shift = (_operand(node.weights[role], node.op.axis) for role in ("scale", "shift"))
    if not bool((shift != 0).any()):
        return [Node(node.name, Mul(), node.inputs, {"other": scale})]
    if not bool((scale != 1).any()):
        return [Node(node.name, Add(), node.inputs, {"other": shift})]
    first = Node(f"{node.name}.scale", Mul(), node.inputs, {"other": scale})
    return [first, Node(node.name, Add(), (first.name,), {"other": shift})]


def _operand(values: Tensor, axis: int) -> Tensor:
    """One value per channel as an operand that broadcasts; one number where all are equal."""
    if bool((values == values[0]).all()):
        return values[:1].clone()
    return values.view(-1, 1, 1) if axis == 1 else values


def _index(nodes: list[Node], name: str) -> int:
    return next(i for i, node in enumerate(nodes) if node.name == name)


def _readers(nodes: list[Node]) -> dict[str, list[Node]]:
    """Who reads what, each reader once."""
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in dict.fromkeys(node.inputs):
            readers.setdefault(name, []).append(node)
    return readers


def _drop(nodes: list[Node], name: str, instead: str) -> None:
    """Remove a node; whoever read it reads ``instead``."""
    del nodes[_index(nodes, name)]
    for i, node in enumerate(nodes):
        if name in node.inputs:
            nodes[i] = replace(node, inputs=tuple(instead if source == name else source for source in node.inputs))


CHANNELS_LAST, CHANNELS_FIRST = Permute((0, 2, 3, 1)), Permute((0, 3, 1, 2))


def _normalize_in_place(nodes: list[Node]) -> None:
    """A picture whose channels are put last for a normalization, and back, is normalized where it stands."""
    for name in [node.name for node in nodes if isinstance(node.op, LayerNorm | RmsNorm | UnitNorm)]:
        by_name, readers = {node.name: node for node in nodes}, _readers(nodes)
        node = by_name[name]  # as it is now: what it reads may have been another norm's order back
        if not isinstance(node.op, LayerNorm | RmsNorm | UnitNorm) or node.op.axes not in ((-1,), (3,)):
            continue
        turned, behind = by_name[node.inputs[0]], readers.get(node.name, [])
        if turned.op == CHANNELS_LAST and [reader.op for reader in behind] == [CHANNELS_FIRST] and nodes[-1] not in behind:
            nodes[_index(nodes, node.name)] = replace(node, op=replace(node.op, axes=(1,)), inputs=turned.inputs)
            _drop(nodes, behind[0].name, node.name)
            if readers[turned.name] == [node]:
                del nodes[_index(nodes, turned.name)]


def _fold_pads(nodes: list[Node]) -> None:
    """Move pads until a convolution takes them up: zeros the one that reads them, cuts the one that feeds them."""
    changed = True
    while changed:
        readers = _readers(nodes)
        changed = any(_fold_pad(nodes, readers, pad, pad.op) for pad in nodes if isinstance(pad.op, Pad) and foldable(pad.op))


def foldable(pad: Pad) -> bool:
    """Whether a pad is of a kind that convolutions have: zeros around height and width, in numbers."""
    return pad.mode == "constant" and pad.value == 0 and len(pad.padding) == 4 and all(isinstance(s, int) for s in pad.padding)


def _fold_pad(nodes: list[Node], readers_of: dict[str, list[Node]], pad: Node, op: Pad) -> bool:
    """One step of one pad; whether anything changed, and ``readers_of`` holds no longer."""
    amount = op.amounts
    if not any(amount):
        _drop(nodes, pad.name, pad.inputs[0])
        return True
    if _given_to_readers(nodes, readers_of.get(pad.name, []), pad, amount):
        return True
    return max(amount) <= 0 and len(readers_of[pad.inputs[0]]) == 1 and _given_to_source(nodes, pad, amount)


def _given_to_readers(nodes: list[Node], readers: list[Node], pad: Node, amount: tuple[int, ...]) -> bool:
    """A pad becomes that of the convolutions and pads that read it, if all of them can have it."""
    if not readers or nodes[-1].name == pad.name or not all(_takes_up(reader) for reader in readers):
        return False
    wider = [_widened(reader, amount) for reader in readers]
    cut = any(side < 0 < own for reader in readers for side, own in zip(amount, _padding(reader), strict=True))
    if cut or not all(isinstance(reader.op, Pad) or min(_padding(reader)) >= 0 for reader in wider):
        return False
    for reader in wider:
        nodes[_index(nodes, reader.name)] = reader
    _drop(nodes, pad.name, pad.inputs[0])
    return True


def _given_to_source(nodes: list[Node], cut: Node, amount: tuple[int, ...]) -> bool:
    """A cut becomes less padding of the convolution that it alone reads, or goes before what works place by place."""
    source = nodes[_index(nodes, cut.inputs[0])]
    if isinstance(source.op, Conv) and source.op.stride == 1 and min(_padding(_widened(source, amount))) >= 0:
        nodes[_index(nodes, source.name)] = _widened(source, amount)
        _drop(nodes, cut.name, source.name)
        return True
    factor = source.op.factor if isinstance(source.op, PixelShuffle) else 1
    if not isinstance(source.op, PixelShuffle | Activation | Affine) or any(side % factor for side in amount):
        return False
    before = tuple(side // factor for side in amount)
    nodes[_index(nodes, source.name)] = replace(source, inputs=(cut.name,))
    del nodes[_index(nodes, cut.name)]
    nodes.insert(_index(nodes, source.name), replace(cut, inputs=source.inputs, op=Pad(before)))
    for i, node in enumerate(nodes):
        if cut.name in node.inputs and node.name != source.name:
            nodes[i] = replace(node, inputs=tuple(source.name if name == cut.name else name for name in node.inputs))
    return True


def _widened(node: Node, amount: tuple[int, ...]) -> Node:
    return node.with_op(padding=tuple(a + b for a, b in zip(_padding(node), amount, strict=True)))


def _takes_up(node: Node) -> bool:
    """Whether a node can pad its input itself."""
    return isinstance(node.op, Conv) or (isinstance(node.op, Pad) and foldable(node.op))


def _padding(node: Node) -> tuple[int, ...]:
    """Zeros that a convolution or a pad puts around its input."""
    if isinstance(node.op, Conv):
        return node.op.padding
    assert isinstance(node.op, Pad)
    return node.op.amounts


def _fold_one(nodes: list[Node]) -> bool:
    """Fold the first affine or activation that can be folded into the node before it; whether there was one."""
    by_name = {node.name: node for node in nodes}
    count: dict[str, int] = {nodes[-1].name: 1}
    for node in nodes:
        for name in node.inputs:
            count[name] = count.get(name, 0) + 1
    for node in nodes:
        if not isinstance(node.op, Affine | Activation) or (isinstance(node.op, Activation) and not isinstance(node.op, FUSED)):
            continue
        source, factor = by_name[node.inputs[0]], 1
        alone = count[source.name] == 1
        if isinstance(source.op, PixelShuffle) and alone:  # per-channel operations commute with a shuffle of channels
            factor = source.op.factor**2
            source = by_name[source.inputs[0]]
            alone = count[source.name] == 1
        if not alone or source.activation is not None:
            continue
        weights = {key: value.repeat_interleave(factor) for key, value in node.weights.items()}
        if isinstance(node.op, Affine):
            if not _scalable(source, node):
                continue
            merged = _scaled(source, weights["scale"], weights["shift"])
        else:
            if not isinstance(source.op, Conv | Linear | Add) or (isinstance(source.op, Linear) and node.weights):
                continue  # slopes belong to axis 1
            merged = replace(source.with_op(activation=node.op), weights={**source.weights, **weights})
        nodes[_index(nodes, source.name)] = merged
        _drop(nodes, node.name, node.inputs[0])
        return True
    return False


def _scaled(source: Node, scale: Tensor, shift: Tensor) -> Node:
    """A convolution, normalization or affine followed by an affine, as one."""
    if isinstance(source.op, Affine):
        return source.with_weights(scale=source.weights["scale"] * scale, shift=source.weights["shift"] * scale + shift)
    if isinstance(source.op, RmsNorm):
        return source.with_weights(weight=source.weights.get("weight", torch.ones_like(scale)) * scale)
    weight = source.weights.get("weight", torch.ones_like(scale))
    bias = source.weights.get("bias", weight.new_zeros(weight.shape[0]))
    return source.with_weights(weight=weight * scale.view(-1, *[1] * (weight.ndim - 1)), bias=bias * scale + shift)


def _scalable(source: Node, behind: Node) -> bool:
    """Whether a node can take up the scale and shift of the ``Affine`` behind it: its channels lie on the same axis."""
    assert isinstance(behind.op, Affine)
    match source.op:
        case Conv() | GroupNorm() | InstanceNorm():
            return behind.op.axis == 1
        case Linear():
            return behind.op.axis == -1
        case Affine(axis=axis) | LayerNorm(axes=(axis,)):
            return axis == behind.op.axis
        case RmsNorm(axes=(axis,)):
            return axis == behind.op.axis and not bool((behind.weights["shift"] != 0).any())
    return False


def _as_depthwise(node: Node) -> Node:
    channels = node.weights["scale"].numel()
    weights = {"weight": node.weights["scale"].view(-1, 1, 1, 1).clone(), "bias": node.weights["shift"].clone()}
    return Node(node.name, Conv(groups=channels), node.inputs, weights)
