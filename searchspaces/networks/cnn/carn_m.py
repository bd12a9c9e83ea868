"""CARN-M: Ahn, Kang and Sohn, "Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual Network", ECCV 2018, the
mobile one.

Blocks and the layers inside them are cascaded: each reads the outputs of all before it, joined by a 1x1 convolution. A block
uses one residual block of grouped convolutions three times. A file may be for one scale, or, as the published one, for three:
what enlarges is then there for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from searchspaces.networks.enlarging import DIV2K_MEAN, steps
from searchspaces.networks.spec import NetworkSpec, State, inputs, known, outputs

STEPS = 3


class MeanShift(nn.Module):
    """The mean of the training pictures taken off (``sign`` -1) or put back: a 1x1 convolution, as published."""

    def __init__(self, sign: int) -> None:
        super().__init__()
        self.shifter = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.shifter.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
            self.shifter.bias.copy_(sign * torch.tensor(DIV2K_MEAN))  # type: ignore[union-attr]  # nn.Module's attributes are Tensor or Module to mypy

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.shifter(x)
        return found


class EResidual(nn.Module):
    """Two grouped convolutions and a pointwise one, plus the input."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=groups),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, groups=groups),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + x)


class Joined(nn.Module):
    """Several feature maps to one."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(count * width, width, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.body(x)
        return found


def cascaded(x: Tensor, blocks: Sequence[nn.Module], joins: Sequence[nn.Module]) -> Tensor:
    """Every block reads what was joined of the outputs of all before it, and of the input."""
    seen, y = x, x
    for block, join in zip(blocks, joins, strict=True):
        seen = torch.cat([seen, block(y)], dim=1)
        y = join(seen)
    return y


class Cascade(nn.Module):
    """One residual block three times, cascaded."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.b1 = EResidual(width, groups)
        self.c1, self.c2, self.c3 = (Joined(count, width) for count in range(2, STEPS + 2))

    def forward(self, x: Tensor) -> Tensor:
        return cascaded(x, [self.b1] * STEPS, [self.c1, self.c2, self.c3])


class Upsample(nn.Module):
    """Grouped convolutions and pixel shuffles; x4 is twice x2."""

    def __init__(self, scale: int, width: int, groups: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for factor in steps(scale):
            conv = nn.Conv2d(width, width * factor**2, 3, padding=1, groups=groups)
            layers += [conv, nn.ReLU(), nn.PixelShuffle(factor)]
        self.up = nn.Module()
        self.up.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.up.body(x)  # type: ignore[operator]  # nn.Module's attributes are Tensor or Module to mypy
        return found


class CARNM(nn.Module):
    """CARN-M of ``width`` channels in ``groups`` groups, RGB.

    Shapes: ``[N, 3, H, W] -> [N, 3, scale*H, scale*W]``; range 0..1.
    """

    def __init__(self, scale: int = 2, width: int = 64, groups: int = 4) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        self.sub_mean, self.add_mean = MeanShift(-1), MeanShift(1)
        self.entry = nn.Conv2d(3, width, 3, padding=1)
        self.b1, self.b2, self.b3 = (Cascade(width, groups) for _ in range(STEPS))
        self.c1, self.c2, self.c3 = (Joined(count, width) for count in range(2, STEPS + 2))
        self.upsample = Upsample(scale, width, groups)
        self.exit = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.entry(self.sub_mean(x))
        y = cascaded(y, [self.b1, self.b2, self.b3], [self.c1, self.c2, self.c3])
        found: Tensor = self.add_mean(self.exit(self.upsample(y)))
        return found


def _infer(state: State) -> dict[str, Any]:
    width, each = outputs(state, "entry"), inputs(state, "b1.b1.body.0")
    return known(width=width, groups=width // each if width and each else None)


def _at_scale(state: State, scale: int) -> State:
    """Of a file that holds what enlarges for several scales (``upsample.up2``, ``up3``, ``up4``) the part for one."""
    several = {f"upsample.up{other}." for other in (2, 3, 4)}
    if not any(key.startswith(tuple(several)) for key in state):
        return state
    own = f"upsample.up{scale}."
    others = tuple(several - {own})
    return {
        f"upsample.up.{key.removeprefix(own)}" if key.startswith(own) else key: value
        for key, value in state.items()
        if not key.startswith(others)
    }


SPEC = NetworkSpec(
    "carn_m",
    "CARN-M, 2018: cascades of grouped residual blocks, each used three times",
    CARNM,
    {"width": 64, "groups": 4},
    _infer,
    at_scale=_at_scale,
    place=6,
)
