"""ResNet-18: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, with the names of torchvision's
weights.

Basic blocks (two 3x3 convolutions with batch normalization) in four stages that each halve the picture and double the channels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from searchspaces.networks.classifier import IMAGENET, TASK
from searchspaces.networks.spec import NetworkSpec, State, known, outputs

STAGES, BLOCKS = 4, 2
SIZE = (224, 224)
"""Height and width of the pictures that published weights were trained with; others are taken."""


class BasicBlock(nn.Module):
    """Two convolutions, plus the input, which is convolved to the same size where that differs."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample: nn.Module | None = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """ResNet-18 of ``width`` channels in its first stage, for ``classes`` classes.

    Shapes: ``[N, 3, H, W] -> [N, classes]``; values with ImageNet's mean taken off, over its deviation. ``scale`` is 1.
    """

    def __init__(self, scale: int = 1, width: int = 64, classes: int = 1000) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        before = width
        for stage in range(STAGES):
            after = width * 2**stage
            blocks = [BasicBlock(before if i == 0 else after, after, 2 if i == 0 and stage else 1) for i in range(BLOCKS)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            before = after
        self.fc = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        for stage in range(STAGES):
            x = getattr(self, f"layer{stage + 1}")(x)
        found: Tensor = self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
        return found


def _infer(state: State) -> dict[str, Any]:
    return known(width=outputs(state, "conv1"), classes=outputs(state, "fc"))


SPEC = NetworkSpec(
    "resnet18",
    "ResNet-18, 2016: a classifier of residual blocks",
    ResNet18,
    {"width": 64, "classes": 1000},
    _infer,
    scales=(1,),
    value_range=IMAGENET,
    task=TASK,
    size=SIZE,
    place=9,
)
