"""A training of weights that diverges stops with a sentence, and leaves the weights of the last report."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from searchspaces.training import train


@pytest.mark.parametrize("rate", ["1e-3", "1e18"])
def test_a_loss_that_is_not_finite_stops_it(rate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photos" / "a.png")
    out = tmp_path / "weights.safetensors"
    words = ["train", "--network", "fsrcnn", "--images", str(tmp_path / "photos"), "--out", str(out), "--rate", rate]
    words += ["--steps", "8", "--every", "1", "--batch", "1", "--patch", "16", "--long-sides", "160", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", words)
    if rate == "1e-3":
        train.main()
    else:
        with pytest.raises(SystemExit, match=r"the loss is (nan|inf) .* stops.*lower --rate"):
            train.main()
    assert all(bool(torch.isfinite(values).all()) for values in load_file(out).values())
