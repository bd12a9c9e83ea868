"""Properties of the canonical graph: rewritings compute the same for all parameters, ties are an equivalence, plans fit."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from torch import Tensor, nn

from searchspaces.ir.graph import execute
from searchspaces.ir.lower import to_workload
from searchspaces.ir.shapes import propagate
from searchspaces.ir.transposed import transposed_to_shuffled
from searchspaces.tracing.compared import check
from searchspaces.tracing.trace import trace


@given(
    stride=st.integers(1, 4),
    kernel=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    padding=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    output_padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.integers(1, 2),
    size=st.tuples(st.integers(2, 7), st.integers(2, 7)),
    bias=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_transposed_convolution_is_a_convolution_and_a_shuffle(
    stride: int,
    kernel: tuple[int, int],
    padding: tuple[int, int],
    output_padding: tuple[int, int],
    dilation: int,
    size: tuple[int, int],
    bias: bool,
) -> None:
    """Against torch's own transposed convolution, over all its parameters."""
    assume(max(output_padding) < max(stride, dilation))
    sides = [
        (n - 1) * stride - 2 * p + dilation * (k - 1) + o + 1
        for n, p, k, o in zip(size, padding, kernel, output_padding, strict=True)
    ]
    assume(min(sides) > 0)
    random = torch.Generator().manual_seed(0)
    x = torch.rand(1, 2, *size, generator=random, dtype=torch.float64)
    weight = torch.rand(2, 3, *kernel, generator=random, dtype=torch.float64)
    b = torch.rand(3, generator=random, dtype=torch.float64) if bias else None
    expected = F.conv_transpose2d(x, weight, b, stride, padding, output_padding, 1, dilation)
    low, spread, pads, cut = transposed_to_shuffled(weight, b, stride, padding, output_padding, dilation)
    assert min(pads) >= 0
    assert max(cut) <= 0
    shuffled = F.pixel_shuffle(F.conv2d(F.pad(x, pads), low, spread), stride)
    assert torch.allclose(F.pad(shuffled, cut), expected, atol=1e-12)
    # Every kernel position stands in one phase and one tap, so nothing is multiplied twice.
    assert int((low != 0).sum()) == int((weight != 0).sum())


class _Net(nn.Module):
    """A random chain of stages, each of which any network might have."""

    def __init__(self, stages: list[str], width: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stages = stages
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.layers = nn.ModuleList(self._layer(stage, width) for stage in stages)

    @staticmethod
    def _layer(stage: str, width: int) -> nn.Module:
        conv = nn.Conv2d(width, width, 3, padding=1)
        norm = nn.BatchNorm2d(width)
        norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
        norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        return {
            "plain": nn.Sequential(conv, nn.ReLU()),
            "leaky": nn.Sequential(conv, nn.LeakyReLU(0.1, inplace=True)),
            "prelu": nn.Sequential(conv, nn.PReLU(width)),
            "normalised": nn.Sequential(conv, norm, nn.ReLU6(inplace=True)),
            "residual": conv,
            "depthwise": nn.Sequential(nn.Conv2d(width, width, 3, padding=1, groups=width), nn.ReLU()),
            "split": nn.Conv2d(width - width // 2, width - width // 2, 1),
            "attention": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1), nn.Sigmoid()),
            "deconvolution": nn.ConvTranspose2d(width, width, 4, stride=2, padding=1),
            "cut deconvolution": nn.ConvTranspose2d(width, width, 3, stride=2),
            "down": nn.Conv2d(width, width, 3, stride=2, padding=1),
            "shuffle": nn.Sequential(nn.Conv2d(width, 4 * width, 1), nn.PixelShuffle(2)),
            "resize": nn.Upsample(scale_factor=2, mode="nearest"),
        }[stage]

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        for stage, layer in zip(self.stages, self.layers, strict=True):
            if stage == "residual":
                x = layer(x) * 0.2 + x
            elif stage == "split":
                left, right = torch.chunk(x, 2, dim=1)
                width = right.shape[1]
                x = torch.cat([left, right + layer(left[:, :width])], dim=1) if left.shape[1] == width else x
            elif stage == "attention":
                x = x * layer(x)
            elif stage == "cut deconvolution":
                x = layer(x)[:, :, :-1, :-1]
            else:
                x = layer(x)
        return x


STAGES = [
    "plain",
    "leaky",
    "prelu",
    "normalised",
    "residual",
    "depthwise",
    "split",
    "attention",
    "deconvolution",
    "cut deconvolution",
    "down",
    "shuffle",
    "resize",
]


@given(
    stages=st.lists(st.sampled_from(STAGES), min_size=1, max_size=5),
    width=st.sampled_from([4, 6]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_networks_round_trip(stages: list[str], width: int, seed: int) -> None:
    """The graph of a random network computes what the network computes; its table has its shapes, groups and counts."""
    assume(sum(stage in ("deconvolution", "cut deconvolution", "shuffle", "resize") for stage in stages) <= 2)
    module = _Net(stages, width, seed)
    graph = trace(module, 3, "random")
    assert graph.uncounted == ()
    assert check(graph, module, 3) < 1e-5
    shapes = propagate(graph, 13, 18)
    seen: dict[str, tuple[int, ...]] = {}

    def observe(node: object, tensor: Tensor) -> None:
        seen[node.name] = tuple(tensor.shape[1:])  # type: ignore[attr-defined]

    x = torch.rand(1, 3, 13, 18)
    with torch.no_grad():
        expected = module(x)
        assert torch.allclose(execute(graph, x, observe), expected, atol=1e-4 * float(expected.abs().max()))
    assert seen == shapes
    workload = to_workload(graph, 13, 18)
    assert [(t.channels, t.height, t.width) for t in workload.tensors] == [seen[t.name] for t in workload.tensors]
    assert workload.weight_count == sum(node.weights["weight"].numel() for node in graph.convs)
    for row, layer in enumerate(workload.layers):
        assert workload.tensors[layer.output].producer == row
        assert all(row in workload.tensors[source].readers for source in layer.inputs)
        assert all(workload.tensors[source].producer < row for source in layer.inputs)
        if layer.label == "add":
            assert len({workload.tensors[source].group for source in layer.inputs}) == 1
        if layer.label in ("slice", "concat", "pixel_shuffle", "repeat"):
            assert {workload.tensors[source].group for source in layer.inputs} == {workload.tensors[layer.output].group}
    assert workload.live_elements().min() >= 0


@given(stages=st.lists(st.sampled_from(STAGES), min_size=1, max_size=4), seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_quantizer_groups_refine_width_groups(stages: list[str], seed: int) -> None:
    """What shares a scale shares a width; every group is named after its first tensor."""
    assume(sum(stage in ("deconvolution", "cut deconvolution", "shuffle", "resize") for stage in stages) <= 2)
    graph = trace(_Net(stages, 4, seed), 3, "random")
    width, quantizer = graph.width_groups(), graph.quantizer_groups()
    order = [node.name for node in graph.nodes]
    for name in order:
        assert width[quantizer[name]] == width[name]
        for leaders in (width, quantizer):
            members = [other for other in order if leaders[other] == leaders[name]]
            assert leaders[name] == members[0]


def test_macs_are_those_of_torch() -> None:
    """Floating-point operations of the whole network, counted by torch's own dispatcher: two for each multiply-accumulate."""
    from torch.utils.flop_counter import FlopCounterMode

    from searchspaces.networks.registry import build

    for name in ("edsr", "imdn", "abpn"):
        module = build(name, 2)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(torch.rand(1, 3, 16, 24))
        workload = to_workload(trace(module, 3, name), 16, 24)
        assert workload.macs == pytest.approx(counter.get_total_flops() / 2)
