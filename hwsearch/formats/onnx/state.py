"""State between frames in an ONNX file: one input more and one output more for each, both of codes, which the caller hands on.

The file computes one frame. ``states`` in its metadata tells which output becomes which input at the next frame, the code that
stands for zero, with which a clip begins, and how many times the picture's size the state has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnx import ValueInfoProto, helper

from searchspaces.ir.graph import Node
from searchspaces.ops.state import Remember, State

if TYPE_CHECKING:
    from hwsearch.formats.onnx.codes import CodeWriter

FACT = "states"
"""Where the file's metadata tell of them."""
ELEMENT = {"tensor(uint8)": np.uint8, "tensor(uint16)": np.uint16, "tensor(float16)": np.float16}


def given(writer: CodeWriter, node: Node) -> str:
    """The codes that come in, as an input of the file."""
    op, fmt = node.op, writer.qgraph.formats[node.name]
    assert isinstance(op, State)
    writer.more_inputs.append(_end(writer, node.name, op, "state"))
    start = 0 if fmt.is_float else fmt.zero_point
    kept = writer.qgraph.graph.remembered[node.name].name
    writer.states[node.name] = {"next": kept, "start": start, "factor": op.factor}
    return node.name


def kept(writer: CodeWriter, node: Node) -> str:
    """The codes that go out, in the format in which they will come in."""
    op, source = node.op, node.inputs[0]
    assert isinstance(op, Remember)
    state = writer.qgraph.graph[op.state]
    assert isinstance(state.op, State)
    writer.more_outputs.append(_end(writer, node.name, state.op, "next"))
    codes = writer.converted(source, writer.codes[source], writer.qgraph.formats[node.name])
    return writer.op("Identity", [codes], node.name)


def _end(writer: CodeWriter, tensor: str, state: State, prefix: str) -> ValueInfoProto:
    sides = [a if a == b else None for a, b in zip(*writer.both_shapes(tensor), strict=True)]
    named = [
        f"{prefix}_{axis}" if side is None else side for axis, side in zip(("n", "c", "height", "width"), sides, strict=True)
    ]
    return helper.make_tensor_value_info(tensor, writer.container_of(tensor), named)


def starting(session: onnxruntime.InferenceSession, height: int, width: int) -> dict[str, np.ndarray]:
    """The states with which a clip of frames ``height`` x ``width`` begins, by name of input; empty for a file without."""
    kinds = {end.name: (ELEMENT[end.type], end.shape) for end in session.get_inputs()[1:]}
    found = {}
    for name, told in _told(session).items():
        kind, shape = kinds[name]
        sides = (1, shape[1], height * told["factor"], width * told["factor"])
        found[name] = np.full(sides, told["start"], dtype=kind)
    return found


def handed_on(session: onnxruntime.InferenceSession, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The states of the next frame, by name of input, from what a frame gave by name of output."""
    return {name: outputs[told["next"]] for name, told in _told(session).items()}


def _told(session: onnxruntime.InferenceSession) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(session.get_modelmeta().custom_metadata_map.get(FACT, "{}"))
    return found
