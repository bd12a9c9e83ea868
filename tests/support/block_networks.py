"""Small networks of the blocks that published restoration networks are made of, with random weights. All map ``[N, C, H, W]`` to
``[N, C, s H, s W]``; what each is after stands beside it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def windows(x: Tensor, side: int) -> Tensor:
    """``[N, H, W, C]`` to ``[N * windows, side * side, C]``."""
    n, h, w, c = x.shape
    x = x.view(n, h // side, side, w // side, side, c)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, side * side, c)


def picture(x: Tensor, side: int, h: int, w: int) -> Tensor:
    """The way back."""
    n = x.shape[0] // (h * w // side // side)
    x = x.view(n, h // side, w // side, side, side, -1)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(n, h, w, -1)


def relative_index(side: int) -> Tensor:
    """Row of the bias table for every pair of places in a window, ``int64[side^2, side^2]``."""
    places = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")).flatten(1)
    offset = (places[:, :, None] - places[:, None, :]).permute(1, 2, 0) + side - 1
    return offset[..., 0] * (2 * side - 1) + offset[..., 1]


def region_mask(h: int, w: int, side: int, shift: int) -> Tensor:
    """-100 between places of a rolled picture that were no neighbours, ``[windows, side^2, side^2]``."""
    regions = torch.zeros((1, h, w, 1))
    cuts = (slice(0, -side), slice(-side, -shift), slice(-shift, None))
    count = 0
    for rows in cuts:
        for columns in cuts:
            regions[:, rows, columns, :] = count
            count += 1
    parts = windows(regions, side).view(-1, side * side)
    difference = parts.unsqueeze(1) - parts.unsqueeze(2)
    return difference.masked_fill(difference != 0, -100.0).masked_fill(difference == 0, 0.0)


class WindowAttention(nn.Module):
    """Attention within windows with a learned bias by relative place, whose index is a buffer of integers (Swin)."""

    def __init__(self, width: int, side: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.randn((2 * side - 1) ** 2, heads) * 0.5)
        self.register_buffer("relative_position_index", relative_index(side))
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = (q * self.scale) @ k.transpose(-2, -1)
        index = self.relative_position_index
        bias = self.relative_position_bias_table[index.view(-1)].view(n, n, -1)  # type: ignore[operator,union-attr]
        scores = scores + bias.permute(2, 0, 1).contiguous().unsqueeze(0)
        if mask is not None:
            count = mask.shape[0]
            scores = scores.view(b // count, count, self.heads, n, n) + mask.unsqueeze(1).unsqueeze(0)
            scores = scores.view(-1, self.heads, n, n)
        return self.proj((self.softmax(scores) @ v).transpose(1, 2).reshape(b, n, c))


class SwinBlock(nn.Module):
    """Tokens ``[N, H W, C]``: normalization, attention in (shifted) windows, and two linear layers with GELU."""

    def __init__(self, width: int, side: int, heads: int, shift: int) -> None:
        super().__init__()
        self.side, self.shift = side, shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = WindowAttention(width, side, heads)
        self.fc1, self.act, self.fc2 = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        h, w = size
        n, _, c = x.shape
        y = self.norm1(x).view(n, h, w, c)
        if self.shift:
            y = torch.roll(y, shifts=(-self.shift, -self.shift), dims=(1, 2))
        mask = region_mask(h, w, self.side, self.shift) if self.shift else None
        y = picture(self.attn(windows(y, self.side), mask), self.side, h, w)
        if self.shift:
            y = torch.roll(y, shifts=(self.shift, self.shift), dims=(1, 2))
        x = x + y.view(n, h * w, c)
        return x + self.fc2(self.act(self.fc1(self.norm2(x))))


class Swin(nn.Module):
    """SwinIR-like: padded to whole windows by reflection inside, cut off again at the end."""

    def __init__(self, shift: int = 0, channels: int = 3, width: int = 12, side: int = 4) -> None:
        super().__init__()
        self.side = side
        self.register_buffer("mean", torch.rand(1, channels, 1, 1))
        self.head = nn.Conv2d(channels, width, 3, 1, 1)
        self.block = SwinBlock(width, side, 3, shift)
        self.norm = nn.LayerNorm(width)
        self.tail = nn.Sequential(nn.Conv2d(width, 4 * channels, 3, 1, 1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        x = F.pad(x, (0, -w % self.side, 0, -h % self.side), "reflect") - self.mean
        y = self.head(x)
        size = (y.shape[2], y.shape[3])
        tokens = self.norm(self.block(y.flatten(2).transpose(1, 2), size))
        y = y + tokens.transpose(1, 2).view(x.shape[0], -1, *size)
        return (self.tail(y) + self.mean)[:, :, : 2 * h, : 2 * w]


class LayerNorm2d(nn.Module):
    """Normalization over the channels of a picture, in elementary steps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(width) + 0.5), nn.Parameter(torch.randn(width))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        y = (x - mean) / (variance + 1e-6).sqrt()
        return self.weight.view(1, -1, 1, 1) * y + self.bias.view(1, -1, 1, 1)


class Naf(nn.Module):
    """NAFNet-like: normalization over channels, halves multiplied, simple channel attention, a scale per channel."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.intro, self.ending = nn.Conv2d(3, width, 3, 1, 1), nn.Conv2d(width, 3, 3, 1, 1)
        self.norm = LayerNorm2d(width)
        self.conv1, self.conv2 = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(2 * width, 2 * width, 3, 1, 1, groups=2 * width)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1))
        self.conv3 = nn.Conv2d(width, width, 1)
        self.beta = nn.Parameter(torch.randn(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.intro(x)
        z = self.conv2(self.conv1(self.norm(y)))
        a, b = z.chunk(2, dim=1)
        z = a * b
        z = self.conv3(z * self.sca(z))
        return self.ending(y + z * self.beta) + x


class Hat(nn.Module):
    """HAT-like: a window block beside channel attention behind two convolutions, added to one stream."""

    def __init__(self, width: int = 12, side: int = 4) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, width, 3, 1, 1), nn.Conv2d(width, 3, 3, 1, 1)
        self.block = SwinBlock(width, side, 2, 0)
        self.squeeze = nn.Sequential(nn.Conv2d(width, 4, 3, 1, 1), nn.GELU(), nn.Conv2d(4, width, 3, 1, 1))
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, 4, 1), nn.ReLU(), nn.Conv2d(4, width, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        n, c, h, w = y.shape
        z = self.squeeze(y)
        tokens = y.flatten(2).transpose(1, 2)
        tokens = self.block(tokens, (h, w)) + 0.01 * (z * self.gate(z)).permute(0, 2, 3, 1).contiguous().view(n, h * w, c)
        return self.tail(tokens.transpose(1, 2).reshape(n, c, h, w)) + x


class Transposed(nn.Module):
    """Restormer-like: attention between channels, normalized vectors, a learned temperature, a gated feed-forward net."""

    def __init__(self, width: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.head, self.tail = nn.Conv2d(3, width, 3, 1, 1), nn.Conv2d(width, 3, 3, 1, 1)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.temperature = nn.Parameter(torch.rand(heads, 1, 1) + 0.5)
        self.gated = nn.Conv2d(width, 4 * width, 1)
        self.out = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        n, c, h, w = y.shape
        q, k, v = (t.reshape(n, self.heads, c // self.heads, h * w) for t in self.qkv(y).chunk(3, dim=1))
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        attention = ((q @ k.transpose(-2, -1)) * self.temperature).softmax(dim=-1)
        y = y + (attention @ v).reshape(n, c, h, w)
        a, b = self.gated(y).chunk(2, dim=1)
        return self.tail(y + self.out(F.gelu(a) * b)) + x


class Carn(nn.Module):
    """CARN-M-like: grouped convolutions of one block used three times, everything concatenated."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, 1, 1)
        self.group = nn.Conv2d(width, width, 3, 1, 1, groups=4)
        self.point = nn.Conv2d(width, width, 1)
        self.mix = nn.Conv2d(4 * width, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        all_of_them = [y]
        for _ in range(3):
            y = F.relu(self.point(F.relu(self.group(y))) + y)
            all_of_them.append(y)
        return F.pixel_shuffle(self.mix(torch.cat(all_of_them, 1)), 2)


class UNet(nn.Module):
    """Pooling down, a resize to the size of the skip connection up."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)
        self.c, self.up = nn.Conv2d(2 * width, 3, 3, 1, 1), nn.ConvTranspose2d(width, width, 2, 2, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.a(x))
        second = F.elu(self.b(F.max_pool2d(first, 2)))
        third = F.hardswish(self.up(F.avg_pool2d(second, 2)))
        y = F.interpolate(second + third, size=first.shape[2:], mode="bilinear", align_corners=False)
        return self.c(torch.cat([first, y], 1)) * 0.1 + x


class Shuffles(nn.Module):
    """Channel shuffle, pixel unshuffle and pixel shuffle by hand, colours swapped by index."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(12, width, 3, 1, 1), nn.Conv2d(width, 48, 3, 1, 1, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        y = x[:, [2, 1, 0]].view(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)
        y = F.silu(self.a(y))
        y = y.view(n, 4, -1, h // 2, w // 2).transpose(1, 2).contiguous().view(n, -1, h // 2, w // 2)
        y = self.b(y)
        y = y.reshape(n, 3, 4, 4, h // 2, w // 2).permute(0, 1, 4, 2, 5, 3)
        return y.reshape(n, 3, 2 * h, 2 * w)


class Attention(nn.Module):
    """The fused attention of torch on whole pictures of tokens, an einsum beside it, root mean square normalization."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, width, 4, 4), nn.Conv2d(width, 48, 1)
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        c, h, w = y.shape[1:]
        tokens = self.norm(y.flatten(2).transpose(1, 2))
        q, k, v = self.qkv(tokens).unflatten(-1, (3, 2, c // 2)).permute(2, 0, 3, 1, 4).unbind(0)
        z = F.scaled_dot_product_attention(q, k, v) + torch.einsum("bhnd,bhde->bhne", q, k.transpose(2, 3) @ v)
        z = z.transpose(1, 2).flatten(2) + tokens
        return F.pixel_shuffle(self.tail(z.transpose(1, 2).unflatten(2, (h, w))), 4)


BLOCKS: dict[str, type[nn.Module]] = {
    "swin": Swin, "naf": Naf, "hat": Hat, "transposed": Transposed, "carn": Carn, "unet": UNet, "shuffles": Shuffles,
    "attention": Attention,
}  # fmt: skip


def build(name: str) -> nn.Module:
    """One of ``BLOCKS``, or "shifted": windows moved by half of one, with a mask."""
    torch.manual_seed(3)
    return (Swin(shift=2) if name == "shifted" else BLOCKS[name]()).eval()
