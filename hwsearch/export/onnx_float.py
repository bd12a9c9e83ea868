"""The network as it was traced, in single precision: the ONNX file that a quantized one is compared with for speed.

One ONNX node for each canonical operation (two where an activation is fused), opset 21, dynamic height and width, float32 picture
in 0..1 in and out. ONNX Runtime fuses and blocks it as it does any float model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from hwsearch.export.onnx import IR_VERSION, OPSET
from searchspaces.graph import Graph, Node


def to_float_model(graph: Graph) -> onnx.ModelProto:
    """``graph`` as an ONNX model in memory, checked by ``onnx.checker``.

    Raises:
        ValueError: an operation that the canonical graph does not know.
    """
    writer = _Writer()
    for node in graph.nodes[1:]:
        writer.write(node, [("input" if name == graph.input.name else name) for name in node.inputs])
    writer.op("Identity", [graph.output.name], "output")
    ends = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, int(graph.input.attrs["channels"]), "height", "width"]),
        helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, None, "output_height", "output_width"]),
    ]
    made = helper.make_graph(writer.nodes, graph.name or "network", ends[:1], ends[1:], writer.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Writer:
    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def op(self, kind: str, inputs: Sequence[str], output: str, **attrs: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{kind}:{output}", **attrs))
        return output

    def const(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def write(self, node: Node, inputs: list[str]) -> None:
        """Append one canonical operation; its result is called as the node is."""
        fused = node.activation != "none"
        out = f"{node.name}.before" if fused else node.name
        match node.op:
            case "conv":
                self._conv(node, inputs[0], out)
            case "add" | "mul":
                self.op(node.op.capitalize(), inputs, out)
            case "concat":
                self.op("Concat", inputs, out, axis=1)
            case "slice":
                start, stop, axis = (self.const([v], np.int64) for v in (node.attrs["start"], node.attrs["stop"], 1))
                self.op("Slice", [inputs[0], start, stop, axis], out)
            case "repeat":
                self._repeat(node, inputs[0], out)
            case "pixel_shuffle":
                self.op("DepthToSpace", inputs, out, blocksize=int(node.attrs["factor"]), mode="CRD")
            case "resize":
                self._resize(node, inputs[0], out)
            case "pool":
                self._pool(node, inputs[0], out)
            case "unary":
                self._activation(node, node.attrs["kind"], inputs[0], out)
            case _:
                raise ValueError(f"cannot export op {node.op!r} ({node.name})")
        if fused:
            self._activation(node, node.activation, out, node.name)

    def _conv(self, node: Node, x: str, out: str) -> None:
        left, right, top, bottom = node.attrs["padding"]
        parameters = [self.const(node.weights[key].detach().numpy()) for key in ("weight", "bias") if key in node.weights]
        self.op(
            "Conv",
            [x, *parameters],
            out,
            pads=[int(top), int(left), int(bottom), int(right)],
            strides=_pair(node.attrs["stride"]),
            dilations=_pair(node.attrs["dilation"]),
            group=int(node.attrs["groups"]),
        )

    def _repeat(self, node: Node, x: str, out: str) -> None:
        """Each channel several times: a new axis after the channels, tiled, and folded into them."""
        times = int(node.attrs["times"])
        wide = self.op("Unsqueeze", [x, self.const([2], np.int64)], f"{out}.wide")
        many = self.op("Tile", [wide, self.const([1, 1, times, 1, 1], np.int64)], f"{out}.many")
        split = self.op("Shape", [many], f"{out}.shape", start=3)
        shape = self.op("Concat", [self.const([1, -1], np.int64), split], f"{out}.target", axis=0)
        self.op("Reshape", [many, shape], out)

    def _resize(self, node: Node, x: str, out: str) -> None:
        factor, mode = float(node.attrs["factor"]), node.attrs["mode"]
        scales = self.const([1.0, 1.0, factor, factor])
        if mode == "nearest":
            rule = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
            self.op("Resize", [x, "", scales], out, **rule)
            return
        kind = {"bilinear": "linear", "bicubic": "cubic"}[mode]
        self.op("Resize", [x, "", scales], out, mode=kind, cubic_coeff_a=-0.75, coordinate_transformation_mode="half_pixel")

    def _pool(self, node: Node, x: str, out: str) -> None:
        mean = self.op("GlobalAveragePool", [x], out if node.attrs["kind"] == "mean" else f"{out}.mean")
        if node.attrs["kind"] == "mean":
            return
        centred = self.op("Sub", [x, mean], f"{out}.centred")
        squares = self.op("Mul", [centred, centred], f"{out}.squares")
        self.op("Sqrt", [self.op("GlobalAveragePool", [squares], f"{out}.variance")], out)

    def _activation(self, node: Node, kind: str, x: str, out: str) -> None:
        match kind:
            case "relu" | "sigmoid" | "tanh":
                self.op(kind.capitalize(), [x], out)
            case "relu6" | "clip":
                low, high = (0.0, 6.0) if kind == "relu6" else (node.attrs["low"], node.attrs["high"])
                self.op("Clip", [x, self.const(low), self.const(high)], out)
            case "leaky_relu":
                self.op("LeakyRelu", [x], out, alpha=float(node.attrs["slope"]))
            case "prelu":
                slope = node.weights["slope"].detach().numpy().reshape(-1, 1, 1)
                self.op("PRelu", [x, self.const(slope)], out)
            case _:
                raise ValueError(f"cannot export activation {kind!r} ({node.name})")


def _pair(value: Any) -> list[int]:
    return [int(v) for v in value] if isinstance(value, tuple | list) else [int(value)] * 2
