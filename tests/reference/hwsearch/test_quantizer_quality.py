"""The quantizer on published networks: PSNR lost on Set5, calibrated on other photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from plans_by_noise import best_wide_pair, cheapest, float_bytes, plan_bytes

from hwsearch.quality.evaluate import Evaluator
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.learn.polish import polish
from searchspaces.data import pictures
from searchspaces.ir.graph import execute
from searchspaces.ir.lower import to_workload
from searchspaces.networks import registry
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.space import build_space
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.task import Signature
from searchspaces.tracing.trace import trace


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def prepared(
    shared: Path, network: LoadedNetwork, weight_bits: tuple[int, ...]
) -> tuple[Calibration, list[torch.Tensor], Evaluator]:
    factor = 1 if network.input_kind == "upsampled" else network.scale
    graph = trace(network.module, network.channels, network.name, factor)
    space = build_space(to_workload(graph, 64, 64), weight_bits, (8, 16))
    photos = pictures.load_folder(shared / "data" / "photos" / "train")[::2]
    kind = network.input_kind
    crops = [p.low for p in pictures.crops(photos, network.scale, network.channels, kind, count=len(photos), size=64)]
    calibration = calibrate(graph, crops, space)
    set5 = pictures.pairs(pictures.load_folder(shared / "data" / "Set5"), network.scale, network.channels, kind)
    task = SuperResolution(Signature(network.scale, network.channels))
    return calibration, crops, Evaluator(lambda x: execute(graph, x), set5, task)


def weights(shared: Path, name: str) -> Path:
    return shared / "data" / "weights" / f"{name}.safetensors"


def test_published_fsrcnn(shared: Path) -> None:
    """Uniform 8 bits far above what is usual; with two 16-bit tensors at most 0.4 dB are lost. The floors leave room for
    other crops; 34.76, 32.45 and 21.07 dB are the marks of an ordinary calibration with bias correction."""
    calibration, crops, evaluator = prepared(shared, registry.load("fsrcnn", 2, weights(shared, "fsrcnn_x2")), (4, 6, 8))
    space = calibration.space
    assert evaluator.float_db == pytest.approx(36.99, abs=0.03)
    for bits, floor in ((8, 36.0), (6, 35.5), (4, 29.0)):
        plan = space.uniform(bits, 8)
        assert evaluator.score(lambda x, plan=plan: calibration.simulate(plan, x)).quality_db > floor
    plan = best_wide_pair(calibration, crops, space.uniform(8, 8), 1)
    assert sum(bits == 16 for bits in space.named(plan)[1].values()) == 2
    quantized = calibration.quantized(plan)
    assert evaluator.score(lambda x: integer.run(quantized, x)).loss_db <= 0.4


def test_published_espcn(shared: Path) -> None:
    """What its first tanh reads reaches 270. Ranges from least to greatest leave 12.9 dB at W8A8; the tanh needs 3 of it."""
    calibration, _, evaluator = prepared(shared, registry.load("espcn", 2, weights(shared, "espcn_x2")), (8,))
    assert evaluator.float_db == pytest.approx(36.85, abs=0.03)
    for bits, loss_db in ((8, 0.6), (16, 0.03)):
        plan = calibration.space.uniform(8, bits)
        assert evaluator.score(lambda x, plan=plan: calibration.simulate(plan, x)).loss_db <= loss_db
    quantized = calibration.quantized(calibration.space.uniform(8, 8))
    assert evaluator.score(lambda x: integer.run(quantized, x)).loss_db <= 0.6


def test_shipped_fsrcnn_four_and_six_times_smaller(shared: Path) -> None:
    """Weights, biases and scales counted against 4 bytes for every parameter; 16-bit tensors; six times with polishing."""
    calibration, crops, evaluator = prepared(shared, registry.load("fsrcnn", 2), (4, 5, 6, 7, 8))
    plans = cheapest(calibration, crops, calibration.space.uniform(8, 16), (4, 6))
    for plan, ratio in zip(plans, (4, 6), strict=True):
        assert plan_bytes(calibration, plan) * ratio <= float_bytes(calibration)
    four = calibration.quantized(plans[0])
    assert evaluator.score(lambda x: integer.run(four, x)).loss_db < 0.1
    six = polish(calibration.draft(plans[1]))
    assert evaluator.score(lambda x: integer.run(six, x)).loss_db < 0.3


def test_published_vdsr(shared: Path) -> None:
    """W8A8 on Set5. Rounding the enlarged input to 8 bits costs 0.07 dB before the network begins; what the network adds to that
    is little, and with 16 bits for the input and for the sum with it less than 0.05 dB is lost in all."""
    calibration, _, evaluator = prepared(shared, registry.load("vdsr", 2, weights(shared, "vdsr_y")), (8,))
    graph, space = calibration.graph, calibration.space
    polished = polish(calibration.draft(space.uniform(8, 8)), steps=60)
    source = polished.formats[graph.input.name]
    from_8_bits = evaluator.score(lambda x: execute(graph, source.fake(x))).loss_db
    assert from_8_bits == pytest.approx(0.074, abs=0.005)
    assert evaluator.score(lambda x: integer.run(polished, x)).loss_db <= from_8_bits + 0.04
    plan = np.array(space.uniform(8, 8))
    for name in (graph.input.name, graph.output.name):
        plan[space.names.index(name, len(space.layer_names))] = space.activation_bits.index(16)
    wide = calibration.quantized(plan)
    assert evaluator.score(lambda x: integer.run(wide, x)).loss_db <= 0.05
