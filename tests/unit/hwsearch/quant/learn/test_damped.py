"""Derivatives of normalizations whose rows few bits have made constant: bounded, and those of all other rows as they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.learn.bounds import Student, distillation_loss, targets_of
from hwsearch.quant.learn.damped import damped, least_rows
from hwsearch.quant.learn.distillation import Distillation
from hwsearch.quant.learn.features import of_directions
from searchspaces.ir.graph import Graph, Node, apply
from searchspaces.ir.lower import to_workload
from searchspaces.ops.reductions.norm import GroupNorm, InstanceNorm, LayerNorm, Norm, RmsNorm, UnitNorm
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace

DISTILLATION = Distillation(phases=(), features=0.0, distance=of_directions, batch=1)


class Grown(nn.Module):
    """Rows of very different sizes, normalized behind a layer: half of the picture is a hundredth of the other half."""

    def __init__(self, blocks: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 8, 1)
        self.blocks = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(blocks))
        self.last = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block, norm in zip(self.blocks, self.norms, strict=True):
            long = x.square() * x.square().mean(dim=1, keepdim=True) ** 3
            x = x + norm(block(long * 1e4).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.last(x)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    graph = trace(Grown(), 1, "grown")
    pictures = [torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    return calibrate(graph, pictures, build_space(to_workload(graph, 16, 16), (4,), (4, 8)), method="mse")


def derivatives(calibration: Calibration, least: dict[str, float] | None = None) -> list[Tensor]:
    draft = calibration.draft(calibration.space.uniform(4, 4))
    student = Student(draft, DISTILLATION)
    if least is not None:
        student._least = least
    x = draft.pictures[0]
    loss = distillation_loss(student, x, targets_of(student, draft.target, x), DISTILLATION)
    return [found for found in torch.autograd.grad(loss, student.parameters("all"), allow_unused=True) if found is not None]


def largest(found: list[Tensor]) -> float:
    return max(float(one.abs().max()) for one in found)


def test_rows_that_are_rounded_to_nothing_do_not_decide(calibration: Calibration) -> None:
    graph: Graph = calibration.graph
    norms = [node.name for node in graph.nodes if isinstance(node.op, Norm)]
    assert len(norms) == 3
    bounded, free = (largest(derivatives(calibration, least)) for least in (None, dict.fromkeys(norms, 1e-30)))
    assert free > 30 * bounded


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (LayerNorm(axes=(-1,)), (2, 5, 8)),
        (LayerNorm(axes=(1,)), (2, 8, 3, 4)),
        (RmsNorm(axes=(-1,)), (2, 5, 8)),
        (UnitNorm(axes=(-1,)), (2, 5, 8)),
        (GroupNorm(groups=2), (2, 8, 3, 4)),
        (InstanceNorm(), (2, 8, 3, 4)),
    ],
)
def test_values_stay_and_derivatives_of_small_rows_are_those_of_the_least(op: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    node = Node("norm", op, ("x",))
    left = x - apply(node, [x]) * op.divisor(x)  # the mean, where it is taken off
    assert bool((op.divisor(left) < 0.01).all())
    lengths = op.divisor(x).expand_as(x)
    middle = float(lengths.median())
    found = []
    for least in (1e-30, middle):
        leaf = x.clone().requires_grad_()
        y = apply(node, [damped(op, leaf, least)])
        assert torch.equal(y, apply(node, [x]))
        found.append(torch.autograd.grad(y, leaf, torch.linspace(-1, 1, y.numel()).view_as(y))[0])
    long = lengths >= middle
    assert long.any()
    assert not long.all()
    torch.testing.assert_close(found[1][long], found[0][long], rtol=0, atol=0)
    torch.testing.assert_close(found[1], found[0] * (lengths / middle).clamp_max(1), rtol=1e-5, atol=1e-7)


def test_least_rows_are_those_of_the_floating_point_network(calibration: Calibration) -> None:
    pictures = [torch.rand(1, 1, 16, 16), torch.rand(1, 1, 8, 16)]
    both, one = least_rows(calibration.graph, pictures), least_rows(calibration.graph, pictures[:1])
    assert all(0 < both[name] <= one[name] for name in one)
    assert least_rows(trace(nn.Conv2d(1, 1, 3, padding=1), 1, "plain"), pictures) == {}
