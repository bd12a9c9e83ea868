"""Enlarging strip by strip: strips and tiles join exactly, kinds of pixels are kept, files hold what was computed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from fractional_network import strided
from PIL import Image

from hwmodels.errors import UsageError
from hwmodels.tiling.regions import check_local
from hwsearch.documents.files import scratch
from hwsearch.documents.progress import Silent
from hwsearch.formats.running import reach
from hwsearch.formats.running.runtimes import runtime
from hwsearch.plans.enlarge import colours, writing
from hwsearch.plans.enlarge.tiles import Tiles, tiles
from hwsearch.plans.enlarge.upscale import Form, enlarge, upscale
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.data.bicubic import imresize
from searchspaces.data.decoding import PictureRows, load_picture
from searchspaces.data.luma import luma
from searchspaces.data.scale import Scale
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload
from searchspaces.networks.cnn.fsrcnn import FSRCNN
from searchspaces.networks.cnn.vdsr import VDSR
from searchspaces.space import build_space
from searchspaces.tracing import trace

RGBA = np.random.default_rng(0).integers(0, 256, (45, 53, 4), dtype=np.uint8)


class Pooled(torch.nn.Module):
    """A network whose pixels see the whole picture."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(4, 12, 1)
        self.up = torch.nn.PixelShuffle(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.head(x)
        found: torch.Tensor = self.up(self.tail(y * y.mean(dim=(2, 3), keepdim=True)))
        return found


def _quantized(module: torch.nn.Module, channels: int, name: str) -> QuantizedGraph:
    graph = trace.trace(module.eval(), channels, name)
    space = build_space(to_workload(graph, 24, 32), (8,), (8,))
    lows = [torch.rand(1, channels, 24, 24, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    return calibrate(graph, lows, space).quantized(space.uniform(8, 8))


@pytest.fixture(scope="module", params=["fsrcnn", "vdsr", "rgb"])
def network(request: pytest.FixtureRequest) -> QuantizedGraph:
    torch.manual_seed(0)
    module, channels = {
        "fsrcnn": (FSRCNN(scale=2, channels=1, d=6, s=4, m=1), 1),
        "vdsr": (VDSR(scale=2, depth=4, width=4), 1),
        "rgb": (torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3, padding=1), torch.nn.PixelShuffle(2)), 3),
    }[request.param]
    return _quantized(module, channels, request.param)


def _enlarged(qgraph: QuantizedGraph, pixels: np.ndarray, folder: Path, cut: Tiles | None = None, scale: Scale = 2) -> np.ndarray:
    Image.fromarray(pixels if pixels.shape[-1] > 1 else pixels[..., 0]).save(folder / "in.png")
    with scratch(folder) as store:
        picture = PictureRows(folder / "in.png", store)
        form = Form(picture.grey, picture.alpha, picture.bits)
        run = runtime("engine").open_plan(qgraph).run
        return np.concatenate(list(enlarge(run, picture, qgraph.graph, scale, form, Silent(), cut)))


def test_strips_join_exactly(network: QuantizedGraph, tmp_path: Path) -> None:
    cut = tiles(network.graph)
    assert cut is not None
    whole = _enlarged(network, RGBA[..., :3], tmp_path, Tiles(1000, 1000, cut.halo))
    assert whole.shape == (90, 106, 3)
    assert np.array_equal(_enlarged(network, RGBA[..., :3], tmp_path, Tiles(16, 20, cut.halo)), whole)
    assert np.array_equal(_enlarged(network, RGBA[..., :3], tmp_path), whole)
    assert not np.array_equal(_enlarged(network, RGBA[..., :3], tmp_path, Tiles(16, 20, 0)), whole)


def test_luma_by_the_network_and_chroma_by_bicubic(tmp_path: Path) -> None:
    """Of the definition, with numpy on the whole picture; the network repeats pixels."""
    rgb = RGBA[..., :3]
    repeat = torch.nn.Upsample(scale_factor=2, mode="nearest")
    graph = trace.trace(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), repeat).eval(), 1, "repeat")
    Image.fromarray(rgb).save(tmp_path / "in.png")
    with scratch(tmp_path) as store:
        picture = PictureRows(tmp_path / "in.png", store)
        found = np.concatenate(list(enlarge(repeat, picture, graph, 2, Form(grey=False), Silent(), Tiles(16, 16, 1))))
    ycbcr = colours.values(rgb, 8, luma_only=True)
    assert np.allclose(ycbcr[..., 0], luma(rgb))
    y = np.rint(np.repeat(np.repeat(ycbcr[..., :1].astype(np.float32), 2, axis=0), 2, axis=1))
    expected = to_rgb(np.concatenate([y, imresize(ycbcr[..., 1:], 2)], axis=2))
    assert np.array_equal(found, np.clip(np.rint(expected), 0, 255))


def to_rgb(ycbcr: np.ndarray) -> np.ndarray:
    """BT.601 with Y in 16..235 as Rec. 601 writes its inverse, to the digits that it gives."""
    y, blue, red = (ycbcr - [16, 128, 128]).transpose(2, 0, 1) * np.array([255 / 219, 255 / 224, 255 / 224])[:, None, None]
    return np.stack([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue], axis=2)


def test_white_is_the_highest_luma_without_chroma() -> None:
    assert np.allclose(colours.values(np.full((1, 1, 3), 255, dtype=np.uint8), 8, luma_only=True), [235, 128, 128])


def test_grey_stays_grey_and_is_that_of_three_colours_alike(network: QuantizedGraph, tmp_path: Path) -> None:
    grey = _enlarged(network, RGBA[..., :1], tmp_path)
    assert grey.shape == (90, 106, 1)
    colour = _enlarged(network, np.repeat(RGBA[..., :1], 3, axis=2), tmp_path).astype(int)
    expected = colour if network.graph.channels == 1 else np.rint(colour @ [0.299, 0.587, 0.114])[..., None]
    assert np.abs(grey - expected).max() <= (0 if network.graph.channels == 3 else 1)


def test_alpha_is_enlarged_by_bicubic(network: QuantizedGraph, tmp_path: Path) -> None:
    found = _enlarged(network, RGBA, tmp_path)
    assert np.array_equal(found[..., :3], _enlarged(network, RGBA[..., :3], tmp_path))
    assert np.array_equal(found[..., 3], np.clip(np.rint(imresize(RGBA[..., 3].astype(np.float64), 2)), 0, 255))


def test_sixteen_bits_of_grey_are_kept(network: QuantizedGraph, tmp_path: Path) -> None:
    wide = _enlarged(network, RGBA[..., :1].astype(np.uint16) * 257, tmp_path)
    assert wide.dtype == np.uint16
    eight = _enlarged(network, RGBA[..., :1], tmp_path)
    assert np.abs(wide / 257.0 - eight).max() <= 1.1


def test_a_network_that_sees_everything_is_given_it_and_that_is_said(tmp_path: Path) -> None:
    torch.manual_seed(0)
    qgraph = _quantized(Pooled(), 3, "pooled")
    assert tiles(qgraph.graph) is None
    Image.fromarray(RGBA[..., :3]).save(tmp_path / "in.png")
    with scratch(tmp_path) as store:
        found = upscale(PictureRows(tmp_path / "in.png", store), tmp_path / "out.png", qgraph, 2, "engine", Silent())
    assert found.whole
    assert "in one piece" in found.remarks[0]


def test_memory_of_a_tile_is_bounded() -> None:
    graph: Graph = trace.trace(VDSR(scale=2).eval(), 1, "vdsr")
    cut = tiles(graph)
    assert cut is not None
    assert 64 * (cut.height + 2 * cut.halo) * (cut.width + 2 * cut.halo) <= 1 << 23


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_png_is_read_back_as_it_was_written(tmp_path: Path, channels: int, kind: type) -> None:
    peak = np.iinfo(kind).max
    pixels = np.random.default_rng(channels).integers(0, peak, (19, 23, channels), dtype=kind, endpoint=True)
    writing.write(tmp_path / "a.png", "PNG", 19, 23, [pixels[:7], pixels[7:8], pixels[8:]])
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        found = np.asarray(image).reshape(19, 23, channels if kind == np.uint8 or channels in (1, 3) else 4)
    if kind == np.uint16 and channels > 1:  # Pillow reads the upper bytes of these, and grey with alpha as RGBA
        found, pixels = (found if channels != 2 else found[..., [0, 3]]), (pixels >> 8).astype(np.uint8)
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize(("kind", "channels"), [("TIFF", 2), ("TIFF", 3), ("BMP", 1), ("BMP", 3), ("TIFF", 1)])
def test_other_formats_hold_the_strips(tmp_path: Path, kind: str, channels: int) -> None:
    writing.write(tmp_path / "a", kind, 45, 53, [RGBA[:20, :, :channels], RGBA[20:, :, :channels]])
    with Image.open(tmp_path / "a") as image:
        assert np.array_equal(np.asarray(image).reshape(45, 53, channels), RGBA[..., :channels])


def test_what_a_format_does_not_hold_is_said(network: QuantizedGraph, tmp_path: Path) -> None:
    for pixels, ending, said in ((RGBA, "jpg", "transparency"), (RGBA[..., 0].astype(np.uint16) * 257, "bmp", "8 bits")):
        Image.fromarray(pixels).save(tmp_path / "in.png")
        with scratch(tmp_path) as store:
            picture = PictureRows(tmp_path / "in.png", store)
            found = upscale(picture, tmp_path / f"out.{ending}", network, 2, "engine", Silent())
        assert len(found.remarks) == 1
        assert said in found.remarks[0]
        assert load_picture(tmp_path / f"out.{ending}").shape == (90, 106, 3)


@pytest.fixture(scope="module")
def fractional() -> QuantizedGraph:
    """Of 3/2: three times by a shuffle, half of that by a stride."""
    qgraph = _quantized(strided(), 1, "fractional")
    return replace(qgraph, graph=replace(qgraph.graph, multiple=2))


def test_strips_join_exactly_with_a_fractional_scale(fractional: QuantizedGraph, tmp_path: Path) -> None:
    cut = tiles(fractional.graph)
    assert cut is not None
    assert cut.step == 2
    even = RGBA[:44, :52, :3]
    whole = _enlarged(fractional, even, tmp_path, Tiles(1000, 1000, cut.halo, 2), Fraction(3, 2))
    assert whole.shape == (66, 78, 3)
    assert np.array_equal(_enlarged(fractional, even, tmp_path, Tiles(16, 20, cut.halo, 2), Fraction(3, 2)), whole)
    assert np.array_equal(_enlarged(fractional, even, tmp_path, scale=Fraction(3, 2)), whole)
    grey = _enlarged(fractional, even[..., :1], tmp_path, scale=Fraction(3, 2))
    x = colours.to_network(colours.values(even[..., :1], 8, luma_only=True))
    y = runtime("engine").open_plan(fractional).run(x)[0].numpy()
    assert np.array_equal(grey, colours.colours(y, None, True, 8))


def test_sides_that_are_not_whole_are_filled_up_and_cut_off(fractional: QuantizedGraph, tmp_path: Path) -> None:
    """45x53 pixels are 67x79 and a half; the last row and column are repeated before."""
    odd = _enlarged(fractional, RGBA, tmp_path, scale=Fraction(3, 2))
    assert odd.shape == (67, 79, 4)
    filled = _enlarged(fractional, np.pad(RGBA, ((0, 1), (0, 1), (0, 0)), mode="edge"), tmp_path, scale=Fraction(3, 2))
    assert filled.shape == (69, 81, 4)
    assert np.array_equal(filled[:67, :79], odd)
    Image.fromarray(RGBA[:1, :1, :3]).save(tmp_path / "in.png")
    with scratch(tmp_path) as store:
        source = PictureRows(tmp_path / "in.png", store)
        made = upscale(source, tmp_path / "out.png", fractional, Fraction(3, 2), "engine", Silent())
    assert (made.height, made.width) == (1, 1)
    assert load_picture(tmp_path / "out.png").shape == (1, 1, 3)


class Resized(torch.nn.Module):
    """An interpolation by a fraction, which no strip is computed by."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(x + self.conv(x), scale_factor=1.5, mode="bicubic")


def test_an_interpolation_by_a_fraction_is_run_in_one_piece_and_why_is_said(tmp_path: Path) -> None:
    torch.manual_seed(0)
    qgraph = _quantized(Resized(), 3, "resized")
    qgraph = replace(qgraph, graph=replace(qgraph.graph, multiple=2))
    Image.fromarray(RGBA[..., :3]).save(tmp_path / "in.png")
    with scratch(tmp_path) as store:
        made = upscale(PictureRows(tmp_path / "in.png", store), tmp_path / "out.png", qgraph, Fraction(3, 2), "engine", Silent())
    assert (made.height, made.width, made.whole) == (67, 79, True)
    assert "resizes by a fraction" in made.remarks[0]
    assert "whole picture" not in made.remarks[0]
    with pytest.raises(UsageError, match="resizes by a fraction"):
        check_local(to_workload(qgraph.graph, 24, 32))


@pytest.mark.parametrize(("kind", "size", "named"), [("pooled", (24, 32), "24x32"), ("vdsr", (48, 64), "24x32")])
def test_a_plan_for_pictures_of_one_size_names_it_and_the_way_out(
    kind: str, size: tuple[int, int], named: str, tmp_path: Path
) -> None:
    """VDSR reads pictures that were enlarged before: its size is not the picture's."""
    module, channels = (Pooled(), 3) if kind == "pooled" else (VDSR(scale=2, depth=2, width=4), 1)
    qgraph = _quantized(module, channels, kind)
    qgraph = replace(qgraph, graph=replace(qgraph.graph, size=size))
    Image.fromarray(RGBA[..., :3]).save(tmp_path / "in.png")
    with scratch(tmp_path) as store:
        picture = PictureRows(tmp_path / "in.png", store)
        with pytest.raises(UsageError, match=rf"for pictures of {named} .* 45x53") as refused:
            upscale(picture, tmp_path / "out.png", qgraph, 2, "engine", Silent())
        assert "--input 45x53" in refused.value.hint
        Image.fromarray(RGBA[:24, :32, :3]).save(tmp_path / "in.png")
        made = upscale(PictureRows(tmp_path / "in.png", store), tmp_path / "out.png", qgraph, 2, "engine", Silent())
        assert (made.height, made.width) == (48, 64)


def test_the_last_strip_is_filled_up_as_the_whole_picture_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strip of rows 25 to 45 has whole multiples of 4, the picture has not: one row more or less is repeated below."""
    torch.manual_seed(0)
    found = _quantized(torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3, padding=1), torch.nn.PixelShuffle(2)), 3, "rgb")
    fours = replace(found, graph=replace(found.graph, multiple=4))
    whole = _enlarged(fours, RGBA[..., :3], tmp_path, Tiles(1000, 1000, 1))
    monkeypatch.setattr("hwsearch.plans.enlarge.tiles.STRIP", 26)
    assert np.array_equal(_enlarged(fours, RGBA[..., :3], tmp_path), whole)


class Blocks(torch.nn.Module):
    """Reads pixels of blocks as channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(12, 48, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pixel_shuffle(self.conv(torch.nn.functional.pixel_unshuffle(x, 2)), 4)


def test_strips_of_a_network_that_reads_blocks_of_pixels_join_exactly(tmp_path: Path) -> None:
    """Tiles begin at whole blocks, and the convolution of blocks sees two pixels to each side."""
    torch.manual_seed(0)
    qgraph = _quantized(Blocks(), 3, "blocks")
    qgraph = replace(qgraph, graph=replace(qgraph.graph, multiple=2))
    cut = tiles(qgraph.graph)
    assert cut is not None
    assert (cut.step, reach.receptive_radius(qgraph.graph), reach.uncut(qgraph.graph)) == (2, 3, "")
    picture = RGBA[..., :3]
    whole = _enlarged(qgraph, picture, tmp_path, Tiles(1000, 1000, cut.halo, 2))
    assert whole.shape == (2 * RGBA.shape[0], 2 * RGBA.shape[1], 3)
    assert np.array_equal(_enlarged(qgraph, picture, tmp_path, Tiles(14, 18, cut.halo, 2)), whole)
    assert np.array_equal(_enlarged(qgraph, picture, tmp_path), whole)
