"""Conversions of pictures from and to bytes at the ends of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from hwsearch.formats.reading.byte_pictures import BytePictures

MOVES = ("Transpose", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice")
"""Operators that bytes may pass on their way to or from a conversion."""
BOUNDS = ("Clip", "Min", "Max", "Relu")
"""What may lie between the rounding of a picture and its conversion."""
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


def left_out(graph: GraphProto) -> BytePictures:
    """Leave the conversions of a file's first input and output out, in place, where nothing but a conversion reads the bytes."""
    constants = {tensor.name for tensor in graph.initializer}
    pictures = [value for value in graph.input if value.name not in constants]
    taken = len(pictures) == 1 and _is_byte(pictures[0].type.tensor_type.elem_type) and _only_converted(graph, pictures[0].name)
    given = bool(graph.output) and _is_byte(graph.output[0].type.tensor_type.elem_type) and _unconverted(graph)
    return BytePictures(taken, given)


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


def _unconverted(graph: GraphProto) -> bool:
    """Make a value pass where the first output is converted to bytes, where it is rounded right before, and where a half is
    added to it so that cutting off rounds."""
    writers = {output: node for node in graph.node for output in node.output}
    converts = _before(graph.output[0].name, writers, MOVES)
    if converts is None or not converts.input or not _converts(converts, (TensorProto.UINT8,)):
        return False
    before = _before(converts.input[0], writers, (*MOVES, *BOUNDS))
    if before is not None and before.op_type in ("Round", "Floor") and before.input:
        cuts = before.op_type == "Floor"
        _pass(before, before.input[0])
        before = _before(before.input[0], writers, (*MOVES, *BOUNDS)) if cuts else None
    if before is not None and before.op_type == "Add" and len(before.input) == 2:
        halves = [_is_half(graph, writers, name) for name in before.input]
        if sum(halves) == 1:
            _pass(before, before.input[halves.index(False)])
    _pass(converts, converts.input[0])
    return True


def _pass(node: NodeProto, source: str) -> None:
    """Make a node hand ``source`` on."""
    node.CopyFrom(helper.make_node("Identity", [source], list(node.output), name=node.name))


def _is_half(graph: GraphProto, writers: Mapping[str, NodeProto], name: str) -> bool:
    """Whether a value is the constant 0.5."""
    found = [tensor for tensor in graph.initializer if tensor.name == name]
    node = writers.get(name)
    if node is not None and node.op_type == "Constant":
        found += [a.t for a in node.attribute if a.name == "value"]
    return len(found) == 1 and np.array_equal(numpy_helper.to_array(found[0]).reshape(-1), [0.5])


def _before(name: str, writers: Mapping[str, NodeProto], passed: tuple[str, ...]) -> NodeProto | None:
    """What writes a value, before the operators that are ``passed``; None where nothing does, or they go round in a circle."""
    seen = set()
    while (node := writers.get(name)) is not None and node.op_type in passed:
        if name in seen or not node.input:
            return None
        seen.add(name)
        name = node.input[0]
    return node
