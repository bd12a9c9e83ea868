"""A network with a layer that is nearly of rank one: what its coarse rounding spoils, a low-rank branch gives back."""

from __future__ import annotations

LAYER = "body"
NETWORK = '''
import torch
from torch import nn

class Net(nn.Module):
    """Repeats every pixel, and adds some noise of its own: something to quantize."""
    def __init__(self, scale=2):
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.head, self.body = nn.Conv2d(1, 48, 3, padding=1), nn.Conv2d(48, 16, 3, padding=1)
        self.tail, self.copy = nn.Conv2d(16, 4, 1), nn.Conv2d(1, 4, 1)
        self.relu, self.shuffle = nn.ReLU(), nn.PixelShuffle(scale)
        with torch.no_grad():
            for layer in (self.head, self.body, self.tail, self.copy):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=random))
                layer.bias.zero_()
            outputs, inputs = torch.randn(16, generator=random), torch.randn(48 * 9, generator=random)
            self.body.weight.mul_(0.05).add_(torch.outer(outputs, inputs).view(16, 48, 3, 3))
            self.head.weight.sub_(self.head.weight.mean(dim=(1, 2, 3), keepdim=True))
            self.tail.weight.mul_(0.001)
            self.copy.weight.fill_(1.0)

    def forward(self, x):
        return self.shuffle(self.copy(x) + self.tail(self.body(self.relu(self.head(x)))))
'''
