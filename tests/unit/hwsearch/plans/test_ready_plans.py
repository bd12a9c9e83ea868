"""Plans that ship: they fit the networks and devices of this version, and keep what they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwmodels.errors import FileError, UsageError
from hwsearch.cli import main
from hwsearch.documents.progress import Silent
from hwsearch.pipeline import ready_plans
from hwsearch.plans import plan_file, pricing, ready, recheck


def test_every_ready_plan_is_made_by_the_script() -> None:
    assert set(ready.names()) == set(ready_plans.READY)


@pytest.mark.parametrize("name", ready.names())
def test_a_ready_plan_is_of_what_ships_and_is_proven(name: str) -> None:
    opened = plan_file.open_plan(Path(name))
    _ = opened.posed  # raises where network, weights or device file are other ones
    plan = opened.plan
    asked = ready_plans.READY[name]
    assert set(plan.weight_bits.values()) == set(asked["weight_bits"])
    assert set(plan.activation_bits.values()) == set(asked["activation_bits"])
    assert plan.measured is not None
    verdict = recheck.recheck(opened, "ort", None, Silent())
    assert verdict.mismatched_codes == 0
    assert verdict.quality_db == pytest.approx(plan.measured.quality_db, abs=0.005)
    assert plan.measured.loss_db < 0.15


def test_the_name_stands_for_the_file_but_not_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (name, *_) = ready.names()
    assert ready.found(Path(name)) == ready.FOLDER / f"{name}.json"
    assert ready.found(tmp_path / name) == ready.FOLDER / f"{name}.json"
    assert ready.found(Path("other")) == Path("other")
    assert ready.found(Path("run/plans") / name) == Path("run/plans") / name
    Path(name).write_text("{}")
    assert ready.found(Path(name)) == Path(name)
    with pytest.raises(FileError, match="is not a plan"):
        plan_file.open_plan(Path(name))


def test_commands_take_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save("in.png")
    assert main(["upscale", "in.png", "out.png", "--plan", "abpn_x3-w4a8", "--quiet"]) == 0
    assert Image.open("out.png").size == (72, 60)
    assert main(["export", "abpn_x3-w4a8", "--to", "tflite", "--out", "out.tflite", "--quiet"]) == 0
    assert Path("out.tflite").stat().st_size > 10_000
    assert main(["estimate", "--plan", "abpn_x3-w4a8", "--quiet"]) == 0
    assert main(["explain", "abpn_x3-w4a8", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["networks"]) == 0
    assert "Ready plan abpn_x3-w4a8: 4 bits a weight" in " ".join(capsys.readouterr().out.split())


def test_a_plan_is_not_priced_as_another_networks() -> None:
    """On another device, too, where widths that it does not offer become wider: layers that it does not have are no such."""
    opened = plan_file.open_plan(Path("abpn_x3-w4a8"))
    with pytest.raises(UsageError, match=r"names layer .* which fsrcnn x2 does not have"):
        pricing.estimate_plan(opened, {"network": "fsrcnn", "scale": 2, "arguments": {}, "target": "jetson-orin-nano"})
