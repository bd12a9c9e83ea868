"""AdaBM's offsets of pictures: edges by hand, three networks between the same ends, the one a picture asks for, its price."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hwmodels.errors import FileError, UsageError
from hwsearch.contracts import tiny_calibration, tiny_pairs
from hwsearch.formats.onnx.write import export as export_onnx
from hwsearch.plans.compare_methods import compare
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from hwsearch.quant.engine import integer
from hwsearch.quant.learn.student import trained_groups
from hwsearch.quant.methods.learned.adabm import bit_aware, with_offset
from hwsearch.quant.network import storage
from hwsearch.quant.network.graph import ByPicture
from hwsearch.quant.network.picture_edges import density
from hwsearch.quant.ranges import bounds


@pytest.fixture(scope="module")
def calibration():
    return tiny_calibration((4, 8), (4, 8), "adabm")


@pytest.fixture(scope="module")
def finished(calibration):
    space, groups = calibration.space, calibration.graph.width_groups()
    weights, tensors = space.named(space.uniform(4, 4))
    ends = {groups[calibration.graph.input.name], groups[calibration.graph.output.name]}
    return calibration.finished(space.plan(weights, tensors | dict.fromkeys(ends, 8)), effort=0.01)


def test_edges_by_hand() -> None:
    """A ramp of 0.1 a pixel: Sobel's gradient is eight times that across, and nothing along."""
    ramp = (0.1 * torch.arange(5.0)).repeat(4, 1)[None, None]
    assert density(ramp) == pytest.approx(800, rel=1e-5)
    assert density(ramp.mT) == pytest.approx(800, rel=1e-5)
    assert density(torch.full((1, 3, 8, 8), 0.4)) == pytest.approx(0, abs=1e-3)


def test_ends_lie_half_way(calibration) -> None:
    number = calibration.space.tensor_formats[0]
    for spread in calibration._seen.spreads.values():
        own = spread.spread()
        sums = np.add(bounds.min_max(own, number), bounds.least_squares(own, number))
        assert bit_aware(own, number) == pytest.approx(tuple(sums / 2))


def test_networks_of_other_widths_have_the_same_ends_weights_and_biases(finished) -> None:
    usual = replace(finished, by_picture=None)
    groups = usual.graph.quantizer_groups()
    changed = trained_groups(usual)
    assert changed
    for found, bits in ((finished.by_picture.fewer, 3), (finished.by_picture.more, 5)):
        for name, fmt in found.formats.items():
            base = usual.formats[name]
            if groups[name] not in changed:
                assert fmt == base
                continue
            assert (fmt.bits, base.bits) == (bits, 4)
            assert fmt.grid.levels * fmt.scale == pytest.approx(base.grid.levels * base.scale, rel=1e-5)
        for name, layer in found.layers.items():
            base, source = usual.layers[name], usual.graph[name].inputs[0]
            np.testing.assert_array_equal(layer.weight, base.weight)
            units = layer.scale * found.formats[source].scale
            real, wanted = layer.bias * units, base.bias * (base.scale * usual.formats[source].scale)
            assert (np.abs(real - wanted) <= 0.51 * units).all()
    assert with_offset(usual, 10).formats[usual.graph.convs[0].name].bits == 8


def test_a_picture_gets_the_network_of_its_edges(finished) -> None:
    x = tiny_pairs()[0].low
    low, high = finished.by_picture.low, finished.by_picture.high
    flat, sharp = (x - x.mean()) * 0.01 + 0.5, (torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    between = replace(finished, by_picture=ByPicture(0.0, 1e9, finished.by_picture.fewer, finished.by_picture.more))
    assert density(flat) < low <= high < density(sharp)
    for found, picture, offset in ((finished, flat, -1), (finished, sharp, 1), (between, x, 0)):
        assert found.offset(picture) == offset
        alone = (finished.by_picture.fewer, replace(finished, by_picture=None), finished.by_picture.more)[1 + offset]
        assert torch.equal(integer.run(found, picture), integer.run(alone, picture))


def test_nothing_carries_it(finished, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="each picture"):
        export_onnx(finished, tmp_path / "plan.onnx")
    with pytest.raises(FileError, match="each picture"):
        storage.save(finished, tmp_path / "plan.safetensors")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="methods compare --method adabm"):
        pose(Request(methods=("adabm",)))


def test_memory_is_that_of_the_widest_and_time_that_of_the_pictures() -> None:
    request = Request(target="bitserial-npu", scope="not-first-last")
    plain, found = compare(request, [(4, 4)], ["mse", "adabm"], pictures=2, effort=0.01).rows
    wider = compare(request, [(4, 5)], ["mse"], pictures=1).rows[0]
    narrower = compare(request, [(4, 3)], ["mse"], pictures=1).rows[0]
    assert found.peak_activation_bytes >= plain.peak_activation_bytes
    assert narrower.latency_s <= found.latency_s <= wider.latency_s
    assert found.peak_activation_bytes == wider.peak_activation_bytes
