"""VGG-16: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, with the
names of torchvision's weights.

Thirteen 3x3 convolutions in five stages, each of which ends by halving the picture, and three linear layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from searchspaces.networks.classifier import IMAGENET, TASK
from searchspaces.networks.spec import NetworkSpec, State, known, outputs

STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
"""Of each stage: times the first one's channels, and convolutions."""
SIZE = (224, 224)
"""Height and width of the pictures that the linear layers are made for."""
SIDE = SIZE[0] // 2 ** len(STAGES)


class VGG16(nn.Module):
    """VGG-16 of ``width`` channels in its first stage and ``hidden`` in its linear layers, for ``classes`` classes.

    Shapes: ``[N, 3, 224, 224] -> [N, classes]``; values with ImageNet's mean taken off, over its deviation.
    ``scale`` is 1.
    """

    def __init__(self, scale: int = 1, width: int = 64, hidden: int = 4096, classes: int = 1000) -> None:
        super().__init__()
        self.scale, self.channels = scale, 3
        layers: list[nn.Module] = []
        before = 3
        for times, count in STAGES:
            for _ in range(count):
                layers += [nn.Conv2d(before, times * width, 3, padding=1), nn.ReLU()]
                before = times * width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(before * SIDE**2, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) != SIZE:
            raise ValueError(f"VGG-16 reads pictures of {SIZE[0]}x{SIZE[1]}")
        found: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return found


def _infer(state: State) -> dict[str, Any]:
    return known(
        width=outputs(state, "features.0"), hidden=outputs(state, "classifier.0"), classes=outputs(state, "classifier.6")
    )


SPEC = NetworkSpec(
    "vgg16",
    "VGG-16, 2015: a classifier of thirteen plain convolutions",
    VGG16,
    {"width": 64, "hidden": 4096, "classes": 1000},
    _infer,
    scales=(1,),
    value_range=IMAGENET,
    task=TASK,
    size=SIZE,
    place=9,
)
