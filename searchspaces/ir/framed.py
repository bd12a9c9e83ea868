"""A 1x1 convolution around whose output its own bias stands is that convolution with zeros around its input."""

from __future__ import annotations

from dataclasses import replace

import torch

from searchspaces.ir.graph import Node
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.maps.affine import Affine
from searchspaces.ops.moves.pad import Pad


def padded_convolutions(nodes: list[Node]) -> list[Node]:
    """The nodes (execution order) with such frames (``tracing.calls.frames``) as padding. Who reads the convolution without its
    frame reads a part of it."""
    found = list(nodes)
    for name in [node.name for node in nodes if isinstance(node.op, Affine)]:
        by_name = {one.name: one for one in found}
        if name not in by_name:
            continue
        node = by_name[name]
        chain = [node]
        while len(chain) < 4 and len(chain[-1].inputs) == 1:
            chain.append(by_name[chain[-1].inputs[0]])
        if node.name == nodes[-1].name or len(chain) < 4 or not _is_frame(*chain):
            continue
        pad, convolution = chain[1], chain[3]
        assert isinstance(pad.op, Pad)
        cut = Node(f"{convolution.name}.inner", Pad(tuple(-side for side in pad.op.amounts)), (convolution.name,))
        stands = {node.name: convolution.name, convolution.name: cut.name}
        gone = {one.name for one in chain[:3]}
        if any(gone & set(one.inputs) for one in found if one.name not in gone and node.name not in one.inputs):
            continue
        found = [_reading(one, stands) for one in found if one.name not in gone]
        place = next(i for i, one in enumerate(found) if one.name == convolution.name)
        found[place] = convolution.with_op(padding=pad.op.amounts)
        if any(cut.name in one.inputs for one in found):
            found.insert(place + 1, cut)
    return found


def _reading(node: Node, stands: dict[str, str]) -> Node:
    inputs = tuple(stands.get(name, name) for name in node.inputs)
    return node if inputs == node.inputs else replace(node, inputs=inputs)


def _is_frame(more: Node, pad: Node, less: Node, source: Node) -> bool:
    """Whether ``pad`` stands between a shift of channels and its opposite, which takes away a 1x1 convolution's bias."""
    if not (
        isinstance(more.op, Affine) and isinstance(pad.op, Pad) and isinstance(less.op, Affine) and isinstance(source.op, Conv)
    ):
        return False
    shift, bias = more.weights["shift"], source.weights.get("bias")
    zeros = pad.op.mode == "constant" and not pad.op.value and len(pad.op.padding) == 4 and min(pad.op.amounts) >= 0
    shifts = more.op.axis == less.op.axis == 1 and all(bool((one.weights["scale"] == 1).all()) for one in (more, less))
    if not zeros or not shifts or bias is None or source.activation is not None:
        return False
    pointwise = tuple(source.weights["weight"].shape[2:]) == (1, 1) and source.op.stride == 1 and not any(source.op.padding)
    return pointwise and torch.equal(shift, -less.weights["shift"]) and torch.equal(shift, bias)
