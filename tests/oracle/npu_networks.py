"""Layer lists of the measured networks (``npu/networks.json``, described in the README beside it) as workloads.

Two products of activations and a softmax stand for an attention. A reshape moves nothing: a tensor is drawn in the shape that its
readers see. What a runtime does of its own
(``Rules``) is known from operator counts and from networks that two runtimes were measured on:

- LiteRT executes a clip to [0, 1] as a maximum and a minimum, in 8 bits only before other operators; QNN clamps in the layer
  before.
- A normalization of the picture with one constant disappears in 8 bits: it changes the scale of the input. With a constant for
  each channel it disappears in LiteRT; QNN executes it.
- A clamp to [0, 6] is part of the layer before it, but where the quantizer that made the file kept it as an operator with a scale
  of its own (``clamps_apart``; the runtime's operator counts say so).
- In 8 bits LiteRT brings what a concatenation reads to one scale, but for what a convolution makes for it alone (``rescales``):
  U-Net has four operators more than in floating point, GoogLeNet and SqueezeNet none.
- A batch norm that could not be folded stays in single precision in files for LiteRT (``scales_apart``): it is drawn as a
  normalization whose statistic is known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from hwmodels.workload import Contract, Finish, Function, Map, Move, Movement, Reduce, Work, Workload
from oracle.layer_tables import Drawing

Described = Mapping[str, Any]
Shape = tuple[int, int, int]
LOOKUPS = ("gelu", "silu", "hardswish", "sigmoid", "hardsigmoid", "tanh", "prelu")
MAPS: dict[str, Function] = {
    "add": "add",
    "sub": "add",
    "mul": "mul",
    "div": "division",
    "pow": "function",
    "maximum": "compare",
    "minimum": "compare",
    "scale_shift": "mul",
    "activation": "function",
    "unary": "function",
}
MOVES: dict[str, Movement] = {
    "concat": "concat",
    "pad": "pad",
    "slice": "slice",
    "broadcast": "repeat",
    "depth_to_space": "shuffle",
    "space_to_depth": "shuffle",
    "transpose": "transpose",
    "roll": "gather",
    "gather": "gather",
    "resize": "resize",
}
"""Operations of the lists that are one kind of work."""

PLANES = (
    "conv2d",
    "conv_transpose2d",
    "max_pool",
    "avg_pool",
    "global_avg_pool",
    "resize",
    "depth_to_space",
    "space_to_depth",
    "pad",
)
"""Operations whose four-dimensional tensors are a batch of planes; of all others the last dimension is the channel."""
ROWS = ("linear", "layer_norm", "attention", "matmul", "softmax")


@dataclass(frozen=True)
class Rules:
    """What a runtime makes of a graph in one precision."""

    clips: bool = False
    clips_at_the_end: bool = False
    folds_scalar_normalization: bool = False
    folds_normalization: bool = False
    scales_apart: bool = False
    clamps_apart: bool = False
    rescales: bool = False


@cache
def described(shared: Path) -> dict[str, Any]:
    """Every network of the file by its name."""
    found: dict[str, Any] = json.loads((shared / "oracle" / "npu" / "networks.json").read_text(encoding="utf-8"))["networks"]
    return found


@cache
def workload(shared: Path, name: str, rules: Rules = Rules()) -> Workload:
    """A network of the file as ``rules`` execute it."""
    return _Reader(name, described(shared)[name], rules).net.workload()


def clamps(shared: Path, name: str) -> int:
    """How many clamps to [0, 6] a network has."""
    return sum(layer.get("act") == "relu6" for layer in described(shared)[name]["layers"])


def family(shared: Path, name: str) -> str:
    """The family of a network: what is left out together."""
    return str(described(shared)[name]["family"])


class _Reader:
    """Draws one network; ``at[name]`` is the tensor that a layer of the list writes."""

    def __init__(self, name: str, listed: Described, rules: Rules) -> None:
        (picture,) = listed["inputs"]
        self.rules = rules
        self.layers = {layer["name"]: layer for layer in listed["layers"]}
        self.readers: dict[str, list[Described]] = {}
        for layer in listed["layers"]:
            for source in layer["inputs"]:
                self.readers.setdefault(source, []).append(layer)
        self.planes = {picture["name"]: True}
        self.net = Drawing(name, *picture["shape"][1:])
        self.at = {picture["name"]: 0}
        for layer in listed["layers"]:
            self.planes[layer["name"]] = self._in_planes(layer)
            self.at[layer["name"]] = self._draw(layer)

    def _draw(self, layer: Described) -> int:
        sources, op = [self.at[name] for name in layer["inputs"]], layer["op"]
        if op == "reshape" or self._folded(layer):
            return sources[0]
        match op:
            case "conv2d" | "conv_transpose2d":
                last = self._convolution(layer, sources[0])
            case "linear":
                last = self._product(layer, sources, layer["macs"], layer["cin"] * layer["cout"])
            case "matmul":
                last = self._product(layer, sources, layer["macs"])
            case "attention":
                last = self._attention(layer, sources)
            case "concat":
                last = self._emit(layer, self._work(layer), [self._rescaled(layer, name) for name in layer["inputs"]])
            case "activation" if layer["act"] == "clip(0,1)":
                last = sources[0]
            case _:
                last = self._emit(layer, self._work(layer), sources)
        if layer.get("act") == "clip(0,1)" and self._clips(layer):
            for bound in ("maximum", "minimum"):
                last = self.net.work(f"{layer['name']}.{bound}", Map("compare"), (last,), self.net.shapes[last])
        return last

    def _emit(self, layer: Described, work: Work, sources: Sequence[int], **more: Any) -> int:
        act = layer.get("act", "none")
        finish: Finish = "none"
        if layer["op"] != "activation" and act != "none":
            finish = "function" if act in LOOKUPS else "clamp"
        apart = act == "relu6" and self.rules.clamps_apart
        shape, finish = self._shape(layer), "none" if apart else finish
        last = self.net.work(layer["name"], work, sources, shape, finish=finish, label=layer["op"], **more)
        return self.net.work(f"{layer['name']}.clamp", Map("compare"), (last,), shape) if apart else last

    def _rescaled(self, layer: Described, name: str) -> int:
        """The tensor of an operand of a concatenation, in the scale of the result."""
        maker, source = self.layers.get(name, {"op": ""}), self.at[name]
        if not self.rules.rescales or (maker["op"] in ("conv2d", "conv_transpose2d") and len(self.readers[name]) == 1):
            return source
        return self.net.work(f"{layer['name']}.{name}", Map("function"), (source,), self.net.shapes[source])

    def _work(self, layer: Described) -> Work:
        op, source = layer["op"], self.net.shapes[self.at[layer["inputs"][0]]]
        if op == "scale_shift" and self.rules.scales_apart:
            return Reduce(1, keeps=True, function="division")
        if op in MAPS:
            return Map(MAPS[op], arity=max(1, len(layer["inputs"])))
        if op in MOVES:
            return Move("repeat" if layer.get("mode") == "nearest" else MOVES[op])
        if op in ("softmax", "layer_norm"):
            return Reduce(source[0], keeps=True, function="function" if op == "softmax" else "division")
        if op in ("max_pool", "avg_pool"):
            height, width = _pair(layer["kernel"])
            return Reduce(height * width, kernel=(height, width), stride=_pair(layer.get("stride", 1))[0])
        if op in ("global_avg_pool", "reduce"):
            return Reduce(math.prod(source) // max(1, math.prod(self._shape(layer))))
        raise ValueError(f"no rule for {op}")

    def _convolution(self, layer: Described, source: int) -> int:
        height, width = _pair(layer["kernel"])
        groups = layer.get("groups", 1)
        weights = layer["cin"] // groups * layer["cout"] * height * width
        stride = _pair(layer.get("stride", 1))[0]
        if layer["op"] == "conv_transpose2d":  # an output pixel sees every stride-th tap
            down, right = _pair(layer["stride"])
            height, width, stride = math.ceil(height / down), math.ceil(width / right), 1
        depth = layer["cin"] // groups * height * width
        work = Contract(layer["macs"], depth, kernel=(height, width), stride=stride, groups=groups)
        return self._emit(layer, work, [source], weight_count=weights, bias_count=layer["cout"])

    def _product(self, layer: Described, sources: Sequence[int], macs: int, weights: int = 0) -> int:
        stationary: Literal["weights", "tensor"] = "weights" if weights else "tensor"
        work = Contract(macs, self.net.shapes[sources[0]][0], form="product", stationary=stationary)
        return self._emit(layer, work, sources, weight_count=weights, bias_count=layer["cout"] if weights else 0)

    def _attention(self, layer: Described, sources: Sequence[int]) -> int:
        heads, rows, width = math.prod(layer["q"][:-2]), layer["q"][-2], layer["k"][-2]
        scores = (width, heads * rows, 1)
        macs = heads * rows * width * layer["q"][-1]
        first = Contract(macs, layer["q"][-1], form="product", stationary="tensor")
        product = self.net.work(f"{layer['name']}.scores", first, sources[:2], scores)
        norm = Reduce(width, keeps=True, function="function")
        softmax = self.net.work(f"{layer['name']}.softmax", norm, (product,), scores)
        return self._product(layer, (softmax, sources[2]), layer["macs"] - macs)

    def _shape(self, layer: Described) -> Shape:
        """Channels, height, width of what a layer writes, after the reshapes that alone read it."""
        if layer["op"] not in (*PLANES, *ROWS, *MAPS):
            while [reader["op"] for reader in self.readers.get(layer["name"], [])] == ["reshape"]:
                (layer,) = self.readers[layer["name"]]
        shape = layer["out"]
        if len(shape) == 4 and self._in_planes(layer):
            return shape[1], shape[0] * shape[2], shape[3]
        return shape[-1], math.prod(shape[:-1]), 1

    def _in_planes(self, layer: Described) -> bool:
        """Whether a four-dimensional tensor is a batch of planes, by the layer that makes it, or those that read it."""
        if layer["op"] in PLANES:
            return True
        if layer["op"] in ROWS:
            return False
        read_by = {reader["op"] for reader in self.readers.get(layer["name"], [])}
        if read_by & {*PLANES}:
            return True
        return self.planes[layer["inputs"][0]] and layer["op"] != "transpose" and not read_by & {*ROWS}

    def _folded(self, layer: Described) -> bool:
        """Whether a layer disappears: a resize to the same size, a normalization of the picture, a clip in the layer before."""
        if layer["op"] == "activation" and layer.get("act") == "clip(0,1)":
            return not self._clips(layer)
        if layer["op"] == "resize" and set(layer["scale"]) == {1.0}:
            return True
        if layer["op"] not in ("sub", "mul", "div") or self.at[layer["inputs"][0]] != 0 or "constant" not in layer:
            return False
        return self.rules.folds_normalization or (self.rules.folds_scalar_normalization and layer["constant"] == [])

    def _clips(self, layer: Described) -> bool:
        read_by = {reader["op"] for reader in self.readers.get(layer["name"], [])}
        if not read_by or read_by == {"depth_to_space"}:
            return self.rules.clips_at_the_end
        return layer["op"] == "activation" and self.rules.clips


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
