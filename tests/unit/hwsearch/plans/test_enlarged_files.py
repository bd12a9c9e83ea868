"""What else a picture file says: its colour profile goes on into the enlarged one, and pictures behind the first are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from hwsearch.documents.files import scratch
from hwsearch.documents.progress import Silent
from hwsearch.plans.enlarge.upscale import Enlarged, upscale
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.data.decoding import PictureRows
from searchspaces.ir.lower import to_workload
from searchspaces.space import build_space
from searchspaces.tracing import trace

RGB = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def network() -> QuantizedGraph:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3, padding=1), torch.nn.PixelShuffle(2)).eval()
    graph = trace.trace(module, 3, "net")
    space = build_space(to_workload(graph, 24, 32), (8,), (8,))
    return calibrate(graph, [torch.rand(1, 3, 24, 24)], space).quantized(space.uniform(8, 8))


def enlarged(network: QuantizedGraph, source: Path, target: Path) -> Enlarged:
    with scratch(source.parent) as store:
        return upscale(PictureRows(source, store), target, network, 2, "engine", Silent())


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_a_colour_profile_is_kept(network: QuantizedGraph, tmp_path: Path, ending: str) -> None:
    Image.fromarray(RGB).save(tmp_path / "in.png", icc_profile=PROFILE)
    assert enlarged(network, tmp_path / "in.png", tmp_path / f"out.{ending}").remarks == ()
    with Image.open(tmp_path / f"out.{ending}") as found:
        assert found.info["icc_profile"] == PROFILE
        assert found.size == (32, 24)


@pytest.mark.parametrize(
    ("picture", "profile", "ending", "said"),
    [
        (Image.fromarray(RGB), PROFILE, "bmp", "BMP holds none"),
        (Image.fromarray(RGB), b"no profile", "png", "or damaged"),
        (Image.fromarray(RGB[..., 0]), PROFILE, "png", "of other colours"),
        (Image.fromarray(RGB).convert("CMYK"), PROFILE.replace(b"RGB ", b"CMYK"), "png", "of other colours"),
    ],
)
def test_a_profile_that_does_not_fit_is_dropped_and_said_to_be(
    network: QuantizedGraph, tmp_path: Path, picture: Image.Image, profile: bytes, ending: str, said: str
) -> None:
    source = tmp_path / ("in.jpg" if picture.mode == "CMYK" else "in.png")
    picture.save(source, icc_profile=profile)
    (remark,) = enlarged(network, source, tmp_path / f"out.{ending}").remarks
    assert said in remark
    with Image.open(tmp_path / f"out.{ending}") as found:
        assert "icc_profile" not in found.info


@pytest.mark.parametrize("ending", ["gif", "tif", "png"])
def test_pictures_behind_the_first_are_told(network: QuantizedGraph, tmp_path: Path, ending: str) -> None:
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    first.save(tmp_path / f"in.{ending}", save_all=True, append_images=[second])
    (remark,) = enlarged(network, tmp_path / f"in.{ending}", tmp_path / "out.png").remarks
    assert remark == "the file holds 2 pictures: the first was enlarged"
    if ending != "gif":  # which has a palette of its own
        first.save(tmp_path / "one.png")
        enlarged(network, tmp_path / "one.png", tmp_path / "alone.png")
        assert (tmp_path / "alone.png").read_bytes() == (tmp_path / "out.png").read_bytes()
