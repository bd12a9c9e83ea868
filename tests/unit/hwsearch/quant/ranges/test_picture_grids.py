"""Which outputs are on the grid of a picture: those that are one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.engine.integer import run
from hwsearch.quant.ranges.given import picture_groups
from searchspaces.ir.graph import execute
from searchspaces.ir.lower import to_workload
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace


class Answers(nn.Module):
    """Ten values of a picture, far outside of 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return 20 * self.fc(torch.relu(self.conv(x)).mean((2, 3)))


class Enlarges(nn.Module):
    """A picture of twice the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(self.conv(x), 2)


@pytest.mark.parametrize(("module", "given"), [(Answers(), {"input"}), (Enlarges(), {"input", "output"})])
def test_an_output_that_is_no_picture_has_a_range_of_its_own(module: nn.Module, given: set[str]) -> None:
    graph = trace(module, 3, "net")
    groups = graph.quantizer_groups()
    named = {groups[graph.input.name]: "input", groups[graph.output.name]: "output"}
    assert {named[group] for group in picture_groups(graph)} == given


@pytest.mark.parametrize("bits", [8, 16])
def test_answers_are_not_cut_to_the_values_of_a_picture(bits: int) -> None:
    torch.manual_seed(0)
    graph = trace(Answers().eval(), 3, "answers")
    pictures = [torch.rand(1, 3, 24, 24) for _ in range(4)]
    space = build_space(to_workload(graph, 24, 24), (8,), (bits,))
    calibration = calibrate(graph, pictures, space, method="minmax")
    for picture in pictures:
        with torch.no_grad():
            answer = execute(graph, picture)
        assert answer.abs().max() > 2
        error = run(calibration.quantized(space.uniform(8, bits)), picture) - answer
        assert 10 * torch.log10((answer**2).mean() / (error**2).mean()) > 30
