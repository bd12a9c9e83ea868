"""Pictures that cannot be used are told all at once, whatever is wrong with each and whatever role it has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from hwmodels.errors import FileError
from searchspaces.tasks import registry
from searchspaces.tasks.task import Signature

COUNT = 12
"""Of all three roles, whose pictures are drawn: 3 for the search, 4 for the evaluation, 5 for the calibration."""
SIDE = 160


def folder(place: Path, side: int, broken: str = "", small: int = 4) -> Path:
    """Pictures of noise; or all but one of them broken in the same way."""
    place.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        rgb = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        file = place / f"p{number:02d}.png"
        bad = broken if number else ""
        rgb = rgb[:small, :small] if bad == "small" else rgb * 0 + np.uint8(number) if bad == "plain" else rgb
        Image.fromarray(rgb).save(file)
        if bad == "cut":
            file.write_bytes(file.read_bytes()[:-2000] + bytes([number]))
    return place


@pytest.mark.parametrize("broken", ["small", "plain", "cut"])
@pytest.mark.parametrize("task", ["super-resolution", "restoration", "fidelity", "classifier"])
def test_all_are_named_whatever_their_role(task: str, broken: str, tmp_path: Path) -> None:
    if (task, broken) in {("fidelity", "plain"), ("classifier", "small")}:
        pytest.skip("taken there")
    source = tmp_path / "pictures"
    if task == "restoration":
        folder(source / "low", SIDE // 2, broken)
        folder(source / "high", SIDE, "" if broken == "plain" else broken, small=8)
    else:
        folder(source, SIDE, broken)
    made = registry.task(task)(Signature(2, 3, size=(32, 32)))
    with pytest.raises(FileError, match=f"{COUNT - 1} pictures cannot be used") as refused:
        made.samples(source, 0, nn.Upsample(scale_factor=2))
    assert "and 3 more" in refused.value.message


def test_different_faults_are_told_together_with_what_to_do_about_each(tmp_path: Path) -> None:
    source = folder(tmp_path / "pictures", SIDE)
    Image.new("RGB", (SIDE, SIDE), (9, 9, 9)).save(source / "p03.png")
    Image.new("RGB", (5, 5), (7, 7, 7)).save(source / "p07.png")
    (source / "p11.png").write_text("no picture")
    made = registry.task("super-resolution")(Signature(2, 3))
    with pytest.raises(FileError, match="3 pictures cannot be used") as refused:
        made.samples(source, 0, nn.Upsample(scale_factor=2))
    assert all(f"{name}.png: " in refused.value.message for name in ("p03", "p07", "p11"))
    assert "take it out" in refused.value.hint
    assert "at least" in refused.value.hint
