"""The four networks of MLPerf Tiny as workloads.

The benchmark's reference models (Banbury et al., "MLPerf Tiny Benchmark", 2021, section 4, and its published layer lists):
ResNet8 on 32x32 pictures, MobileNetV1 at a quarter of its width on 96x96, DS-CNN on 49x10 features, and a fully connected
autoencoder of 640 inputs. They are written down here at batch 1 with batch normalisation folded; softmax is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from words import make_layer

from hwmodels.workload import Layer, Tensor, Workload


@dataclass
class _Chain:
    """A workload under construction."""

    name: str
    layers: list[Layer] = field(default_factory=list)
    shapes: list[tuple[int, int, int]] = field(default_factory=list)
    producers: list[int] = field(default_factory=list)

    def enter(self, channels: int, height: int, width: int, producer: int = -1) -> int:
        self.shapes.append((channels, height, width))
        self.producers.append(producer)
        return len(self.shapes) - 1

    def conv(
        self, x: int, out: int, kernel: tuple[int, int], stride: int = 1, depthwise: bool = False, activation: str = "relu"
    ) -> int:
        channels, height, width = self.shapes[x]
        groups = channels if depthwise else 1
        weights = kernel[0] * kernel[1] * channels // groups * out
        size = (-(-height // stride), -(-width // stride))
        op = "depthwise" if depthwise else "conv"
        return self._emit(op, (x,), (out, *size), weights * size[0] * size[1], weights, out, kernel, stride, groups, activation)

    def linear(self, x: int, out: int, activation: str = "none") -> int:
        channels, height, width = self.shapes[x]
        weights = channels * height * width * out
        return self._emit("linear", (x,), (out, 1, 1), weights, weights, out, (1, 1), 1, 1, activation)

    def add(self, x: int, y: int) -> int:
        return self._emit("add", (x, y), self.shapes[x], 0, 0, 0, (1, 1), 1, 1, "relu")

    def pool(self, x: int) -> int:
        return self._emit("pool", (x,), (self.shapes[x][0], 1, 1), 0, 0, 0, (1, 1), 1, 1, "none")

    def _emit(
        self,
        op: str,
        inputs: tuple[int, ...],
        shape: tuple[int, int, int],
        macs: int,
        weights: int,
        biases: int,
        kernel: tuple[int, int],
        stride: int,
        groups: int,
        activation: str,
    ) -> int:
        output = self.enter(*shape, len(self.layers))
        name = f"{op}{len(self.layers)}"
        self.layers.append(make_layer(name, op, inputs, output, macs, weights, biases, kernel, stride, groups, activation))
        return output

    def workload(self) -> Workload:
        readers = [tuple(i for i, layer in enumerate(self.layers) if t in layer.inputs) for t in range(len(self.shapes))]
        tensors = tuple(Tensor(f"t{t}", *shape, self.producers[t], readers[t], t) for t, shape in enumerate(self.shapes))
        return Workload(self.name, tuple(self.layers), tensors, tuple(t.name for t in tensors))


def resnet8() -> Workload:
    """Image classification: 12.50 million MACs."""
    net = _Chain("resnet8")
    x = net.conv(net.enter(3, 32, 32), 16, (3, 3))
    y = net.conv(net.conv(x, 16, (3, 3)), 16, (3, 3), activation="none")
    x = net.add(y, x)
    for width in (32, 64):
        y = net.conv(net.conv(x, width, (3, 3), 2), width, (3, 3), activation="none")
        x = net.add(y, net.conv(x, width, (1, 1), 2, activation="none"))
    net.linear(net.pool(x), 10)
    return net.workload()


def mobilenet(channels: int = 3) -> Workload:
    """Visual wake words, MobileNetV1 x0.25 at 96x96: 7.49 million MACs."""
    net = _Chain("mobilenet_v1_025")
    x = net.conv(net.enter(channels, 96, 96), 8, (3, 3), 2)
    widths = (16, 32, 32, 64, 64, *(128,) * 6, 256, 256)
    for i, width in enumerate(widths):
        x = net.conv(x, net.shapes[x][0], (3, 3), 2 if i in (1, 3, 5, 11) else 1, depthwise=True)
        x = net.conv(x, width, (1, 1))
    net.linear(net.pool(x), 2)
    return net.workload()


def ds_cnn() -> Workload:
    """Keyword spotting: 2.66 million MACs."""
    net = _Chain("ds_cnn")
    x = net.conv(net.enter(1, 49, 10), 64, (10, 4), 2)
    for _ in range(4):
        x = net.conv(net.conv(x, 64, (3, 3), depthwise=True), 64, (1, 1))
    net.linear(net.pool(x), 12)
    return net.workload()


def autoencoder() -> Workload:
    """Anomaly detection, fully connected: 0.264 million MACs."""
    net = _Chain("fc_autoencoder")
    x = net.enter(640, 1, 1)
    for width in (128, 128, 128, 128, 8, 128, 128, 128, 128, 640):
        x = net.linear(x, width, "none" if width == 640 else "relu")
    return net.workload()


@cache
def network(name: str) -> Workload:
    """A benchmark network by the name that the measurements use."""
    builders = {"_ic_": resnet8, "_vww_": mobilenet, "_kws_": ds_cnn, "_ad_": autoencoder}
    return next(build for part, build in builders.items() if part in name)()
