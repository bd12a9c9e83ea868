"""State between frames in a TFLite file: one input more and one output more for each, both of codes, which the caller hands on.

The file computes one frame. Inputs stand behind the picture in the order of the network's states, and so do the outputs in which
they are kept: output number i becomes input number i at the next frame. A clip begins with zeros, whose code is the zero point of
the input.
"""

from __future__ import annotations

from hwsearch.formats.tflite.operators.table import WRITES
from hwsearch.formats.tflite.writing.copies import reshaped
from hwsearch.formats.tflite.writing.writer import Writer
from searchspaces.ir.graph import Node
from searchspaces.ops.state import Remember, State


@WRITES.register(State)
def _given(writer: Writer, node: Node) -> int:
    return writer.tensor(node.name, writer.qgraph.formats[node.name], writer.shapes[node.name])


@WRITES.register(Remember)
def _kept(writer: Writer, node: Node) -> int:
    """An output of its own, of a name that tells it: a tensor may be read by others, too, or be an input of the file."""
    writer.check_moved(node)
    source, shape = node.inputs[0], writer.shapes[node.name]
    x = writer.result(source)
    sides = (1, shape[1], shape[2], shape[0])
    return writer.moved(node, shape, reshaped(writer.file, f"{node.name}/sides", x, sides))
