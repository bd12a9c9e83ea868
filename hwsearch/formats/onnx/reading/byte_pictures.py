"""Conversions of pictures from and to bytes at the ends of an ONNX file."""

from __future__ import annotations

from collections import Counter

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from hwsearch.formats.reading.byte_pictures import Wiring, conversions

MOVES = ("Transpose", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice")
"""Operators that bytes may pass on their way to or from a conversion."""
KINDS = {"Round": "rounds", "Floor": "cuts", "Add": "adds", **dict.fromkeys(("Clip", "Min", "Max", "Relu"), "bounds")}
"""Others, as ``Wiring`` knows them."""
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


def left_out(graph: GraphProto) -> tuple[bool, tuple[bool, ...]]:
    """Leave the conversions of a file's first input and of its outputs out, in place, where nothing but a conversion reads the
    bytes: whether the input is bytes, and which outputs are."""
    constants = {tensor.name for tensor in graph.initializer}
    pictures = [value for value in graph.input if value.name not in constants]
    taken = len(pictures) == 1 and _is_byte(pictures[0].type.tensor_type.elem_type) and _only_converted(graph, pictures[0].name)
    given = (_is_byte(value.type.tensor_type.elem_type) and _unconverted(graph, value.name) for value in graph.output)
    return taken, tuple(given)


def _is_byte(kind: int) -> bool:
    return kind == TensorProto.UINT8


def _converts(node: NodeProto, kinds: tuple[int, ...]) -> bool:
    return node.op_type == "Cast" and next((a.i for a in node.attribute if a.name == "to"), None) in kinds


def _only_converted(graph: GraphProto, name: str) -> bool:
    """Whether all that reads a value makes floating point of it, at once or behind moves."""
    waiting, seen = [name], {name}
    while waiting:
        value = waiting.pop()
        readers = [node for node in graph.node if value in node.input]
        if not readers:
            return False
        for node in readers:
            if _converts(node, FLOATS):
                continue
            if node.op_type not in MOVES or node.input[0] != value or not node.output or node.output[0] in seen:
                return False
            seen.add(node.output[0])
            waiting.append(node.output[0])
    return True


def _unconverted(graph: GraphProto, output: str) -> bool:
    """Make a value pass where an output is converted to bytes, where it is rounded right before, and where a half is
    added to it so that cutting off rounds."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        values = [a.t for a in node.attribute if node.op_type == "Constant" and a.name == "value"]
        constants.update(zip(node.output, values, strict=False))

    def is_half(name: str) -> bool:
        return name in constants and np.array_equal(numpy_helper.to_array(constants[name]).reshape(-1), [0.5])

    reads = Counter(name for node in graph.node for name in node.input)
    reads.update(value.name for value in graph.output)
    writers = {output: node for node in graph.node for output in node.output}
    found = conversions(Wiring(writers, reads, _kind, lambda node: node.input, is_half), output)
    for node, source in found:
        node.CopyFrom(helper.make_node("Identity", [source], list(node.output), name=node.name))
    return bool(found)


def _kind(node: NodeProto) -> str:
    if node.op_type in MOVES:
        return "moves"
    return "converts" if _converts(node, (TensorProto.UINT8,)) else KINDS.get(node.op_type, "")
