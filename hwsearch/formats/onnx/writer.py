"""What all ONNX files of ours share: nodes and constants as they are collected, operations that are the same in every flavour,
and the frame of the model: dynamic height and width, a float32 picture in 0..1 in and out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from hwsearch.version import __version__
from searchspaces.ir.graph import Graph, Node, pair
from searchspaces.ir.lower import propagate

OPSET, IR_VERSION = 21, 10
"""The oldest with 4-bit integers. The version of the file format is set because the newest is not read by every runtime."""


class Writer:
    """Collects nodes and constants; nodes must be written in execution order."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self._count = 0

    def op(self, kind: str, inputs: Sequence[str], name: str = "", **attrs: Any) -> str:
        """Append a node, return the name of its output."""
        self._count += 1
        output = name or f"{kind.lower()}_{self._count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{kind}:{output}", **attrs))
        return output

    def const(self, value: Any, dtype: Any = np.float32, name: str = "") -> str:
        """A constant; equal unnamed constants are stored once."""
        array = np.asarray(value, dtype=dtype)
        content = f"{array.dtype}{array.shape}".encode() + array.tobytes()
        key = name or f"constant_{hashlib.sha256(content).hexdigest()[:16]}"
        if key not in self.constants:
            self.constants[key] = numpy_helper.from_array(array, key)
        return key

    def cast(self, x: str, to: int) -> str:
        return self.op("Cast", [x], to=int(to))

    def activate(self, real: str, node: Node, kind: str, name: str = "") -> str:
        """An activation on real values, with the parameters that stand on ``node``."""
        match kind:
            case "none":
                return real
            case "relu" | "sigmoid" | "tanh":
                return self.op(kind.capitalize(), [real], name)
            case "relu6":
                return self.op("Clip", [real, self.const(0.0), self.const(6.0)], name)
            case "clip":
                return self.op("Clip", [real, self.const(node.attrs["low"]), self.const(node.attrs["high"])], name)
            case "leaky_relu":
                return self.op("LeakyRelu", [real], name, alpha=float(node.attrs["slope"]))
            case "prelu":
                slope = node.weights["slope"].detach().numpy().astype(np.float32)
                return self.op("PRelu", [real, self.const(slope.reshape(-1, 1, 1))], name)
        raise ValueError(f"cannot export activation {kind!r} ({node.name})")

    def resize(self, x: str, node: Node, name: str = "") -> str:
        factor, mode = float(node.attrs["factor"]), node.attrs["mode"]
        scales = self.const([1.0, 1.0, factor, factor])
        if mode == "nearest":
            attrs = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
            return self.op("Resize", [x, "", scales], name, **attrs)
        smooth: dict[str, Any] = {"mode": {"bilinear": "linear", "bicubic": "cubic"}[mode], "cubic_coeff_a": -0.75}
        return self.op("Resize", [x, "", scales], name, coordinate_transformation_mode="half_pixel", **smooth)

    def pixel_shuffle(self, x: str, node: Node, name: str = "") -> str:
        return self.op("DepthToSpace", [x], name, blocksize=int(node.attrs["factor"]), mode="CRD")

    def slice(self, x: str, node: Node, name: str = "") -> str:
        bounds = [self.const([node.attrs[key]], np.int64) for key in ("start", "stop")]
        return self.op("Slice", [x, *bounds, self.const([1], np.int64)], name)

    def repeat(self, x: str, node: Node, channels: int, name: str = "") -> str:
        """Each of ``channels`` several times."""
        return self.op("Gather", [x, self.const(np.repeat(np.arange(channels), node.attrs["times"]), np.int64)], name, axis=1)

    def model(
        self,
        graph: Graph,
        facts: Mapping[str, Any] | None = None,
        domains: Mapping[str, int] | None = None,
        versions: tuple[int, int] = (OPSET, IR_VERSION),
    ) -> onnx.ModelProto:
        """The model from tensor "input" to tensor "output", checked by ``onnx.checker``.

        Args:
            facts: what the file's metadata say beside our version.
            domains: operator sets beside ONNX's own, with their versions.
            versions: of ONNX's operators and of the file format.
        """
        channels = propagate(graph, 48, 48)  # the channels do not depend on the size
        ends = [
            helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, channels[graph.input.name][0], "height", "width"]),
            helper.make_tensor_value_info(
                "output", TensorProto.FLOAT, [1, channels[graph.output.name][0], "output_height", "output_width"]
            ),
        ]
        sets = [helper.make_opsetid(domain, version) for domain, version in {"": versions[0], **(domains or {})}.items()]
        model = helper.make_model(
            helper.make_graph(self.nodes, graph.name or "network", ends[:1], ends[1:], list(self.constants.values())),
            opset_imports=sets,
            ir_version=versions[1],
            producer_name="hwsearch",
            producer_version=__version__,
        )
        written = {"hwsearch_version": __version__, **(facts or {})}
        helper.set_model_props(model, {key: str(value) for key, value in written.items()})
        onnx.checker.check_model(model, full_check=True)
        return model


def window(node: Node) -> dict[str, Any]:
    """Attributes of a convolution."""
    left, right, top, bottom = node.attrs["padding"]
    return {
        "pads": [int(top), int(left), int(bottom), int(right)],
        "strides": list(pair(node.attrs["stride"])),
        "dilations": list(pair(node.attrs["dilation"])),
        "group": int(node.attrs["groups"]),
    }
