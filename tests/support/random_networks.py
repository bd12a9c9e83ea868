"""Quantized networks with random weights and formats, for tests of what executes and writes them.

Ranges come from one floating-point run, so that the codes of every tensor are well used; weights are rounded per channel to full
range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from hwmodels.numbers import INT16, Int, NumberFormat
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers, QuantizedGraph
from hwsearch.quant.ranges.given import share_format
from searchspaces.ir.graph import Graph, execute
from searchspaces.networks.cnn.abpn import ABPN
from searchspaces.networks.cnn.fsrcnn import FSRCNN
from searchspaces.ops.reductions.softmax import Softmax
from searchspaces.tracing.trace import trace


class Residual(nn.Module):
    """EDSR-like: a head, blocks with additions, a long skip, a pixel-shuffle tail."""

    def __init__(self, width: int = 16, blocks: int = 2, scale: int = 2) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.first = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(blocks))
        self.tail = nn.Sequential(nn.Conv2d(width, 3 * scale * scale, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x: Tensor) -> Tensor:
        head = self.head(x)
        y = head
        for a, b in zip(self.first, self.second, strict=True):
            y = y + b(torch.relu(a(y)))
        return self.tail(y + head)


class Plain(nn.Module):
    """ECBSR-like: plain 3x3 convolutions with PReLU, the input repeated and added before the pixel shuffle."""

    def __init__(self, width: int = 8, depth: int = 3, scale: int = 2) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.PReLU(width, init=0.2)]
        for _ in range(depth):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width, init=-0.3)]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, scale * scale, 3, padding=1))
        self.shuffle, self.scale = nn.PixelShuffle(scale), scale

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffle(self.body(x) + torch.repeat_interleave(x, self.scale**2, dim=1))


class Deep(nn.Module):
    """VDSR-like: 3x3 convolutions with ReLU and one global skip on an upsampled input."""

    def __init__(self, width: int = 16, depth: int = 4) -> None:
        super().__init__()
        middle = [m for _ in range(depth) for m in (nn.Conv2d(width, width, 3, padding=1, bias=False), nn.ReLU())]
        self.body = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), *middle, nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Attention(nn.Module):
    """Everything else: depthwise and strided and dilated convolutions, splits, concatenation, channel attention, resizing."""

    def __init__(self, width: int = 8, mode: str = "nearest") -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.depthwise = nn.Conv2d(width, width, 3, padding=2, dilation=2, groups=width)
        self.part = nn.Conv2d(width // 2, width // 2, (1, 3), padding=(0, 1))
        self.squeeze, self.excite = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)
        self.down = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.tail = nn.Conv2d(width, 12, 3, padding=1)
        self.up, self.mode = nn.PixelShuffle(2), mode

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.leaky_relu(self.depthwise(torch.relu(self.head(x))), 0.05)
        a, b = torch.chunk(y, 2, dim=1)
        y = torch.cat([self.part(a), b], dim=1)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(y.mean(dim=(2, 3), keepdim=True)))))
        y = torch.relu(self.down(y * gate))
        return self.up(self.tail(nn.functional.interpolate(y, scale_factor=2, mode=self.mode)))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "fsrcnn-relu": lambda: FSRCNN(2, 1, 16, 6, 2, "relu"),
    "fsrcnn-prelu": lambda: FSRCNN(2, 3, 16, 6, 2, "prelu"),
    "abpn": lambda: ABPN(2, 2, 12),
    "ecbsr": Plain,
    "edsr": Residual,
    "vdsr": Deep,
    "attention": Attention,
}


def float_graph(name: str, seed: int = 0) -> Graph:
    """The canonical graph of one of ``MODULES`` with random weights, PReLU slopes of both signs included."""
    torch.manual_seed(seed)
    module = MODULES[name]()
    for child in module.modules():
        if isinstance(child, nn.PReLU):
            nn.init.uniform_(child.weight, -0.5, 0.5)
    channels = getattr(module, "channels", 3 if name in ("edsr", "attention") else 1)
    return trace(module.eval(), channels, name)


def picture(graph: Graph, height: int = 24, width: int = 20, seed: int = 0) -> Tensor:
    """A random 8-bit picture ``[1, C, height, width]`` in 0..1."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy((rng.integers(0, 256, (1, graph.channels, height, width)) / 255).astype(np.float32))


def ranges(graph: Graph, x: Tensor) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of every quantizer group in one floating-point run."""
    groups, seen = graph.quantizer_groups(), dict[str, tuple[float, float]]()

    def observe(node, value):  # type: ignore[no-untyped-def]
        low, high = seen.get(groups[node.name], (0.0, 0.0))
        seen[groups[node.name]] = (min(low, float(value.min())), max(high, float(value.max())))

    with torch.no_grad():
        execute(graph, x, observe)
    return seen


def tensor_format(low: float, high: float, bits: int, wide: NumberFormat = INT16, symmetric: bool = False) -> TensorFormat:
    """An unsigned affine format for a range that includes zero."""
    if bits == 16 and wide.is_float:
        return TensorFormat(wide)
    if bits == 16 or symmetric:
        middle = 1 << (bits - 1)
        scale = float(np.float32(max(high, -low, 1e-2) / (middle - 1)))
        return TensorFormat(Int(bits), scale, middle, 0, 2 * middle - 1)
    top = (1 << bits) - 1
    scale = float(np.float32(max(high - low, 1e-2) / top))
    return TensorFormat(Int(bits), scale, int(np.clip(round(-low / scale), 0, top)), 0, top)


def quantize(
    graph: Graph,
    weight_bits: Mapping[str, int] | int = 8,
    activation_bits: Mapping[str, int] | int = 8,
    *,
    wide: NumberFormat = INT16,
    symmetric: bool = False,
    seed: int = 0,
    size: tuple[int, int] = (24, 20),
) -> QuantizedGraph:
    """Round a graph to the given widths: per layer, and per quantizer group (by the group's first tensor). Ranges are those of a
    random picture of ``size``."""
    groups = graph.quantizer_groups()
    formats = {}
    for name, (low, high) in ranges(graph, picture(graph, *size, seed=seed)).items():
        bits = activation_bits if isinstance(activation_bits, int) else activation_bits.get(name, 8)
        formats[name] = tensor_format(low, high, bits, wide, symmetric)
        if name == graph.input.name and bits == 8 and not symmetric:
            formats[name] = TensorFormat(Int(8), float(np.float32(1 / 255)))
    by_node = {node.name: formats[groups[node.name]] for node in graph.nodes}
    layers: dict[str, LayerIntegers | LayerFloats] = {}
    for node in graph.convs:
        bits = weight_bits if isinstance(weight_bits, int) else weight_bits.get(node.name, 8)
        weight = node.weights["weight"].detach().numpy()
        weight = weight.reshape(*weight.shape, *[1] * (4 - weight.ndim))
        bias = node.weights["bias"].detach().numpy() if "bias" in node.weights else np.zeros(len(weight), np.float32)
        source = by_node[node.inputs[0]]
        if source.is_float or bits == 16:
            halves = [a.astype(np.float16).astype(np.float32) for a in (weight, bias)]
            layers[node.name] = LayerFloats(16, halves[0], halves[1])
            continue
        top = (1 << (bits - 1)) - 1
        scale = (np.abs(weight).reshape(len(weight), -1).max(axis=1) / top).astype(np.float32)
        codes = np.clip(np.rint(weight / scale[:, None, None, None]), -top, top).astype(np.int8)
        layers[node.name] = LayerIntegers(bits, codes, scale, np.rint(bias / (scale * source.scale)).astype(np.int64))
    return QuantizedGraph(graph, by_node, layers)


def on_shares(q: QuantizedGraph) -> QuantizedGraph:
    """Softmaxes on the grid that runtimes prescribe."""
    shares = {
        n.name: share_format(Int(q.formats[n.name].bits), symmetric=False) for n in q.graph.nodes if isinstance(n.op, Softmax)
    }
    return replace(q, formats={**q.formats, **shares})
