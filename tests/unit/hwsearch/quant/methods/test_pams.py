"""PAMS: its quantizer and where it begins by hand, and a training whose integers compute what was trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hwmodels.numbers import Int
from hwsearch.contracts import tiny_calibration, tiny_pairs
from hwsearch.quant.engine import integer
from hwsearch.quant.learn.bounds import Student, train
from hwsearch.quant.learn.distillation import Phase
from hwsearch.quant.learn.quantizers.ends import Ends
from hwsearch.quant.methods.learned.pams import DISTILLATION
from hwsearch.quant.ranges.ranges import symmetric_format
from searchspaces.ir.graph import execute


@pytest.fixture(scope="module")
def calibration():
    return tiny_calibration((2, 4, 8), (4, 8), "pams")


def test_the_quantizer_and_its_gradient_by_hand() -> None:
    """Three bits, clipped at 0.9: q = round(clip(x, -a, a) 3 / a) a / 3, and by a: (q - x) / a inside, the sign outside."""
    ends = Ends(symmetric_format(Int(3), 0.9))
    x = torch.tensor([0.4, -0.5, 2.0, 0.1])
    assert ends.fake(x).tolist() == pytest.approx([0.3, -0.6, 0.9, 0.0])
    for at, by_clip in enumerate([(0.3 - 0.4) / 0.9, (-0.6 + 0.5) / 0.9, 1.0, (0.0 - 0.1) / 0.9]):
        (gradient,) = torch.autograd.grad(ends.fake(x)[at], ends.change)
        assert float(gradient[1]) == pytest.approx(0.9 * by_clip, abs=1e-6)  # trained is the logarithm


def test_a_tensor_begins_clipped_at_the_mean_of_what_each_picture_reaches(calibration) -> None:
    graph = calibration.graph
    reached: dict[str, list[float]] = {}
    with torch.no_grad():
        for crop in calibration._seen.crops:
            execute(graph, crop, lambda node, y: reached.setdefault(node.name, []).append(float(y.abs().max())))
    groups = graph.quantizer_groups()
    inner = [conv.name for conv in graph.convs[:-1]]
    assert inner
    for name in inner:
        fmt = calibration.format(groups[name], calibration.space.tensor_formats.index(Int(4)))
        assert fmt.scale * 7 == pytest.approx(np.mean(reached[name]), rel=1e-5)
        assert fmt.zero_point == fmt.grid.middle


def test_weights_reach_to_their_largest_whatever_they_become(calibration) -> None:
    draft = calibration.draft(calibration.space.uniform(2, 8))
    student, x = Student(draft, DISTILLATION), tiny_pairs()[0].low
    with torch.no_grad():
        for part in student.parameters("increments"):
            part.add_(torch.randn(part.shape, generator=torch.Generator().manual_seed(0)))
        output, quantized = student(x)[0], student.quantized()
    assert len(student.parameters("all")) == len(student.tensors) + len(student.layers)  # no end of weights is trained
    for name, layer in student.layers.items():
        largest = layer.weight.detach().abs().flatten(1).amax(dim=1)
        np.testing.assert_allclose(quantized.layers[name].scale * layer.limit, largest, rtol=1e-6)
        assert (np.abs(quantized.layers[name].weight).reshape(len(largest), -1).max(axis=1) == layer.limit).all()
    codes = (output - integer.run(quantized, x)).abs() / quantized.formats[quantized.graph.output.name].scale
    assert float((codes > 0.5).float().mean()) < 0.01


def test_training_brings_the_output_nearer(calibration) -> None:
    draft = calibration.draft(calibration.space.uniform(2, 8))
    trained = train(draft, replace(DISTILLATION, phases=(Phase("all", 80, 2e-2, 5e-3),)))
    x = tiny_pairs()[0].low
    target = integer.run(calibration.quantized(calibration.space.uniform(8, 8)), x)
    before, after = (float((integer.run(found, x) - target).square().mean()) for found in (draft.quantized, trained))
    assert after < before
    assert any(not np.array_equal(trained.layers[name].weight, layer.weight) for name, layer in draft.quantized.layers.items())
