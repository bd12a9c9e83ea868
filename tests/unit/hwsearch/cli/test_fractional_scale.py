"""A network that enlarges 3/2 times, from end to end: searched, proven, cut into tiles, shown, exported and run on pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fractional_network import STRIDED
from PIL import Image
from small_job import answer, laid_out, refusal

from hwsearch.cli import main
from searchspaces.data import pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return laid_out(tmp_path, STRIDED, size=(137, 145))


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run" / "results.json").read_text())  # type: ignore[no-any-return]


def chosen(folder: Path) -> Path:
    """The plan that a quick run proves."""
    (name,) = results(folder)["chosen"].values()
    return folder / "run" / "plans" / f"{name}.json"


def words(folder: Path, *more: str) -> list[str]:
    """The command of a quick run."""
    asked = ["optimize", "--quick", "--model", f"{folder / 'net.py'}:build", "--input", "24x32", "--force", *more]
    asked += ["--weight-bits", "4,8", "--activation-bits", "8"]
    return [*asked, "--images", str(folder / "photos"), "--target", "stm32h743", "--out", str(folder / "run")]


def test_from_search_to_pictures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, *words(folder, "--scale", "3/2", "--tile", "16x16"))
    assert found["scale"] == "1.5"
    path = chosen(folder)
    assert json.loads(path.read_text())["scale"] == "1.5"
    measured = json.loads(path.read_text())["measured"]
    assert (measured["mismatched_codes"], measured["tiled_mismatched_codes"]) == (0, 0)
    assert measured["codes"] == 135 * 144  # of the one picture, which is cut to multiples of three
    assert "net ×1.5" in (folder / "run" / "report.html").read_text()

    assert answer(capsys, "validate", str(path), "--runtime", "engine")["recorded_db"] == measured["quality_db"]
    Image.fromarray(pictures.shipped()[3].rgb[:31, :40]).save(folder / "in.png")
    made = answer(capsys, "upscale", str(folder / "in.png"), str(folder / "out.png"), "--plan", str(path))
    assert (made["height"], made["width"], made["scale"]) == (46, 60, "1.5")
    with Image.open(folder / "out.png") as shown, Image.open(folder / "in.png") as given:
        near = np.asarray(given.resize((60, 46), Image.Resampling.BICUBIC), float)
        assert np.abs(np.asarray(shown, float) - near).mean() < 12

    assert main(["export", str(path), "--to", "tflite", "--out", str(folder / "net.tflite"), "--quiet"]) == 0
    again = answer(capsys, "estimate", "--model", str(folder / "net.tflite"), "--plan", "W8A8", "--target", "stm32h743")
    assert again["scale"] == "1.5"
    assert main(["report", str(folder / "run"), "--quiet"]) == 0
    assert "net_x1.5" in "".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("kind", ["low", "pairs"])
def test_pictures_of_ones_own(kind: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Low pictures alone are cut to even sides; pairs must be of the scale."""
    for i, photo in enumerate(pictures.shipped()[:3]):
        for side, (height, width) in {"low": (47, 65), "high": (72, 96)}.items():
            if kind == "pairs" or side == "low":
                (folder / "photos" / side).mkdir(exist_ok=True)
                size = (width, height) if kind == "low" else ((64, 48) if side == "low" else (96, 72))
                Image.fromarray(photo.rgb).resize(size).save(folder / "photos" / side / f"{i}.png")
    assert answer(capsys, *words(folder))["scale"] == "1.5"
    assert ("floating point" in results(folder)["quality"]["name"]) == (kind == "low")
    measured = json.loads(chosen(folder).read_text())["measured"]
    assert (measured["mismatched_codes"], measured["codes"]) == (0, {"low": 69 * 96, "pairs": 72 * 96}[kind])
    if kind == "pairs":
        Image.fromarray(photo.rgb).resize((65, 48)).save(folder / "photos" / "low" / "0.png")
        said = refusal(capsys, 3, *words(folder)[:-1], str(folder / "other"))
        assert "72x96 pixels (height x width) are not 1.5 times the 48x65" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--scale", "2"), "enlarges 1.5 times, not 2 times"),
        (("--scale", "1.3333"), "Is 4/3 meant?"),
        (("--scale", "0"), "not above 0"),
        (("--scale", "nan"), "no number"),
        (("--scale", "1.5x"), "no number"),
        (("--input", "23x32"), "Sides must be multiples of 2: --input 24x32."),
    ],
)
def test_what_is_refused(more: tuple[str, ...], said: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refusal(capsys, 2, *words(folder), *more)


def test_built_in_networks_have_whole_scales(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, 2, "estimate", "--network", "fsrcnn", "--scale", "1.5", "--plan", "W8A8")
    assert "not made for scale 1.5" in said
    assert "--model" in said
