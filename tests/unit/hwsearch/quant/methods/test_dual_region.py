"""Tensors in two regions: levels by hand, one meaning in simulation, engine, file, ONNX Runtime and training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hwmodels.errors import FileError
from hwmodels.numbers import INT8, Int
from hwsearch.contracts import tiny_calibration, tiny_pairs
from hwsearch.formats.onnx import ort, write
from hwsearch.formats.writing.capability import Holds
from hwsearch.formats.writing.check import check
from hwsearch.formats.writing.promote import promote
from hwsearch.quant.engine import integer
from hwsearch.quant.learn.bounds import Student
from hwsearch.quant.learn.quantizers.regions import RegionEnds
from hwsearch.quant.methods import load
from hwsearch.quant.network import storage
from hwsearch.quant.ranges.regions import Regions, Rule
from hwsearch.quant.ranges.spreads import Spread

TENSORS = ("head.0", "body.0")


@pytest.fixture(scope="module")
def quantized():
    """The small network with two inner tensors whose tails are long: breakpoints at a tenth of their ends."""
    calibration = tiny_calibration((4, 8), (4, 8), "mse")
    draft = calibration.draft(calibration.space.uniform(8, 4))
    start, formats = draft.quantized, dict(draft.quantized.formats)
    assert set(TENSORS) <= formats.keys()
    layers = dict(start.layers)
    for name in TENSORS:
        fmt = formats[name]
        high = (fmt.qmax - fmt.zero_point) * fmt.scale
        formats[name] = split = Regions(0.0, high / 10, high).format(Int(4))
        for reader in start.graph.readers(name):
            layer = layers[reader.name]
            unit = fmt.scale / split.scale
            layers[reader.name] = replace(layer, bias=np.rint(layer.bias * unit).astype(np.int64))
    return replace(start, formats=formats, layers=layers)


def test_levels_by_hand() -> None:
    """4 bits. Two sides: 7 dense points, 3 in each tail, evenly up to the ends: 9 is 3 + 3 * 2, -12 is -3 - 3 * 3."""
    two = Regions(-12.0, 3.0, 9.0).format(Int(4))
    assert two.levels == (-12, -9, -6, -3, -2, -1, 0, 1, 2, 3, 5, 7, 9)
    assert (two.scale, two.zero_point, two.qmin, two.qmax) == (1.0, 12, 0, 21)
    one = Regions(0.0, 7.0, 39.0).format(Int(4))  # 8 dense points, 8 behind them, 4 apart
    assert one.levels == (*range(8), *range(11, 40, 4))
    assert len(one.levels) == 16
    middle = Regions(-12.0, 3.0, 9.0).format(Int(4), symmetric=True)
    assert (middle.zero_point, middle.levels) == (INT8.middle, two.levels)
    far = Regions(0.0, 1.0, 1000.0).format(Int(4))  # a byte is all that there is
    assert far.qmax <= INT8.last_code
    assert far.levels[-1] * far.scale == pytest.approx(1000, rel=0.01)
    assert len(Regions(-5.0, 1.0, 5.0).format(Int(3)).levels) == 5
    with pytest.raises(ValueError, match="two regions"):
        Regions(-5.0, 1.0, 5.0).format(Int(2))


def test_levels_by_the_rule_of_the_released_code_by_hand() -> None:
    """5 bits, label 4 of the code. Two sides: integers -8 .. 7 of 15 half steps up to the breakpoint, and 8 points a tail."""
    two = Regions(-60.0, 7.5, 36.0, Rule.CODE).format(Int(5))
    assert two.scale == 1.0
    assert two.levels == (*[-round(8 + j * 52 / 7) for j in range(7, 0, -1)], *range(-8, 8), *range(8, 37, 4))
    assert len(two.levels) == 31  # of 32: the lower tail begins with the lowest integer of the dense region
    one = Regions(0.0, 15.0, 45.0, Rule.CODE).format(Int(5))  # 16 points in each region, the breakpoint in both
    assert one.levels == (*range(16), *range(17, 46, 2))
    assert one.scale == 1.0
    paper = Regions(-60.0, 7.0, 35.0).format(Int(5))
    assert paper.levels[-8:] == (7, 11, 15, 19, 23, 27, 31, 35)
    assert len(paper.levels) == 29


@pytest.mark.parametrize("rule", Rule)
def test_no_rule_has_more_codes_than_are_stored(rule: Rule) -> None:
    rng = np.random.default_rng(0)
    for bits in (3, 4, 5, 6, 7):
        for _ in range(200):
            point = float(10 ** rng.uniform(-2, 1))
            low, high = -point * float(rng.uniform(0, 30)), point * float(rng.uniform(1.01, 30))
            fmt = Regions(low, point, high, rule).format(Int(bits))
            assert len(fmt.levels) <= 2**bits
            assert 0 in fmt.levels
            assert 0 <= fmt.qmin <= fmt.qmax <= INT8.last_code


def test_the_rule_of_the_code_is_trained_and_stored_in_the_plans_bits() -> None:
    calibration = tiny_calibration((4, 8), (5, 8), "dual_region_code")
    plan = calibration.space.uniform(4, 5)
    split = {name: fmt for name, fmt in calibration.quantized(plan).formats.items() if fmt.levels is not None}
    assert split
    assert all(fmt.bits == 5 and 16 < len(fmt.levels) <= 32 for fmt in split.values())
    student = Student(calibration.draft(plan), load("dual_region_code").DISTILLATION)
    ends = [tensor for tensor in student.tensors.values() if isinstance(tensor, RegionEnds)]
    assert ends
    assert all(tensor.rule is Rule.CODE for tensor in ends)
    assert load("dual_region").DISTILLATION.rule is Rule.PAPER


def test_values_become_the_nearest_level() -> None:
    fmt = Regions(-12.0, 3.0, 9.0).format(Int(4))
    x = torch.linspace(-15, 12, 400)
    codes = torch.round(x).clamp(-12, 9)
    levels = torch.tensor(fmt.levels, dtype=torch.float32)
    distance = (codes - fmt.fake(x)).abs()
    assert torch.equal(distance, (codes[:, None] - levels).abs().min(dim=1).values)
    assert set(fmt.fake(x).tolist()) <= set(levels.tolist())


def test_the_breakpoint_holds_all_but_one_of_a_hundred() -> None:
    centres = np.arange(-200, 201) / 10.0
    weight = np.ones(401)
    point = load("dual_region").breakpoint_of(Spread(centres, weight, -20.0, 20.0))
    assert np.mean(np.abs(centres) <= point) == pytest.approx(0.99, abs=0.005)


def test_simulation_engine_and_onnx_runtime_agree_code_for_code(quantized, tmp_path: Path) -> None:
    assert all(len(quantized.formats[name].levels) == 16 and quantized.formats[name].qmax > 60 for name in TENSORS)
    write.export(quantized, tmp_path / "net.onnx")
    runtime, fmt = ort.run_onnx(tmp_path / "net.onnx"), quantized.formats[quantized.graph.output.name]
    for pair in tiny_pairs():
        seen = integer.run_codes(quantized, pair.low)
        for name in TENSORS:
            own = quantized.formats[name]
            codes = set((seen[name] - own.zero_point).unique().tolist())
            assert codes <= set(own.levels)
            assert max(codes) > 8  # the tail is used
        assert torch.equal(fmt.encode(runtime(pair.low)), fmt.encode(integer.run(quantized, pair.low)))
    assert write.assert_integer(quantized, tmp_path / "net.onnx")["Gather"] >= len(TENSORS)


def test_the_method_simulates_what_the_engine_does() -> None:
    calibration = tiny_calibration((4, 8), (3, 4, 8), "dual_region")
    for bits in (3, 4):
        plan = calibration.space.uniform(4, bits)
        drafted = calibration.quantized(plan)
        split = [fmt for fmt in drafted.formats.values() if fmt.levels is not None]
        assert split
        assert all(len(fmt.levels) <= 2**bits for fmt in split)
        x = tiny_pairs()[0].low
        step = drafted.formats[drafted.graph.output.name].scale
        assert float(((calibration.simulate(plan, x) - integer.run(drafted, x)).abs() > step / 2).float().mean()) < 0.02


def test_the_file_keeps_decode_tables_and_refuses_broken_ones(quantized, tmp_path: Path) -> None:
    storage.save(quantized, tmp_path / "net.safetensors")
    assert storage.load(tmp_path / "net.safetensors").formats == quantized.formats
    document, arrays = storage.to_document(quantized)
    for broken in ([0, 2, 1], list(range(17)), [1, 2], [0, 300], [0, 1.5], "01"):
        document["formats"][TENSORS[0]]["levels"] = broken
        with pytest.raises(FileError, match="decode table"):
            storage.from_document(document, arrays)


def test_a_format_without_tables_gets_the_codes_that_they_stand_for(quantized) -> None:
    with pytest.raises(FileError, match="decode table"):
        check(quantized)
    kept = promote(quantized, Holds(tables=True))
    assert not kept.changes
    plain = promote(quantized, Holds())
    assert {change.name for change in plain.changes} == set(TENSORS)
    for name in TENSORS:
        before, after = quantized.formats[name], plain.qgraph.formats[name]
        assert (after.bits, after.levels, after.scale, after.zero_point) == (8, None, before.scale, before.zero_point)
    check(plain.qgraph)
    assert not promote(quantized, Holds(zero_points=False)).qgraph.formats[TENSORS[0]].levels


def test_trained_regions_compute_what_their_format_does() -> None:
    fmt = Regions(-12.0, 3.0, 9.0).format(Int(4))
    ends = RegionEnds(fmt)
    assert ends.format() == fmt
    x = torch.tensor([8.2, -10.0, 1.3, 2.2, 20.0], requires_grad=True)
    assert torch.equal(ends.fake(x), fmt.fake(x))
    (passed,) = torch.autograd.grad(ends.fake(x).sum(), x)
    assert passed.tolist() == pytest.approx([1, 1, 1, 1, 0])
    # Beyond the high end the value is the end; inside the dense region the gradient is the rounding error over the range.
    (to_ends,) = torch.autograd.grad(ends.fake(x)[4], ends.change)
    assert to_ends.tolist() == pytest.approx([0.0, 9.0])
    (to_point,) = torch.autograd.grad(ends.fake(x)[2], ends.point_change)
    assert to_point.tolist() == pytest.approx([3.0 * (1 - 1.3) / 3], abs=1e-5)
    with torch.no_grad():
        ends.change += 0.2
        ends.point_change -= 0.3
    y = torch.linspace(-20, 20, 999)
    assert torch.equal(ends.fake(y).detach(), ends.format().fake(y))


@pytest.mark.parametrize("rule", Rule)
@pytest.mark.parametrize("bits", [3, 4, 5])
def test_training_begins_with_the_format_that_it_is_given(bits: int, rule: Rule) -> None:
    rng = np.random.default_rng(bits)
    for _ in range(200):
        point = float(10 ** rng.uniform(-2, 1))
        high = point * float(rng.uniform(1.05, 12))
        low = -point * float(rng.choice([0.0, rng.uniform(0, 1), rng.uniform(1.2, 12)]))
        fmt = Regions(low, point, high, rule).format(Int(bits))
        begun = RegionEnds(fmt, rule).format()
        assert begun.levels == fmt.levels
        assert begun.scale == pytest.approx(fmt.scale, rel=1e-5)


def test_the_student_computes_what_its_integers_compute() -> None:
    calibration = tiny_calibration((4, 8), (4, 8), "dual_region")
    student = Student(calibration.draft(calibration.space.uniform(8, 4)))
    assert any(isinstance(tensor, RegionEnds) for tensor in student.tensors.values())
    generator = torch.Generator().manual_seed(0)
    for change in student.parameters("all"):
        change.data += 0.1 * torch.randn(change.shape, generator=generator)
    quantized, x = student.quantized(), tiny_pairs()[0].low
    with torch.no_grad():
        output, _ = student(x)
    codes = (output - integer.run(quantized, x)).abs() / quantized.formats[quantized.graph.output.name].scale
    assert float((codes > 0.5).float().mean()) < 0.01
    assert {id(p) for p in student.parameters("points")}.isdisjoint(id(p) for p in student.parameters("ends"))
