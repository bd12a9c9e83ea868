"""Training against the floating-point network ends no worse than it began, by what it says that it lowers.

The network's output is the sum of its input and a correction, as in most networks that enlarge a picture: so it is the end of a
block, whose features are compared, too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hwsearch.contracts import tiny_pairs
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.engine.integer import run_codes
from hwsearch.quant.learn import bounds, polish, together
from hwsearch.quant.learn.bounds import SIDE, Student, targets_of, train
from hwsearch.quant.learn.distillation import Distillation
from hwsearch.quant.learn.features import feature_names
from hwsearch.quant.method import Draft
from hwsearch.quant.methods.learned import dual_region, lsq, ptq4sr, qartsr, quantvsr, spr2q, twodquant
from hwsearch.quant.methods.learned import together as learned_together
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir import branches
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ir.lower import to_workload
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace

DISTILLATIONS = {
    "ptq4sr": ptq4sr.DISTILLATION,
    "twodquant": twodquant.DISTILLATION,
    "lsq": lsq.DISTILLATION,
    "spr2q": spr2q.DISTILLATION,
    "qartsr": qartsr.DISTILLATION,
    "quantvsr": quantvsr.DISTILLATION,
    "dual_region": dual_region.DISTILLATION,
}
TURNS = 12
"""Steps of a phase here."""


class _Residual(nn.Module):
    """Luma, not enlarged: one residual block, and the input added at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.first = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.second, self.tail = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.head(x))
        y = y + self.second(torch.relu(self.first(y)))
        found: Tensor = x + self.tail(y)
        return found


@pytest.fixture(scope="module")
def residual() -> Graph:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return trace(_Residual(), 1, "residual")


@pytest.fixture(scope="module")
def pictures() -> list[Tensor]:
    return [pair.low for pair in tiny_pairs(6)]


def draft_of(graph: Graph, pictures: list[Tensor], method: str) -> Draft:
    """All at 4 bits between the first layer and the last."""
    space = build_space(to_workload(graph, 32, 32), (4,), (4,), scope="not-first-last", outside=(8, 8))
    return calibrate(graph, pictures, space, method=method).draft(space.uniform(4, 4))


def lowered(quantized: QuantizedGraph, draft: Draft, distillation: Distillation) -> float:
    """What a distillation lowers, of the values that the integer engine computes, window by window."""
    graph, losses = quantized.graph, []
    for window in draft.windows(SIDE).split(1):
        wanted: dict[str, Tensor] = {}

        def keep(node: Node, y: Tensor, wanted: dict[str, Tensor] = wanted) -> None:
            wanted[node.name] = y

        execute(draft.network, window, keep)
        found = {
            name: (codes.float() - quantized.formats[name].zero_point) * quantized.formats[name].scale
            if (table := quantized.formats[name].levels) is None
            else torch.tensor(table)[codes.long()] * quantized.formats[name].scale
            for name, codes in run_codes(quantized, window).items()
        }
        output = graph.output.name
        loss = 255 * float((found[output] - wanted[output]).abs().mean())
        names = feature_names(graph)
        shares = np.full(len(names), 1 / len(names))
        if distillation.by_sensitivity:
            deviations = np.array([float(wanted[name].std()) for name in names])
            powers = np.exp(deviations / deviations.mean())
            shares = powers / powers.sum() / len(names)
        apart = [float(distillation.distance(found[name], wanted[name])) for name in names]
        losses.append(loss + distillation.features * float(np.dot(shares, apart)))
    return float(np.mean(losses))


def test_every_window_is_compared_with_its_own_target(residual: Graph, pictures: list[Tensor]) -> None:
    draft = draft_of(residual, pictures, "mse")
    student, windows = Student(draft), draft.windows(SIDE)
    assert residual.output.name in student.kept
    targets = targets_of(student, residual, windows)
    assert all(len(target) == len(windows) > 2 for target in targets.values())
    for window, target in zip(windows.split(1), targets[residual.output.name].split(1), strict=True):
        torch.testing.assert_close(execute(residual, window), target)


def test_a_teacher_without_branches_is_asked_for_the_layer(residual: Graph, pictures: list[Tensor]) -> None:
    """As where a network without some blocks has branches: the network with all blocks has none."""
    (layer, rank), *_ = [one for one in branches.candidates(residual).items() if residual.readers(one[0])]
    student = Student(draft_of(branches.branched(residual, {layer: rank}), pictures, "mse"))
    window = pictures[0][:, :, :16, :16]
    seen: dict[str, Tensor] = {}
    execute(residual, window, lambda node, value: seen.update({node.name: value}))
    targets = targets_of(student, residual, window)
    assert f"{layer}.sum" in student.kept
    torch.testing.assert_close(targets[f"{layer}.sum"], seen[layer])


@pytest.mark.parametrize("name", ["ptq4sr", "harmoq", "condiquant", "output_noise", "together"])
def test_effort_is_what_trainings_may_cost(
    name: str, residual: Graph, pictures: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network so large that every training gets its fewest steps, until it may cost more."""
    for module in (bounds, polish, together):
        monkeypatch.setattr(module, "macs_per_pixel", lambda graph, channels: 1e9)
        if hasattr(module, "MACS"):
            monkeypatch.setattr(module, "MACS", 1.0)
            monkeypatch.setattr(module, "FEWEST_STEPS", 3)
    monkeypatch.setattr(learned_together, "HYPERPARAMETERS", together.Hyperparameters(fewest=3, macs=1.0))
    space = build_space(to_workload(residual, 32, 32), (4,), (4,), scope="not-first-last", outside=(8, 8))
    calibration, plan = calibrate(residual, pictures, space, method=name), space.uniform(4, 4)
    counts = []
    for effort in (1.0, 3e14):
        seen: list[str] = []
        calibration.finished(plan, progress=lambda what, share, seen=seen: seen.append(what), effort=effort)
        counts.append(len(seen))
    assert 3 <= counts[0] <= 9  # of each loop: two polishings, one training
    assert counts[1] > 2 * counts[0]


@pytest.mark.parametrize("name", DISTILLATIONS)
def test_a_short_training_ends_no_worse_than_it_began(name: str, residual: Graph, pictures: list[Tensor]) -> None:
    distillation = replace(DISTILLATIONS[name], phases=tuple(replace(phase, steps=TURNS) for phase in DISTILLATIONS[name].phases))
    draft = draft_of(residual, pictures, name)
    trained = train(draft, distillation, seed=0)
    before, after = (lowered(found, draft, distillation) for found in (draft.quantized, trained))
    assert trained is not draft.quantized
    assert after < before
