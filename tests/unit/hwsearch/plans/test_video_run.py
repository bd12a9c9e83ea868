"""A whole run of a network with state, from clips in folders to plans that ONNX Runtime and the engine run alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_job import answer, refusal

from hwsearch.cli import main
from hwsearch.runs.run import Run

NETWORK = Path(__file__).parents[3] / "support" / "recurrent_networks.py"
WORDS = ("--model", f"{NETWORK}:Recalling", "--scale", "2", "--target", "stm32h743", "--input", "24x32")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Four clips of four frames, 64x80 pixels."""
    y, x = np.mgrid[0:64, 0:80] / 16.0
    for number in range(4):
        folder = tmp_path / "clips" / f"clip{number}"
        folder.mkdir(parents=True)
        for frame in range(4):
            grey = 128 + 60 * np.sin(x + 0.3 * frame + number) + 50 * np.cos(y * (1 + number / 3))
            rgb = np.repeat(np.clip(grey, 0, 255)[..., None], 3, axis=2).astype(np.uint8)
            Image.fromarray(rgb).save(folder / f"{frame}.png")
    return tmp_path / "clips"


def test_a_network_with_state_is_searched_and_proven(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, asked = tmp_path / "run", ("--task", "video", "--images", str(clips), "--evaluations", "4", "--probes", "4", "--force")
    assert main(["optimize", *WORDS, *asked, "--out", str(run), "--quiet", "--json"]) == 0
    results = Run(run).results
    proven = [plan for plan in results.front if plan.integers is not None]
    assert proven
    for plan in proven:
        assert plan.measured is not None
        assert (plan.measured.mismatched_codes, plan.measured.codes) == (0, 4 * 64 * 80)
    assert results.quality.name == "PSNR-Y"
    assert any("state are not polished" in note for note in results.notes)
    capsys.readouterr()
    checked = answer(capsys, "validate", str(run / "plans" / f"{proven[0].name}.json"))
    assert checked["mismatched_codes"] == 0


def test_single_pictures_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, 2, "optimize", *WORDS)
    assert "keeps state between the frames of a video" in said
    assert "--task video" in said
