"""Dynamic activation normalization: gradients of its ends, integers that compute what was trained, and what refuses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from byte_ends import draft_of

from hwmodels.errors import FileError, UsageError
from hwmodels.numbers import INT16, Int
from hwsearch.contracts import tiny_calibration, tiny_pairs
from hwsearch.formats.onnx.write import export as export_onnx
from hwsearch.plans.compare_methods import compare
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from hwsearch.quant.engine import integer
from hwsearch.quant.learn.bounds import Student, train
from hwsearch.quant.learn.quantizers.normalized import NormalizedEnds
from hwsearch.quant.methods.learned.dan import DISTILLATION
from hwsearch.quant.network import storage
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.normalized import PARTS, Normalized


@pytest.fixture(scope="module")
def calibration():
    return tiny_calibration((2, 4, 8), (3, 4, 8), "dan")


def test_gradients_of_the_ends_by_hand() -> None:
    """A channel from 0 to 3 with two bits: codes are 0, 1, 2, 3. The high end is 1.5 (u + 1): by u a value inside changes by the
    error of its code in steps, over 3, times 1.5; by the low end likewise, with the opposite sign."""
    ends = NormalizedEnds(TensorFormat(INT16, 2.0**-10, INT16.middle, 0, INT16.last_code, normalized=Normalized(Int(2))))
    x = torch.tensor([0.0, 1.2, 2.4, 3.0]).view(1, 1, 2, 2)
    assert ends.fake(x).flatten().tolist() == pytest.approx([0.0, 1.0, 2.0, 3.0], abs=2e-3)
    for at, error in ((1, 1 - 1.2), (2, 2 - 2.4)):
        (gradient,) = torch.autograd.grad(ends.fake(x).flatten()[at], ends.change)
        assert gradient.tolist() == pytest.approx([-1.5 * error / 3, 1.5 * error / 3], abs=1e-4)


def test_an_end_that_is_held_back_may_return() -> None:
    ends = NormalizedEnds(TensorFormat(INT16, 1.0, INT16.middle, 0, INT16.last_code, normalized=Normalized(Int(4))))
    with torch.no_grad():
        ends.change += torch.tensor([-0.4, 0.4])
    assert ends.ends().tolist() == [0.0, 1.0]
    assert ends.format().normalized == Normalized(Int(4), 0, PARTS)
    (gradient,) = torch.autograd.grad(ends.ends().sum(), ends.change)
    assert gradient.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("bits", [(4, 3), (8, 4)])
def test_the_student_computes_what_its_integers_compute(calibration, bits: tuple[int, int]) -> None:
    draft = draft_of(calibration, *bits)
    student, x = Student(draft, DISTILLATION), tiny_pairs()[0].low
    assert any(isinstance(tensor, NormalizedEnds) for tensor in student.tensors.values())
    generator = torch.Generator().manual_seed(0)
    for change in student.parameters("all"):
        change.data += 0.1 * torch.randn(change.shape, generator=generator)
    quantized = student.quantized()
    with torch.no_grad():
        output, _ = student(x)
    codes = (output - integer.run(quantized, x)).abs() / quantized.formats[quantized.graph.output.name].scale
    assert float((codes > 0.5).float().mean()) < 0.02


def test_every_channel_of_every_tensor_has_few_values_and_a_quieter_picture_finer_ones(calibration) -> None:
    quantized, x = draft_of(calibration, 8, 3).quantized, tiny_pairs()[0].low
    inner = [node.name for node in quantized.graph.convs[:-1]]
    steps = []
    for picture in (x, 0.25 * x):
        codes = integer.run_codes(quantized, picture)
        for name in inner:
            assert quantized.formats[name].normalized == Normalized(Int(3))
            assert all(len(channel.unique()) <= 8 for channel in codes[name][0])
        steps.append(float(codes[inner[0]][0].diff().abs().float().mean()))
    assert steps[1] < 0.6 * steps[0]


def test_training_brings_the_output_nearer_and_a_file_keeps_what_came_out(calibration, tmp_path: Path) -> None:
    draft = draft_of(calibration, 4, 3)
    trained, x = train(draft, DISTILLATION), tiny_pairs()[0].low
    target = integer.run(calibration.quantized(calibration.space.uniform(8, 8)), x)
    before, after = (float((integer.run(found, x) - target).square().mean()) for found in (draft.quantized, trained))
    assert after < before
    storage.save(trained, tmp_path / "plan.safetensors")
    loaded = storage.load(tmp_path / "plan.safetensors")
    assert loaded.formats == trained.formats
    assert torch.equal(integer.run(loaded, x), integer.run(trained, x))


def test_no_file_format_carries_it_and_no_search_begins_with_it(calibration, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="each picture and channel"):
        export_onnx(draft_of(calibration, 4, 4).quantized, tmp_path / "plan.onnx")
    assert not (tmp_path / "plan.onnx").exists()
    with pytest.raises(UsageError, match="methods compare --method dan"):
        pose(Request(methods=("nearest", "dan")))


def test_a_comparison_counts_what_it_costs_at_run_time() -> None:
    found = compare(Request(target="bitserial-npu", scope="not-first-last"), [(4, 4)], ["mse", "dan"], pictures=2, effort=0.01)
    plain, dan = found.rows
    assert dan.latency_s > plain.latency_s
    assert dan.energy_j > plain.energy_j
    assert dan.weight_bytes == plain.weight_bytes
    assert np.isfinite(dan.quality_db)
