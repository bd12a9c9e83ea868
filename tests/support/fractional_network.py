"""A network that enlarges by a fraction, as code that people bring."""

from __future__ import annotations

from typing import Any

from torch import nn

STRIDED = '''
import torch
from torch import nn

class Net(nn.Module):
    """``up`` times the size by a shuffle, a part of that by a stride. Begins as pixels repeated and blurred."""

    def __init__(self, up, down):
        super().__init__()
        self.head, self.tail = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, up * up, 3, padding=1)
        self.shuffle, self.relu = nn.PixelShuffle(up), nn.ReLU()
        self.last = nn.Conv2d(1, 1, 3, stride=down, padding=1)

    def forward(self, x):
        return self.last(self.shuffle(self.tail(self.relu(self.head(x)))))

def build(up=3, down=2):
    torch.manual_seed(0)
    net = Net(up, down)
    with torch.no_grad():
        for layer in (net.head, net.tail, net.last):
            layer.weight.mul_(0.2)
            layer.bias.zero_()
        net.head.weight[0, 0, 1, 1] = 1.0
        net.tail.weight[:, 0, 1, 1] = 1.0
        net.last.weight.mul_(0.1).add_(1 / 9)
    return net
'''


def strided(up: int = 3, down: int = 2) -> nn.Module:
    """The network of ``STRIDED``: [N, 1, H, W] to ``up / down`` times the sides, where that is whole."""
    names: dict[str, Any] = {}
    exec(STRIDED, names)
    made: nn.Module = names["build"](up, down)
    return made.eval()
