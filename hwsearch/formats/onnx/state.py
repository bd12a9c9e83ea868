"""State between frames in an ONNX file: one input more and one output more for each, of codes where the file computes in codes,
which the caller hands on.

The file computes one frame. ``states`` in its metadata tells which output becomes which input at the next frame, the code that
stands for zero, with which a clip begins, and how many times the picture's size the state has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import ValueInfoProto, helper
from torch import Tensor

from searchspaces.ir.graph import Node
from searchspaces.ops.state import State

if TYPE_CHECKING:
    import onnxruntime

    from hwsearch.formats.onnx.writer import Writer

FACT = "states"
"""Where the file's metadata tell of them."""
ELEMENT = {
    "tensor(uint8)": np.uint8, "tensor(uint16)": np.uint16, "tensor(float16)": np.float16, "tensor(float)": np.float32
}  # fmt: skip
"""What ONNX Runtime calls types."""


def given(writer: Writer, node: Node, kind: int, start: int) -> str:
    """The tensor that comes in, as an input of the file. ``kind``: ONNX type of its elements; ``start``: the one that is zero."""
    op = node.op
    assert isinstance(op, State)
    writer.more_inputs.append(_end(writer, node.name, kind, "state"))
    writer.states[node.name] = {"next": writer.graph.remembered[node.name].name, "start": start, "factor": op.factor}
    return node.name


def kept(writer: Writer, node: Node, x: str, kind: int) -> str:
    """The tensor ``x`` as an output of the file, of the type in which it will come in."""
    writer.more_outputs.append(_end(writer, node.name, kind, "next"))
    return writer.op("Identity", [x], node.name)


def _end(writer: Writer, tensor: str, kind: int, prefix: str) -> ValueInfoProto:
    sides = [a if a == b else None for a, b in zip(*writer.both_shapes(tensor), strict=True)]
    named = [
        f"{prefix}_{axis}" if side is None else side for axis, side in zip(("n", "c", "height", "width"), sides, strict=True)
    ]
    return helper.make_tensor_value_info(tensor, kind, named)


Frame = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]
"""One run of a file: its inputs by name to its outputs in their order."""


@dataclass(frozen=True)
class Ends:
    """Inputs and outputs of a file.

    Attributes:
        names: of the inputs, the picture first; outputs: likewise.
        states: by name of input what the metadata tell: its ``next`` output, ``factor``, and the code that is zero, ``start``.
        kinds: by name of input, the type of its elements and how many channels it has.
    """

    names: Sequence[str]
    outputs: Sequence[str]
    states: Mapping[str, Mapping[str, Any]]
    kinds: Mapping[str, tuple[Any, int]]

    def start(self, height: int, width: int) -> dict[str, np.ndarray]:
        """The states with which a clip of frames ``height`` x ``width`` begins."""
        found = {}
        for name, told in self.states.items():
            kind, channels = self.kinds[name]
            found[name] = np.full((1, channels, height * told["factor"], width * told["factor"]), told["start"], dtype=kind)
        return found


def ends(session: onnxruntime.InferenceSession) -> Ends:
    """Those of a file that ONNX Runtime has loaded."""
    states = {end.name: (ELEMENT[end.type], end.shape[1]) for end in session.get_inputs()[1:]}
    return _ends(session.get_inputs()[0].name, states, session.get_outputs(), session.get_modelmeta().custom_metadata_map)


def ends_of_model(model: onnx.ModelProto) -> Ends:
    """Those of a file in memory."""
    picture, *others = model.graph.input
    types = {end.name: end.type.tensor_type for end in others}
    states = {name: (helper.tensor_dtype_to_np_dtype(t.elem_type), t.shape.dim[1].dim_value) for name, t in types.items()}
    return _ends(picture.name, states, model.graph.output, {entry.key: entry.value for entry in model.metadata_props})


def _ends(picture: str, states: Mapping[str, tuple[Any, int]], outputs: Sequence[Any], facts: Mapping[str, str]) -> Ends:
    """From the name of the picture, type and channels of every other input, the outputs and the metadata."""
    return Ends([picture, *states], [end.name for end in outputs], json.loads(facts.get(FACT, "{}")), states)


def run(found: Ends, x: Tensor, frame: Frame) -> Tensor:
    """The pictures ``[N, C', sH, sW]`` of the frames ``x float32 [N, C, H, W]``, one after the other, with states handed on."""
    states, pictures = found.start(x.shape[2], x.shape[3]), []
    for one in x.split(1):
        given = frame({found.names[0]: np.ascontiguousarray(one.detach().numpy(), dtype=np.float32), **states})
        named = dict(zip(found.outputs, given, strict=True))
        pictures.append(torch.from_numpy(np.array(named[found.outputs[0]])))
        states = {name: np.array(named[told["next"]]) for name, told in found.states.items()}
    return torch.cat(pictures) if len(pictures) > 1 else pictures[0]
