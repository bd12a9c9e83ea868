"""NGswin: Choi, Lee and Yang, "N-Gram in Swin Transformers for Efficient Lightweight Image Super-Resolution", CVPR 2023.

Written from the paper's description; keys follow the published weights (rami0205/NGramSwin, Apache-2.0). Three stages of window
attention at falling resolution, each fed with what the stages before it gave; a bottleneck puts them together at full size.
Before attention every window is told of its neighbours: a convolution makes one vector of each window, vectors of adjacent
windows attend to each other, forward and backward, and what comes out is added to all tokens of the window. Attention is by
cosine, normalizations stand behind it (Liu et al. 2022, "Swin Transformer V2").
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, cat, nn

from searchspaces.networks.spec import NetworkSpec, State, indices, known, outputs
from searchspaces.networks.transformer import windows
from searchspaces.networks.transformer.swin import Mlp

SIDE, PAIR = 8, 2
STEP = 4 * SIDE
"""Of what sides are multiples: whole windows at a quarter of the size."""
STEEPEST = math.log(100.0)
"""Of the logarithm of what multiplies a cosine."""
MEANS = {2: (0.4485, 0.4375, 0.4045), 3: (0.4485, 0.4375, 0.4045)}
DEVIATIONS = {2: (0.2397, 0.2290, 0.2389), 3: (0.2373, 0.2265, 0.2367)}
"""Of the training pictures of each scale, which are normalized by them."""


class CosineAttention(nn.Module):
    """Attention among the tokens ``[windows, L, C]`` of a window by the cosine of query and key. Where ``heads`` does not divide
    the width, what is left over has no head."""

    relative: Tensor

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.each = heads, width // heads
        inner = heads * self.each
        self.qkv, self.proj = nn.Linear(width, 3 * inner), nn.Linear(inner, width)
        self.logit_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10.0)))
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * side - 1) ** 2, heads))
        self.register_buffer("relative", windows.offsets(side), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        length = x.shape[1]
        parts = self.qkv(x).view(-1, length, 3, self.heads, self.each).permute(2, 0, 3, 1, 4)
        q, k, v = F.normalize(parts[0], dim=-1), F.normalize(parts[1], dim=-1), parts[2]
        bias = self.relative_position_bias_table[self.relative].permute(2, 0, 1)
        bias = bias if mask is None else bias + mask.unsqueeze(1)
        scores = q @ k.transpose(-2, -1) * self.logit_scale.clamp(max=STEEPEST).exp() + bias
        found: Tensor = self.proj((scores.softmax(dim=-1) @ v).transpose(1, 2).reshape(-1, length, self.heads * self.each))
        return found


class Context(nn.Module):
    """What every window learns of its neighbours: a map ``[N, C, H, W]`` to ``[N, C, H / SIDE, W / SIDE]``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        half = width // 2
        self.unigram_embed = nn.Conv2d(width, half, SIDE, stride=SIDE, groups=half)
        self.ngram_attn = CosineAttention(half, heads, PAIR)
        self.merge = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        each = self.unigram_embed(x)
        n, half, h, w = each.shape
        # At each window it and three neighbours, those behind it and those before it, attend to each other; both at once.
        around = [F.pad(each, sides, mode="reflect") for sides in ((0, 1, 0, 1), (1, 0, 1, 0))]
        eight = torch.stack([m[:, :, y : y + h, z : z + w] for m in around for y in range(PAIR) for z in range(PAIR)], dim=-1)
        tokens = eight.permute(0, 2, 3, 4, 1).reshape(-1, PAIR * PAIR, half)
        both = self.ngram_attn(tokens).mean(dim=1).view(n, h, w, 2 * half)
        found: Tensor = self.merge(both.permute(0, 3, 1, 2))
        return found


class Partition(nn.Module):
    """Holds the context under its published name."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ngram_context = Context(width, heads)


class Block(nn.Module):
    """A map ``[N, H, W, C]``, sides multiples of ``SIDE``: context and attention in windows, and an MLP, each normalized and then
    added."""

    def __init__(self, width: int, heads: int, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.ngram_window_partition = Partition(width, heads)
        self.attn, self.ffn = CosineAttention(width, heads, SIDE), Mlp(width, 2 * width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.norm1(self._attended(x))
        found: Tensor = x + self.norm2(self.ffn(x))
        return found

    def _attended(self, x: Tensor) -> Tensor:
        n, h, w = x.shape[:3]
        context = self.ngram_window_partition.ngram_context(x.permute(0, 3, 1, 2))
        x = x + F.interpolate(context, scale_factor=SIDE, mode="nearest").permute(0, 2, 3, 1)
        if self.shift == 0:
            return windows.joined(self.attn(windows.cut(x, SIDE)), SIDE, h, w)
        rolled = windows.cut(x.roll((-self.shift, -self.shift), (1, 2)), SIDE)
        mask = windows.mask(h, w, SIDE, self.shift).repeat(n, 1, 1)
        return windows.joined(self.attn(rolled, mask), SIDE, h, w).roll((self.shift, self.shift), (1, 2))


class Merging(nn.Module):
    """Four neighbours become one token: ``[N, H, W, C]`` to ``[N, H / 2, W / 2, C]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * width), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        four = cat([x[:, y::2, z::2] for y in (0, 1) for z in (0, 1)], dim=-1)
        found: Tensor = self.reduction(self.norm(four))
        return found


class Stage(nn.Module):
    """Blocks of which each reads the sum of what the one before read and wrote. ``before``: channels that a linear layer brings
    to the width first, ``merges``: whether another stage at half the size follows."""

    def __init__(self, width: int, heads: int, count: int, before: int = 0, merges: bool = False) -> None:
        super().__init__()
        if before:
            self.across_cascade_proj = nn.Linear(before, width)
        self.projects = before > 0
        self.blocks = nn.ModuleList(Block(width, heads, i % 2 * SIDE // 2) for i in range(count))
        if merges:
            self.downsample = Merging(width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the last block wrote, and that with what it read: ``[N, H, W, C]`` both."""
        x = self.across_cascade_proj(x) if self.projects else x
        y = x
        for block in self.blocks:
            y = block(x)
            x = x + y
        return y, x


class Bottleneck(nn.Module):
    """What the stages wrote, at full size: channels of each become pixels, ``C + C / 4 + C / 16`` become ``C``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width + width // 4 + width // 16
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.pointwise, self.norm = nn.Linear(inner, width), nn.LayerNorm(width)

    def forward(self, shallow: Tensor, outputs: list[Tensor]) -> Tensor:
        """Maps ``[N, C, H, W]``, those of the stages at 1, 1/2 and 1/4 of the size, to ``[N, H, W, C]``."""
        parts, level = [], shallow
        for i, written in enumerate(outputs):
            level = F.max_pool2d(level, 2) if i else level
            both = written + F.leaky_relu(level, 0.01)
            parts.append(F.pixel_shuffle(both, 2**i) if i else both)
        found: Tensor = self.norm(self.pointwise(F.gelu(self.depthwise(cat(parts, dim=1))).permute(0, 2, 3, 1)))
        return found


class Shallow(nn.Module):
    """The first convolution, under its published name."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1)


class Target(nn.Module):
    """From features to the enlarged picture."""

    def __init__(self, width: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.before_shuffle = nn.Conv2d(width, 3 * scale**2, 3, padding=1)
        self.to_origin = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.to_origin(F.pixel_shuffle(self.before_shuffle(x), self.scale))
        return found


def mirrored(x: Tensor, axis: int, length: int) -> Tensor:
    """A picture mirrored at its end, with the edge repeated, as often as it takes to make an axis ``length`` long."""
    while x.shape[axis] < length:
        x = cat([x, x.flip(axis)], dim=axis)
    return x.narrow(axis, 0, length)


class NGswin(nn.Module):
    """NGswin of ``width`` channels (a multiple of 16), RGB; range 0..1. ``outer`` blocks at full size at both ends, ``inner``
    ones at a half and at a quarter.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, scale: int = 2, width: int = 64, outer: int = 6, inner: int = 4) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        for name, values in (("mean", MEANS), ("deviation", DEVIATIONS)):
            self.register_buffer(name, torch.tensor(values[scale]).view(1, 3, 1, 1), persistent=False)
        self.shallow_extract = Shallow(width)
        self.encoder_layer1 = Stage(width, 6, outer, merges=True)
        self.encoder_layer2 = Stage(width, 4, inner, before=2 * width, merges=True)
        self.encoder_layer3 = Stage(width, 4, inner, before=3 * width)
        self.bottleneck = Bottleneck(width)
        self.decoder_layer1 = Stage(width, 6, outer)
        self.norm, self.to_target = nn.LayerNorm(width), Target(width, scale)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        for axis, side in ((2, h), (3, w)):
            x = mirrored(x, axis, max(side + -side % STEP, 2 * STEP))
        shallow = self.shallow_extract.conv1((x - self.mean) / self.deviation)
        cascade = shallow
        first, both = self.encoder_layer1(shallow.permute(0, 2, 3, 1))
        written = [first.permute(0, 3, 1, 2)]
        for before, stage in ((self.encoder_layer1, self.encoder_layer2), (self.encoder_layer2, self.encoder_layer3)):
            merged = before.downsample(both).permute(0, 3, 1, 2)
            cascade = cat([F.max_pool2d(cascade, 2), merged], dim=1)
            y, both = stage(cascade.permute(0, 2, 3, 1))
            written.append(y.permute(0, 3, 1, 2))
        y, _ = self.decoder_layer1(self.bottleneck(shallow, written) + first)
        found: Tensor = self.to_target(self.norm(y).permute(0, 3, 1, 2) + shallow) * self.deviation + self.mean
        return found[:, :, : self.scale * h, : self.scale * w]


def _infer(state: State) -> dict[str, Any]:
    outer, inner = (len(indices(state, f"{layer}.blocks", "norm1")) for layer in ("encoder_layer1", "encoder_layer2"))
    return known(width=outputs(state, "shallow_extract.conv1"), outer=outer, inner=inner)


SPEC = NetworkSpec(
    "ngswin",
    "NGswin, 2023: attention in windows that know their neighbours, at three sizes",
    NGswin,
    {"width": 64, "outer": 6, "inner": 4},
    _infer,
    scales=(2, 3),
    derived=("relative_position_index", "attn_mask"),
    place=12,
)
