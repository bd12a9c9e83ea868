"""Weights that are trained about the mean of what they read: what that mean is, and that biases keep what is written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from byte_ends import draft_of
from torch import Tensor, nn

from hwsearch.contracts import tiny_calibration
from hwsearch.quant.learn.centred import Shift, means
from hwsearch.quant.learn.together import Student
from searchspaces.tracing.trace import trace


class Mixed(nn.Module):
    """A convolution, one of two groups, a depthwise one that strides, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.grouped = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1, groups=2)
        self.depthwise, self.linear = nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6), nn.Linear(6, 4)

    def read(self, x: Tensor) -> dict[str, Tensor]:
        """What each layer reads, and ``out``."""
        plain = F.relu(self.plain(x))
        grouped = F.relu(self.grouped(plain))
        tokens = F.relu(self.depthwise(grouped)).permute(0, 2, 3, 1)
        return {"plain": x, "grouped": plain, "depthwise": grouped, "linear": tokens, "out": self.linear(tokens)}

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.read(x)["out"].permute(0, 3, 1, 2), 2)


def test_means_are_those_of_every_patch() -> None:
    """Pictures so small that every place of them is looked at, each as much as the other."""
    torch.manual_seed(0)
    net = Mixed().eval()
    pictures = [torch.rand(1, 1, 12, 16) for _ in range(3)]
    found = means(trace(net, 1, "mixed"), pictures)
    with torch.no_grad():
        for name, layer in net.named_children():
            shifts = []
            for picture in pictures:
                x = net.read(picture)[name]
                bare = layer(x) - (layer.bias if name == "linear" else layer.bias.view(1, -1, 1, 1))
                shifts.append(bare.flatten(0, -2).mean(dim=0) if name == "linear" else bare.mean(dim=(0, 2, 3)))
            shift = Shift(found[name], torch.zeros_like(layer.weight))(layer.weight)
            torch.testing.assert_close(shift, torch.stack(shifts).mean(dim=0), rtol=1e-4, atol=1e-6)


def test_weights_that_moved_nothing_shift_nothing() -> None:
    weight = torch.rand(4, 2, 3, 3)
    assert torch.equal(Shift(torch.rand(1, 18), weight)(weight), torch.zeros(4))


@pytest.mark.parametrize("tensors", [4, 8])
def test_integers_that_move_leave_the_mean_of_what_is_written(tensors: int) -> None:
    """A layer's weights times the mean of what it reads, and its bias: as before, to a unit of the sums."""
    draft = draft_of(tiny_calibration((4, 8), (4, 8), "together"), 4, tensors)
    student, read = Student(draft), means(draft.network, draft.pictures)
    generator, moved = torch.Generator().manual_seed(0), 0
    for layer in student.layers.values():
        layer.steps.data += torch.randn(layer.steps.shape, generator=generator)
    after = student.quantized()
    for name, before in draft.quantized.layers.items():
        source = draft.quantized.formats[student.graph[name].inputs[0]].scale
        written = []
        for one in (before, after.layers[name]):
            weight = torch.from_numpy(one.weight.astype(np.float32) * one.scale.reshape(-1, 1, 1, 1))
            unit = one.scale.astype(np.float64) * source
            written.append(Shift(read[name], torch.zeros_like(weight))(weight).double().numpy() + one.bias * unit)
        moved += int(np.any(before.weight != after.layers[name].weight))
        assert np.all(np.abs(written[1] - written[0]) <= 1.1 * unit)
    assert moved == len(student.layers) > 1
