"""A plan of a network without one of its blocks, from the search to the exported file; and what a training then aims at."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from small_job import laid_out

from hwsearch.cli import main
from hwsearch.documents.plan import Plan
from hwsearch.documents.reading import read_json
from hwsearch.plans import plan_file
from hwsearch.problem.calibrated import calibrated
from hwsearch.problem.pictures import choose_pictures
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.engine import integer
from searchspaces.ir.graph import execute
from searchspaces.space import build_space

NETWORK = '''
import torch
from torch import nn

class Block(nn.Module):
    """x + f(x)"""
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))

    def forward(self, x):
        return x + self.f(x)

class Net(nn.Module):
    def __init__(self, scale=2):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Conv2d(1, 4, 3, padding=1)
        self.body = nn.Sequential(Block(), Block())
        self.tail = nn.Conv2d(4, 4, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x):
        return self.shuffle(self.tail(self.body(self.head(x))))
'''
DROPPED = "body.1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = laid_out(tmp_path_factory.mktemp("blocks"), NETWORK)
    words = ["optimize", "--model", f"{folder / 'net.py'}:Net", "--scale", "2", "--input", "24x32", "--force", "--quick"]
    words += ["--drop", DROPPED, "--target", "stm32h743", "--images", str(folder / "photos"), "--out", str(folder / "run")]
    assert main([*words, "--quiet", "--json"]) == 0
    return folder


@pytest.fixture(scope="module")
def path(folder: Path) -> Path:
    return next((folder / "run" / "plans").glob("*.json"))


def request_of(folder: Path, *dropped: str) -> Request:
    return Request(
        model=f"{folder / 'net.py'}:Net", scale=2, dropped=dropped, target="stm32h743", input_size=(24, 32), cache=False
    )


def test_the_plan_names_the_block_and_has_none_of_its_layers(path: Path) -> None:
    plan = plan_file.load(path)
    assert plan.dropped == [DROPPED]
    assert set(plan.weight_bits) == {"head", "body.0.f.0", "body.0.f.2", "tail"}


def test_it_is_priced_as_the_smaller_network(folder: Path, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--plan", str(path), "--model", f"{folder / 'net.py'}:Net", "--json"]) == 0
    price = json.loads(capsys.readouterr().out)
    assert price["predicted"]["latency_s"] == pytest.approx(plan_file.load(path).predicted.latency_s)
    head, block, tail = 4 * 9, 2 * 4 * 4 * 9, 4 * 4 * 9
    assert price["macs"] == 24 * 32 * (head + block + tail)


def test_the_seal_tells_another_block(path: Path) -> None:
    document = read_json(path, "")
    assert Plan.model_validate(document).edited == ()
    for dropped in ([], ["body.0"]):
        (said,) = Plan.model_validate(document | {"dropped": dropped}).edited
        assert "blocks" in said
    assert len({Plan.model_validate(document | {"dropped": names}).key for names in ([], ["body.0"], [DROPPED])}) == 3


def test_the_exported_file_has_no_layer_of_it(folder: Path, path: Path) -> None:
    out = folder / "net.onnx"
    assert main(["export", str(path), "--model", f"{folder / 'net.py'}:Net", "--out", str(out), "--quiet"]) == 0
    names = [tensor.name for tensor in onnx.load(out).graph.initializer]
    assert any("body.0.f.0" in name for name in names)
    assert not any(DROPPED in name for name in names)


@pytest.mark.parametrize("method", ["lsq", "output_noise"])
def test_a_training_makes_what_is_left_more_like_the_whole(folder: Path, method: str) -> None:
    """LSQ and polishing, whose target is the whole network: nearer to it than before, and than the floating-point network without
    the block."""
    problem = pose(request_of(folder, DROPPED))
    assert problem.whole is not None
    assert {node.name for node in problem.graph.nodes} < {node.name for node in problem.whole.nodes}
    pictures_ = [torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    space = build_space(problem.workload, (8,), (8,))
    calibration = calibrate(problem.graph, pictures_[1:], space, method=method, teacher=problem.whole)
    plan = space.uniform(8, 8)
    assert calibration.draft(plan).target is problem.whole
    first, trained = calibration.quantized(plan), calibration.finished(plan)
    with torch.no_grad():
        wanted = execute(problem.whole.at(48, 48), pictures_[0]).clamp(0, 1)
        left = execute(problem.graph.at(48, 48), pictures_[0]).clamp(0, 1)
    errors = [float((found - wanted).square().mean()) for found in (integer.run(trained, pictures_[0]), left)]
    assert errors[0] < 0.5 * errors[1]
    assert errors[0] < float((integer.run(first, pictures_[0]) - wanted).square().mean())


def test_commands_calibrate_with_the_whole_network_for_a_teacher(folder: Path) -> None:
    for dropped in ((), (DROPPED,)):
        request = replace(request_of(folder, *dropped), images=folder / "photos", quick=True)
        problem = pose(request)
        calibration = calibrated(problem, choose_pictures(request, problem.network), 0, method="minmax")
        assert calibration.teacher is problem.whole
        assert (problem.whole is None) == (not dropped)


def test_plans_that_drop_nothing_keep_their_seals(path: Path) -> None:
    """The digest of the network as versions without dropped blocks took it."""
    plan = plan_file.load(path).model_copy(update={"dropped": []}).sealed()
    assert plan.seal is not None
    made_with = plan.provenance
    facts = [plan.network, plan.scale, made_with.network_arguments, made_with.weights_sha256]
    assert plan.seal.network == hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
