"""SwinIR: Liang et al., "SwinIR: Image Restoration Using Swin Transformer", ICCV 2021 workshops.

Written from the paper's description; keys follow the published weights, any size of them: light and classical super-resolution,
real-world super-resolution, denoising, and removal of compression artefacts (windows of 7, luma).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwmodels.errors import UsageError
from searchspaces.networks.enlarging import DIV2K_MEAN
from searchspaces.networks.spec import NetworkSpec, State, indices, inputs, known, outputs
from searchspaces.networks.transformer.swin import Layer

FEATURES = 64
"""Channels behind the body where the picture is enlarged in steps."""
JPEG_SIDE, JPEG_RANGE = 7, 255.0
"""Windows of the networks against compression artefacts, which compute in 0..255."""
ENDS = {
    "direct": "one convolution and pixel shuffle: the light networks",
    "shuffle": "steps of convolution and pixel shuffle: the classical networks",
    "nearest": "steps of repeated pixels and convolutions: the real-world networks",
    "same": "no enlargement: denoising, compression artefacts",
}


def _between(width: int, convs: int) -> nn.Module:
    """Behind a group: one convolution, or three of which the outer ones narrow it to a quarter."""
    if convs == 1:
        return nn.Conv2d(width, width, 3, padding=1)
    inner = width // 4
    return nn.Sequential(
        nn.Conv2d(width, inner, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(inner, inner, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(inner, width, 3, padding=1),
    )


class Blocks(nn.Module):
    """The layers of a group, every second one with shifted windows."""

    def __init__(self, width: int, depth: int, heads: int, side: int, inner: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Layer(width, heads, side, i % 2 * (side // 2), inner) for i in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.blocks:
            x = layer(x)
        return x


class Group(nn.Module):
    """Layers and convolutions, added to the stream ``[N, H, W, C]``."""

    def __init__(self, width: int, depth: int, heads: int, side: int, inner: int, convs: int) -> None:
        super().__init__()
        self.residual_group, self.conv = Blocks(width, depth, heads, side, inner), _between(width, convs)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(self.residual_group(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1) + x
        return found


class Embedding(nn.Module):
    """The normalization of the first features, under its published name."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)


class SwinIR(nn.Module):
    """SwinIR of ``width`` channels and ``groups`` groups of ``depth`` layers with ``heads`` heads in windows of ``side``; MLPs
    are ``inner`` wide, a group has ``convs`` (1 or 3) convolutions. ``end``: one of ``ENDS``, at scale 1 always the last. Range
    0..1.

    Shapes: ``[N, channels, H, W] -> [N, channels, scale*H, scale*W]``, sides of at least ``side`` pixels.

    Raises:
        UsageError: no such end, or one that does not enlarge so.
    """

    mean: Tensor

    def __init__(
        self,
        scale: int = 2,
        channels: int = 3,
        width: int = 60,
        groups: int = 4,
        depth: int = 6,
        heads: int = 6,
        side: int = 8,
        inner: int = 120,
        convs: int = 1,
        end: str = "direct",
    ) -> None:
        super().__init__()
        end = "same" if scale == 1 else end
        if end not in ENDS or (end == "same" and scale > 1) or (end == "nearest" and scale not in (2, 4)):
            raise UsageError(f"swinir: scale {scale} with end={end!r}", f"Ends: {', '.join(ENDS)}.")
        self.scale, self.channels, self.side, self.end = scale, channels, side, end
        self.range = JPEG_RANGE if side == JPEG_SIDE else 1.0
        mean = torch.tensor(DIV2K_MEAN if channels == 3 else (0.0,)).view(1, -1, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        self.conv_first = nn.Conv2d(channels, width, 3, padding=1)
        self.patch_embed = Embedding(width)
        self.layers = nn.ModuleList(Group(width, depth, heads, side, inner, convs) for _ in range(groups))
        self.norm, self.conv_after_body = nn.LayerNorm(width), _between(width, convs)
        if end in ("shuffle", "nearest"):
            self.conv_before_upsample = nn.Sequential(nn.Conv2d(width, FEATURES, 3, padding=1), nn.LeakyReLU())
        if end == "direct":
            self.upsample = nn.Sequential(nn.Conv2d(width, channels * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        if end == "shuffle":
            self.upsample = nn.Sequential(*(layer for factor in _steps(scale) for layer in _enlarging(factor)))
        if end == "nearest":
            self.conv_up1, self.conv_hr = (nn.Conv2d(FEATURES, FEATURES, 3, padding=1) for _ in range(2))
            if scale == 4:
                self.conv_up2 = nn.Conv2d(FEATURES, FEATURES, 3, padding=1)
        if end != "direct":
            self.conv_last = nn.Conv2d(width if end == "same" else FEATURES, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        x = F.pad(x, (0, -w % self.side, 0, -h % self.side), mode="reflect") - self.mean
        x = x if self.range == 1 else x * self.range
        first = self.conv_first(x)
        y = self.patch_embed.norm(first.permute(0, 2, 3, 1))
        for group in self.layers:
            y = group(y)
        y = self._ended(self.conv_after_body(self.norm(y).permute(0, 3, 1, 2)) + first, x)
        y = (y if self.range == 1 else y / self.range) + self.mean
        return y[:, :, : self.scale * h, : self.scale * w]

    def _ended(self, y: Tensor, x: Tensor) -> Tensor:
        """From the features ``y`` to the picture; ``x`` is the one that came in."""
        found: Tensor
        if self.end == "same":
            return x + self.conv_last(y)  # type: ignore[no-any-return]  # modules are called untyped
        if self.end == "direct":
            found = self.upsample(y)
        elif self.end == "shuffle":
            found = self.conv_last(self.upsample(self.conv_before_upsample(y)))
        else:
            y = self.conv_before_upsample(y)
            for conv in (self.conv_up1, self.conv_up2) if self.scale == 4 else (self.conv_up1,):
                y = F.leaky_relu(conv(F.interpolate(y, scale_factor=2, mode="nearest")), 0.2)
            found = self.conv_last(F.leaky_relu(self.conv_hr(y), 0.2))
        return found


def _steps(scale: int) -> list[int]:
    """Factors of 2 as far as they go, and what is left."""
    steps = []
    while scale % 2 == 0:
        steps.append(2)
        scale //= 2
    return [*steps, scale] if scale > 1 else steps


def _enlarging(factor: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(FEATURES, FEATURES * factor**2, 3, padding=1), nn.PixelShuffle(factor)


def _infer(state: State) -> dict[str, Any]:
    block = "layers.0.residual_group.blocks"
    table = state.get(f"{block}.0.attn.relative_position_bias_table")
    rows, heads = (0, 0) if table is None else table.shape
    has = {key.partition(".")[0] for key in state}
    marks = {"conv_up1": "nearest", "conv_before_upsample": "shuffle", "upsample": "direct", "conv_last": "same"}
    end = next((end for mark, end in marks.items() if mark in has), "")
    return known(
        channels=inputs(state, "conv_first"),
        width=outputs(state, "conv_first"),
        groups=len(indices(state, "layers", "residual_group.blocks.0.norm1.weight")),
        depth=len(indices(state, block, "norm1.weight")),
        heads=int(heads),
        side=round((rows**0.5 + 1) / 2) if rows else 0,
        inner=outputs(state, f"{block}.0.mlp.fc1"),
        convs=3 if "conv_after_body.2.weight" in state else 1,
        end=end,
    )


SPEC = NetworkSpec(
    "swinir",
    "SwinIR, 2021, any size and task: attention in shifted windows",
    SwinIR,
    {"channels": 3, "width": 60, "groups": 4, "depth": 6, "heads": 6, "side": 8, "inner": 120, "convs": 1, "end": "direct"},
    _infer,
    scales=(2, 3, 4, 8, 1),
    channels=None,
    choices={"channels": {1: "luma", 3: "RGB"}, "convs": {1: "", 3: ""}, "end": ENDS},
    derived=("relative_position_index", "attn_mask"),
    place=13,
)
