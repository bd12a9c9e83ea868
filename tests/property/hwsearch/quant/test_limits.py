"""Limits that calibration meets itself: sums of 32 bits, half precision, and channels far larger than the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hwmodels.errors import FileError
from hwmodels.numbers import FP16, INT16, Int
from hwsearch.formats.writing.check import check
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.proof import INT32_LIMIT
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.weights.sums import layer_integers
from searchspaces.ir.graph import execute
from searchspaces.ir.lower import to_workload
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace

CROPS = [torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(i)) for i in range(4)]


def network(activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(1, 6, 3, padding=1), activation(), nn.Conv2d(6, 6, 3, padding=1), activation()]
    net = nn.Sequential(*layers, nn.Conv2d(6, 4, 3, padding=1), nn.PixelShuffle(2))
    with torch.no_grad():
        net[4].bias.fill_(0.5)
    return net


def calibrated(net: nn.Module, *, half: bool = False) -> Calibration:
    graph = trace(net.eval(), 1, "net")
    workload = to_workload(graph, 24, 24)
    weights, wide = ((8, 16), FP16) if half else ((2, 4, 8), INT16)
    return calibrate(graph, CROPS[:3], build_space(workload, weights, (8, 16), wide=wide))


def noise(found: Calibration, weight_bits: int, tensor_bits: int) -> float:
    """Squared error at the output, in integers, on a picture that calibration has not seen."""
    quantized = found.quantized(found.space.uniform(weight_bits, tensor_bits))
    check(quantized)
    with torch.no_grad():
        error = integer.run(quantized, CROPS[3]) - execute(found.graph, CROPS[3]).clamp(0, 1)
    return float(error.double().square().mean())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(gains=st.lists(st.floats(-6, 6), min_size=6, max_size=6), layer=st.sampled_from([0, 2]))
def test_sixteen_bits_are_never_worse_than_eight_whatever_one_channel_is(gains: list[float], layer: int) -> None:
    """Channels are multiplied by 1e-6 to 1e6 and the next layer undoes it: the function stays."""
    net = network()
    factors = torch.tensor([10.0**g for g in gains])
    with torch.no_grad():
        net[layer].weight.mul_(factors.view(-1, 1, 1, 1))
        net[layer].bias.mul_(factors)
        net[layer + 2].weight.div_(factors.view(1, -1, 1, 1))
    found = calibrated(net)
    eight, sixteen = noise(found, 8, 8), noise(found, 8, 16)
    assert sixteen <= eight
    assert sixteen < 4 * noise(calibrated(network()), 8, 16) + 1e-6


@pytest.mark.parametrize("bias", [1e3, 1e6, 1e12, -1e9])
@pytest.mark.parametrize("bits", [2, 8])
def test_a_dead_channel_with_a_large_bias_fits_the_sums(bias: float, bits: int) -> None:
    net = network()
    with torch.no_grad():
        net[2].bias[1] = bias
        net[4].weight[:, 1] = 0
    found = calibrated(net)
    assert noise(found, bits, 8) < 2 * noise(calibrated(network()), bits, 8) + 1e-5


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    bits=st.sampled_from([2, 4, 8]),
    exponents=st.lists(st.floats(-20, 3), min_size=3, max_size=3),
    biases=st.lists(st.floats(-1e15, 1e15), min_size=3, max_size=3),
    step=st.floats(-12, 2),
    seed=st.integers(0, 2**31),
)
def test_sums_fit_and_nothing_else_changes(
    bits: int, exponents: list[float], biases: list[float], step: float, seed: int
) -> None:
    limit = (1 << (bits - 1)) - 1
    q = np.random.default_rng(seed).integers(-limit, limit + 1, (3, 5, 3, 3)).astype(np.int8)
    scale = np.array([10.0**e for e in exponents], dtype=np.float32)
    source = TensorFormat(Int(8), float(np.float32(10.0**step)), 100, 0, 255)
    bias = np.array(biases)
    found = layer_integers(bits, q, scale, bias, source)
    # By hand, in integers of any size: the worst input of every channel.
    for c in range(3):
        weights, units = [int(w) for w in found.weight[c].ravel()], int(found.bias[c])
        worst = max(sum(w * (155 if (w > 0) == up else -100) for w in weights) * (1 if up else -1) for up in (True, False))
        assert worst + abs(units) <= INT32_LIMIT
        unit = source.scale * float(found.scale[c])
        assert unit * (1 + 1e-6) >= np.finfo(np.float32).tiny
        assert abs(units * unit - bias[c]) <= 0.51 * unit + 1e-6 * abs(bias[c])
        wide = found.scale[c] > scale[c]
        assert np.array_equal(found.weight[c], q[c]) or wide
        real = q[c].astype(np.float64) * float(scale[c])
        assert np.abs(found.weight[c] * float(found.scale[c]) - real).max() <= (0.501 * found.scale[c] if wide else 0)


def test_half_precision_that_overflows_is_told_before_a_search() -> None:
    class Far(nn.Module):
        """A tanh between, which no scale passes: nothing can be equalized."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.shuffle = nn.PixelShuffle(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.shuffle(self.b(torch.sigmoid(self.a(x))))

    net = Far()
    with torch.no_grad():
        net.b.bias[0] = 1e6
    with pytest.raises(FileError, match="a weight or a bias of the layer 'b' exceeds 65504"):
        calibrated(net, half=True)
    with torch.no_grad():
        net.b.bias[0] = 6e4
        net.b.weight[0] = 6e4
    with pytest.raises(FileError, match="the tensor 'b' exceeds 65504"):
        calibrated(net, half=True)


def test_what_can_be_scaled_fits_half_precision() -> None:
    net = network()
    with torch.no_grad():
        net[2].weight[1] *= 1e7
        net[2].bias[1] *= 1e7
        net[4].weight[:, 1] *= 1e-7
    found = calibrated(net, half=True)
    assert noise(found, 16, 16) < 1e-6
