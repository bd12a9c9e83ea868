"""Eight convolutional networks and eight transformers that were drawn up after the prices of processors had been made: small
networks of the kinds that are published, with channels and sizes of pictures that no calibration times. ``host_accuracy`` times
them with ``--drawn``."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspaces.ir.graph import Graph
from searchspaces.tracing.trace import trace


def conv(inputs: int, outputs: int, kernel: int = 3, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups)


class Enlarged(nn.Module):
    """``inner`` on features of a picture, and a pixel shuffle; ``skip``: the features are added to what it makes of them."""

    def __init__(self, channels: int, inner: nn.Module, scale: int = 2, skip: bool = False) -> None:
        super().__init__()
        self.head, self.inner, self.tail = conv(3, channels), inner, conv(channels, 3 * scale**2)
        self.scale, self.skip = scale, skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        z = self.inner(y)
        return F.pixel_shuffle(self.tail(y + z if self.skip else z), self.scale)


class Added(nn.Sequential):
    """What its parts make of something, added to it in part."""

    def __init__(self, *parts: nn.Module, factor: float = 1.0) -> None:
        super().__init__(*parts)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for part in self:
            y = part(y)
        return x + (y if self.factor == 1.0 else y * self.factor)


class Grouped(nn.Module):
    """Convolutions in four groups, each of whose results is kept and mixed with those before."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        groups = (nn.Sequential(conv(channels, channels, 3, 4), nn.ReLU(), conv(channels, channels, 1)) for _ in range(depth))
        self.groups = nn.ModuleList(groups)
        self.mixed = nn.ModuleList([conv((i + 2) * channels, channels, 1) for i in range(depth)])

    def forward(self, x: Tensor) -> Tensor:
        y, kept = x, [x]
        for group, mixed in zip(self.groups, self.mixed, strict=True):
            kept.append(F.relu(group(y)))
            y = mixed(torch.cat(kept, 1))
        return y


class Pooled(nn.Module):
    """A U-Net of largest values and nearest pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.down = nn.ModuleList([conv(3, c), conv(c, 2 * c), conv(2 * c, 2 * c)])
        self.up, self.tail = nn.ModuleList([conv(4 * c, c), conv(2 * c, c)]), conv(c, 3)

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for i, layer in enumerate(self.down):
            x = F.leaky_relu(layer(F.max_pool2d(x, 2) if i else x), 0.2)
            kept.append(x)
        for layer, beside in zip(self.up, kept[1::-1], strict=True):
            x = F.leaky_relu(layer(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), beside], 1)), 0.2)
        found: Tensor = self.tail(x)
        return found


class Modulated(nn.Module):
    """A large depthwise kernel beside values: what it finds is a factor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.seen = nn.Sequential(conv(channels, channels, 1), nn.GELU(), conv(channels, channels, 11, channels))
        self.values, self.out = conv(channels, channels, 1), conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.out(self.seen(x) * self.values(x))
        return found


class Gated(nn.Module):
    """A normalization over channels, a gate without a function, and a factor for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.wide = nn.LayerNorm(channels), conv(channels, 2 * channels, 1)
        self.depthwise = conv(2 * channels, 2 * channels, 3, 2 * channels)
        self.factor, self.out = conv(channels, channels, 1), conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        first, second = self.depthwise(self.wide(y)).chunk(2, 1)
        y = first * second
        found: Tensor = x + self.out(y * self.factor(y.mean((2, 3), keepdim=True)))
        return found


def heads(x: Tensor, count: int) -> Tensor:
    """``[B, N, C]`` as ``[B, count, N, C / count]``."""
    return x.reshape(*x.shape[:2], count, -1).transpose(1, 2)


class Block(nn.Module):
    """Attention among tokens ``[B, N, C]`` and a perceptron of ``times`` as many channels."""

    def __init__(self, channels: int, count: int, times: int = 4) -> None:
        super().__init__()
        self.first, self.second, self.count = nn.LayerNorm(channels), nn.LayerNorm(channels), count
        self.mixed, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.perceptron = nn.Sequential(nn.Linear(channels, times * channels), nn.GELU(), nn.Linear(times * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, channels = x.shape
        each = self.mixed(self.first(x)).reshape(batch, tokens, 3, self.count, channels // self.count).permute(2, 0, 3, 1, 4)
        weights = each[0] @ each[1].transpose(-2, -1) * (channels // self.count) ** -0.5
        x = x + self.out((weights.softmax(-1) @ each[2]).transpose(1, 2).reshape(batch, tokens, channels))
        found: Tensor = x + self.perceptron(self.second(x))
        return found


class Windows(nn.Module):
    """Blocks in windows of ``side`` x ``side`` pixels."""

    def __init__(self, side: int, *blocks: nn.Module) -> None:
        super().__init__()
        self.side, self.blocks = side, nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        (_, channels, height, width), side = x.shape, self.side
        rows, columns = height // side, width // side
        y = x.permute(0, 2, 3, 1).reshape(rows, side, columns, side, channels).permute(0, 2, 1, 3, 4)
        y = self.blocks(y.reshape(rows * columns, side**2, channels))
        y = y.reshape(rows, columns, side, side, channels).permute(0, 2, 1, 3, 4)
        return y.reshape(1, height, width, channels).permute(0, 3, 1, 2)


class PooledKeys(nn.Module):
    """Attention whose keys and values are means of 4x4 tokens."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.norm, self.count = nn.LayerNorm(channels), count
        self.queries, self.keys, self.out = (nn.Linear(channels, n * channels) for n in (1, 2, 1))
        self.perceptron = nn.Sequential(nn.Linear(channels, 2 * channels), nn.ReLU(), nn.Linear(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        y = self.norm(tokens)
        means = F.avg_pool2d(y.transpose(1, 2).reshape(1, channels, height, width), 4).flatten(2).transpose(1, 2)
        keys, values = (heads(part, self.count) for part in self.keys(means).chunk(2, 2))
        mixed = (heads(self.queries(y), self.count) @ keys.transpose(-2, -1) * 0.2).softmax(-1) @ values
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(tokens.shape))
        tokens = tokens + self.perceptron(tokens)
        return tokens.transpose(1, 2).reshape(x.shape)


class ChannelAttention(nn.Module):
    """Attention among channels instead of pixels."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.mixed = nn.Sequential(conv(channels, 3 * channels, 1), conv(3 * channels, 3 * channels, 3, 3 * channels))
        self.out, self.count = conv(channels, channels, 1), count

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        queries, keys, values = self.mixed(x).reshape(3, self.count, channels // self.count, height * width).unbind(0)
        y = (queries @ keys.transpose(-2, -1) * 0.1).softmax(-1) @ values
        found: Tensor = x + self.out(y.reshape(x.shape))
        return found


class Patches(nn.Module):
    """Patches of ``side`` x ``side`` pixels as tokens; ``blocks`` see them as a sequence if ``flat``, else as a picture."""

    def __init__(self, channels: int, side: int, *blocks: nn.Module, flat: bool = True) -> None:
        super().__init__()
        self.head, self.blocks = nn.Conv2d(3, channels, side, side), nn.Sequential(*blocks)
        self.tail, self.side, self.flat = conv(channels, 3 * side**2, 1), side, flat

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        shape = y.shape
        y = self.blocks(y.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(shape) if self.flat else self.blocks(y)
        return F.pixel_shuffle(self.tail(y), self.side)


def convolutional() -> Iterator[tuple[str, nn.Module, int, int, int, int]]:
    """Name, network, channels, enlargement, height and width of each."""

    def slopes(channels: int, depth: int, scale: int) -> nn.Module:
        parts = [part for _ in range(depth) for part in (conv(channels, channels), nn.PReLU(channels))]
        return Enlarged(channels, nn.Sequential(nn.PReLU(channels), *parts), scale)

    def wide(c: int) -> nn.Module:
        return Added(conv(c, 4 * c, 1), nn.ReLU(), conv(4 * c, c * 4 // 5, 1), conv(c * 4 // 5, c))

    tanh = nn.Sequential(conv(1, 64, 5), nn.Tanh(), conv(64, 32), nn.Tanh(), conv(32, 9), nn.PixelShuffle(3))
    plain = [Added(conv(56, 56), nn.ReLU(), conv(56, 56), factor=0.1) for _ in range(2)]
    yield "slopes 24", slopes(24, 4, 2), 3, 2, 100, 120
    yield "slopes 10", slopes(10, 6, 3), 3, 3, 150, 200
    yield "tanh", tanh, 1, 3, 84, 110
    yield "wide activations 40", Enlarged(40, nn.Sequential(*(wide(40) for _ in range(3)))), 3, 2, 60, 76
    yield "groups 40", Enlarged(40, Grouped(40, 3)), 3, 2, 70, 90
    yield "largest values 20", Pooled(20), 3, 1, 104, 136
    yield "residuals 56", Enlarged(56, nn.Sequential(*plain), skip=True), 3, 2, 50, 62
    yield "large kernels 32", Enlarged(32, nn.Sequential(Modulated(32), Modulated(32))), 3, 2, 66, 84


def transformers() -> Iterator[tuple[str, nn.Module, int, int, int, int]]:
    """Likewise."""

    def windows(channels: int, count: int, side: int, depth: int, times: int) -> nn.Module:
        return Enlarged(channels, Windows(side, *(Block(channels, count, times) for _ in range(depth))), 3, skip=True)

    yield "gates 40", Enlarged(40, nn.Sequential(*(Gated(40) for _ in range(3)))), 3, 2, 70, 88
    yield "windows of 7, 42", windows(42, 3, 7, 3, 2), 3, 3, 56, 70
    yield "windows of 5, 60", windows(60, 6, 5, 2, 3), 3, 3, 50, 60
    yield "windows of 12, 48", windows(48, 4, 12, 2, 2), 3, 3, 48, 60
    yield "pooled keys 64", Patches(64, 4, *(PooledKeys(64, 4) for _ in range(3)), flat=False), 3, 1, 144, 176
    yield "pooled keys 96", Patches(96, 4, *(PooledKeys(96, 8) for _ in range(2)), flat=False), 3, 1, 160, 224
    yield "channels 40", Enlarged(40, nn.Sequential(*(ChannelAttention(40, 4) for _ in range(3)))), 3, 2, 70, 90
    yield "tokens 192", Patches(192, 8, Block(192, 6), Block(192, 6)), 3, 1, 120, 152


def graphs() -> Iterator[tuple[Graph, int, int, bool]]:
    """Every network, the size of its picture, and whether it is a transformer."""
    torch.manual_seed(0)
    for drawn, is_transformer in ((convolutional(), False), (transformers(), True)):
        for name, network, channels, scale, height, width in drawn:
            yield trace(network.eval(), channels, name, scale=scale, size=(height, width)), height, width, is_transformer
