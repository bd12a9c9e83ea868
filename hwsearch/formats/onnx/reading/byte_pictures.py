"""Conversions of pictures from and to bytes at the ends of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import GraphProto, NodeProto, TensorProto, helper

from hwsearch.formats.reading.byte_pictures import BytePictures

MOVES = ("Transpose", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice")
"""Operators that bytes may pass on their way to or from a conversion."""
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
    readers = [node for node in graph.node if name in node.input]
    return bool(readers) and all(
        _converts(node, FLOATS) or (node.op_type in MOVES and node.input[0] == name and _only_converted(graph, node.output[0]))
        for node in readers
    )


def _unconverted(graph: GraphProto) -> bool:
    """Make a value pass where the first output is converted to bytes, and where it is rounded right before."""
    writers = {output: node for node in graph.node for output in node.output}
    converts = _before(graph.output[0].name, writers, MOVES)
    if converts is None or not _converts(converts, (TensorProto.UINT8,)):
        return False
    rounds = _before(converts.input[0], writers, (*MOVES, "Clip", "Min", "Max"))
    for node in (converts, rounds):
        if node is not None and (node is converts or node.op_type in ("Round", "Floor")):
            node.CopyFrom(helper.make_node("Identity", list(node.input[:1]), list(node.output), name=node.name))
    return True


def _before(name: str, writers: Mapping[str, NodeProto], passed: tuple[str, ...]) -> NodeProto | None:
    """What writes a value, before the operators that are ``passed``."""
    node = writers.get(name)
    while node is not None and node.op_type in passed:
        node = writers.get(node.input[0])
    return node
