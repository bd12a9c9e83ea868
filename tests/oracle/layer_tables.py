"""Networks from the layer tables of the oracle files, as workloads.

The tables list layers in execution order without saying what each reads; the few that do not read the layer before them are told
apart by the naming of the tables: a projection or an anchor reads what its block read, an addition joins the two branches. A
batch is priced as one tall picture: its pixels, and with them multiply-accumulates and feature maps, are as many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from words import make_layer

from hwmodels.workload import Layer, Tensor, Work, Workload

ACTIVATIONS = {"hardtanh01": "relu6", "relu": "relu", "prelu": "prelu", "none": "none"}
"""Activations of the tables in the words of a workload; every clamp costs the same."""


class Drawing:
    """A workload being put together, layer by layer; ``emit`` returns the index of the tensor that the layer writes."""

    def __init__(self, name: str, channels: int, height: int, width: int) -> None:
        self.name = name
        self.layers: list[Layer] = []
        self.shapes = [(channels, height, width)]
        self.producers = [-1]

    def emit(self, name: str, op: str, inputs: Sequence[int], shape: tuple[int, int, int], **more: Any) -> int:
        return self.add(make_layer(name, op, tuple(inputs), len(self.shapes), **more), shape)

    def work(self, name: str, work: Work, inputs: Sequence[int], shape: tuple[int, int, int], **more: Any) -> int:
        """As ``emit``, for work that has no word."""
        return self.add(Layer(name, work, tuple(inputs), len(self.shapes), **more), shape)

    def add(self, layer: Layer, shape: tuple[int, int, int]) -> int:
        self.layers.append(layer)
        self.shapes.append(shape)
        self.producers.append(len(self.layers) - 1)
        return len(self.shapes) - 1

    def conv(
        self,
        name: str,
        source: int,
        channels: int,
        kernel: int,
        size: tuple[int, int],
        groups: int = 1,
        stride: int = 1,
        activation: str = "none",
        op: str = "conv",
    ) -> int:
        weights = kernel * kernel * (self.shapes[source][0] // groups) * channels
        return self.emit(
            name,
            op,
            (source,),
            (channels, *size),
            macs=weights * size[0] * size[1],
            weight_count=weights,
            bias_count=channels,
            kernel=(kernel, kernel),
            stride=stride,
            groups=groups,
            activation=activation,
        )

    def workload(self) -> Workload:
        readers = [tuple(i for i, layer in enumerate(self.layers) if t in layer.inputs) for t in range(len(self.shapes))]
        tensors = tuple(
            Tensor(f"t{t}", *shape, producer, readers[t], t)
            for t, (shape, producer) in enumerate(zip(self.shapes, self.producers, strict=True))
        )
        return Workload(self.name, tuple(self.layers), tensors, tuple(t.name for t in tensors))


def chain(name: str, described: Mapping[str, Any], clips: int = 0) -> Workload:
    """A super-resolution network of the table.

    Args:
        clips: element-wise operations that the runtime makes of an explicit clip; 0 where it folds the clip into a clamp.
    """
    height, width, channels = described["input"]
    net = Drawing(name, channels, height, width)
    last, side = 0, -1
    for row in described["layers"]:
        shape = (row["cout"], row["oh"], row["ow"])
        match row["op"]:
            case "conv2d":
                # The side branch of a network reads the picture; so does the first layer.
                aside = row["name"] in ("anchor", "residual")
                source = 0 if aside or row["name"] == "c0" else last
                made = net.conv(
                    row["name"], source, row["cout"], row["kh"], shape[1:], row["groups"], activation=ACTIVATIONS[row["act"]]
                )
                side, last = (made, last) if aside else (side, made)
            case "add":
                last = net.emit(row["name"], "add", (last, side), shape)
            case "concat":
                last = net.emit(row["name"], "concat", (side, last), shape)
            case "depth_to_space":
                last = net.emit(row["name"], "pixel_shuffle", (last,), shape)
            case "resize_nearest":
                side = net.emit(row["name"], "resize", (0,), shape)
            case "clip":
                for i in range(clips):  # a maximum, a minimum: two operands, one of them a constant of the tensor's shape
                    last = net.emit(f"{row['name']}.{i}", "mul", (last, last), shape)
            case unknown:
                raise ValueError(f"{name}: no rule for {unknown}")
    return net.workload()


def residual(name: str, described: Mapping[str, Any], batch: int) -> Workload:
    """A classification network of residual blocks from the table, for a batch of pictures."""
    height, width, channels = described["input"]
    net = Drawing(name, channels, batch * height, width)
    last = entry = branch = 0
    block = ""
    for row in described["layers"]:
        if row["op"] == "fc":
            last = net.conv("fc", last, row["cout"], 1, (batch, 1), op="linear")
            continue
        shape = (row["cout"], batch * row["oh"], row["ow"])
        if row["name"].startswith("s") and row["name"][:4] != block:
            block, entry = row["name"][:4], last
            branch = entry
        match row["op"]:
            case "conv2d":
                projects = row["name"].endswith("p")
                made = net.conv(
                    row["name"],
                    entry if projects else last,
                    row["cout"],
                    row["kh"],
                    shape[1:],
                    row["groups"],
                    row["stride"],
                    ACTIVATIONS[row["act"]],
                )
                branch, last = (made, last) if projects else (branch, made)
            case "add":
                last = net.emit(row["name"], "add", (last, branch), shape)
            case "maxpool" | "avgpool":
                last = net.emit(row["name"], "pool", (last,), shape)
            case unknown:
                raise ValueError(f"{name}: no rule for {unknown}")
    return net.workload()


def three_convolutions(activation: str = "relu", channels: int = 64, size: int = 32, groups: int = 1) -> Workload:
    """Three 3x3 convolutions, the middle one from ``channels`` to ``channels``, and a pixel shuffle x2 to three channels."""
    net = Drawing("chain", 3, size, size)
    x = net.conv("first", 0, channels, 3, (size, size), activation="relu")
    x = net.conv("middle", x, channels, 3, (size, size), groups=groups, activation=activation)
    x = net.conv("last", x, 12, 3, (size, size))
    net.emit("shuffle", "pixel_shuffle", (x,), (3, 2 * size, 2 * size))
    return net.workload()
