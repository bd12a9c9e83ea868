"""Tiles and video rates as people ask for them: sizes, errors, the way that is chosen, what terminal and report say."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import random_tables
import synthetic_results
from PIL import Image
from rich.console import Console

from hwmodels.errors import BudgetError, UsageError
from hwmodels.tiling.tiling import Tiling, parse
from hwsearch.cli import main, summary
from hwsearch.documents import units
from hwsearch.documents.results import Results, TilingPoint
from hwsearch.plans.plan_file import load
from hwsearch.report import html
from hwsearch.search import frame_rate
from hwsearch.search.exact import additive
from hwsearch.search.exact.alternatives import fastest_within, lower_all
from searchspaces.data import pictures

NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    head, body, tail = (nn.Conv2d(i, 4, 3, padding=1) for i in (1, 4, 4))
    return nn.Sequential(head, nn.ReLU(), body, nn.ReLU(), tail, nn.PixelShuffle(2))

def pooled():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.tail, self.up = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.PixelShuffle(2)

        def forward(self, x):
            y = self.head(x)
            return self.up(self.tail(y * torch.sigmoid(y.mean(dim=(2, 3), keepdim=True))))
    return Pooled()
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("net") / "net.py"
    file.write_text(NETWORK)
    return file


def command(net: Path, *more: str, network: str = "build") -> list[str]:
    return ["estimate", "--model", f"{net}:{network}", "--scale", "2", "--target", "stm32h743", "--quiet", *more]


def answer(capsys: pytest.CaptureFixture[str], code: int, words: list[str]) -> Any:
    capsys.readouterr()
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


# Sizes


@pytest.mark.parametrize("text", ["0x16", "16x0", "16", "x", "axb", "-1x4", "1.5x2", "16x16x16", "", "999999x2"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not the size of a tile") as refused:
        parse(text)
    assert "45x320" in refused.value.hint


def test_a_size_is_read() -> None:
    assert parse("45x320") == Tiling(45, 320, "recompute")
    assert parse(" 45X320", "keep") == Tiling(45, 320, "keep")
    with pytest.raises(UsageError, match="not known") as refused:
        parse("45x320", "kept")
    assert "keep" in refused.value.hint


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--tile", "0x9"], "not the size of a tile"),
        (["--tile", "automatic"], "not the size of a tile"),
        (["--tile", "65x16"], "does not lie inside the picture of 48x64"),
        (["--tile", "8x80"], "1 to 64"),
        (["--tile", "8x16", "--halo", "keep"], "strips of the whole width"),
        (["--tile", "8x16", "--halo", "kep"], "keep"),
        (["--tile", "whole", "--halo", "keep"], "cuts none"),
        (["--halo", "keep"], "--tile"),
        (["--fps", "0"], "not a rate"),
        (["--fps", "-3"], "not a rate"),
        (["--fps", "nan"], "not a rate"),
        (["--fps", "inf"], "not a rate"),
    ],
)
def test_mistakes_of_the_command_line(net: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str) -> None:
    error = answer(capsys, 2, command(net, "--input", "48x64", *more))["error"]
    assert said in f"{error['message']} {error['hint']}"
    assert error["hint"]


def test_a_network_that_sees_the_whole_picture(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words_ = command(net, "--input", "48x64", network="pooled")
    error = answer(capsys, 2, [*words_, "--tile", "8x64"])["error"]
    assert "whole picture" in error["message"]
    assert [point["tiling"] for point in answer(capsys, 0, [*words_, "--tile", "auto"])["tilings"]] == [None]


# The way that is chosen


def test_auto_takes_the_fastest_that_fits_and_shows_the_others(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    priced = answer(capsys, 0, command(net, "--input", "360x640", "--tile", "auto"))
    points = priced["tilings"]
    (chosen,) = [point for point in points if point["chosen"]]
    limit = priced["limits"]["peak_activation_bytes"]
    assert all(point["fits"] == (point["peak_activation_bytes"] <= limit) for point in points)
    assert chosen["latency_s"] == min(point["latency_s"] for point in points if point["fits"])
    assert priced["tiling"] == chosen["tiling"]
    assert priced["predicted"]["latency_s"] == chosen["latency_s"]
    assert priced["exceeded"] == []
    assert not points[0]["fits"]
    assert {point["tiling"]["halo"] for point in points[1:]} == {"keep", "recompute"}
    only = answer(capsys, 0, command(net, "--input", "360x640", "--tile", "auto", "--halo", "recompute"))
    assert {point["tiling"]["halo"] for point in only["tilings"][1:]} == {"recompute"}
    whole = answer(capsys, 0, command(net, "--input", "360x640"))
    assert whole["exceeded"] == ["peak_activation_bytes"]
    assert whole["predicted"]["peak_activation_bytes"] == points[0]["peak_activation_bytes"]


def test_the_terminal_shows_memory_against_latency(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(net, "--input", "360x640", "--tile", "auto")) == 0
    text = capsys.readouterr().out
    assert "whole picture" in text
    assert "fits, the fastest that does" in text
    assert main(command(net, "--input", "360x640")) == 0
    text = capsys.readouterr().out
    assert "does not fit" in text
    assert "[red]" not in text
    assert "--tile auto" in text


def test_the_fastest_within_limits_else_the_least_over_them() -> None:
    def cost(latency: list[float], peak: list[float]) -> dict[str, np.ndarray]:
        return {"latency_s": np.array(latency), "peak_activation_bytes": np.array(peak)}

    ways = [cost([1, 1, 1, 2], [9, 9, 9, 1]), cost([2, 2, 3, 2], [5, 4, 8, 1]), cost([3, 1.5, 2, 2], [2, 4, 7, 1])]
    assert fastest_within(ways, {"peak_activation_bytes": 5}).tolist() == [1, 2, 2, 0]
    assert fastest_within(ways, {}).tolist() == [0, 0, 0, 0]


def test_a_plan_takes_its_best_way_also_after_a_change() -> None:
    """Two tables that trade latency for memory: every plan's costs are those of one of them, changed or not."""
    table, noise, space = random_tables.edsr(3, 1)
    finer = dataclasses.replace(table, latency_s=1.3 * table.latency_s, live=table.live // 3)
    plans = space.random(np.random.default_rng(0), 40).astype(np.int64)
    peaks = additive.lower(table, noise, space).costs(plans)["peak_activation_bytes"]
    limits = {"peak_activation_bytes": float(np.median(peaks))}
    both = lower_all([table, finer], noise, space, limits)
    coarse, fine = (additive.lower(each, noise, space).costs(plans) for each in (table, finer))
    fits = coarse["peak_activation_bytes"] <= limits["peak_activation_bytes"]
    assert 0 < fits.sum() < len(plans)
    np.testing.assert_array_equal(both.costs(plans)["latency_s"], np.where(fits, coarse["latency_s"], fine["latency_s"]))
    changes = np.arange(len(both.changes[0]))
    for plan in plans[:4]:
        after = both.costs(both.changed(plan, changes))
        for name, values in both.costs_of_changes(plan).items():
            np.testing.assert_allclose(values, after[name], rtol=1e-9)
    assert lower_all([table], noise, space, limits).costs(plans)["latency_s"].tolist() == coarse["latency_s"].tolist()


def test_strips_of_another_picture_stay_strips() -> None:
    assert Tiling(8, 320, "keep").on(100, 50, 320) == Tiling(8, 50, "keep")
    assert Tiling(8, 320, "keep").on(5, 500, 320) == Tiling(5, 500, "keep")
    assert Tiling(30, 40).on(20, 30, 320) == Tiling(20, 30)


def test_a_picture_that_does_not_fit_is_cut_searched_and_proven(
    net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole job on a picture far larger than the memory; then every command on its plan."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, photo in enumerate(pictures.shipped()[:4]):
        Image.fromarray(photo.rgb[:136, :144]).save(photos / f"photo{i}.png")
    code = command(net)[1:3]
    job = ["optimize", *command(net, "--input", "360x640")[1:], "--images", str(photos), "--force"]
    few = [
        "--weight-bits",
        "4,8",
        "--evaluations",
        "30",
        "--probes",
        "8",
        "--fps",
        "0.5",
        "--out",
        str(tmp_path / "run"),
    ]
    found = answer(capsys, 0, [*job, *few])
    assert all(entry["tiling"]["halo"] == "keep" for entry in found["front"])
    assert all(entry["predicted"]["peak_activation_bytes"] <= 512 * 1024 for entry in found["front"])
    assert all(entry["headroom"] == 1 - entry["predicted"]["latency_s"] * 0.5 for entry in found["front"])
    # Plans with wide tensors are cut finer than those with narrow ones.
    assert len({entry["tiling"]["height"] for entry in found["front"]}) > 1
    assert sum(point["chosen"] for point in found["tilings"]) == 1
    path = next(path for path in sorted((tmp_path / "run" / "plans").glob("*.json")) if load(path).measured)
    plan = load(path)
    assert plan.measured is not None
    assert plan.measured.tiled_mismatched_codes == 0
    assert answer(capsys, 0, ["validate", str(path), *code, "--quiet"])["tiling"]["height"] == plan.tiling.height  # type: ignore[union-attr]
    priced = answer(capsys, 0, ["estimate", "--plan", str(path), *code, "--quiet"])
    assert priced["predicted"]["latency_s"] == pytest.approx(plan.predicted.latency_s)
    assert priced["predicted"]["peak_activation_bytes"] == plan.predicted.peak_activation_bytes
    report = (tmp_path / "run" / "report.html").read_text()
    assert "Memory against latency as the tile shrinks" in report
    assert "0.5 pictures a second" in report
    assert "line buffers" in report
    # An explicit size and the whole picture are taken at their word.
    error = answer(capsys, 4, [*job, "--tile", "whole", "--out", str(tmp_path / "none")])["error"]
    assert "activation memory" in error["message"]


# Video


def test_a_rate_is_a_budget_on_latency() -> None:
    assert frame_rate.budgets_with({"weights": 9.0}, 30) == {"weights": 9.0, "latency": pytest.approx(1 / 30)}
    assert frame_rate.budgets_with({"latency": 0.01}, 30) == {"latency": 0.01}
    assert frame_rate.budgets_with({"latency": 0.05}, 30) == {"latency": pytest.approx(1 / 30)}
    assert frame_rate.budgets_with({}, None) == {}
    assert frame_rate.headroom(0.025, 30) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("latency_s", "said"), [(0.02, "30 pictures a second held, headroom 40 %"), (0.1, "not held: 10.0 a second, 3.00 times")]
)
def test_a_rate_in_words(latency_s: float, said: str) -> None:
    assert said in units.rate(latency_s, 30)


def test_estimate_tells_the_headroom(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    priced = answer(capsys, 0, command(net, "--input", "48x64", "--fps", "5"))
    assert priced["fps"] == 5
    assert priced["headroom"] == pytest.approx(1 - 5 * priced["predicted"]["latency_s"])
    assert main(command(net, "--input", "48x64", "--fps", "5")) == 0
    assert "5 pictures a second held, headroom" in capsys.readouterr().out


@pytest.mark.parametrize("first", ["estimate", "optimize"])
def test_an_impossible_rate_says_the_best(net: Path, capsys: pytest.CaptureFixture[str], first: str) -> None:
    words_ = [first, *command(net, "--input", "48x64", "--fps", "5000")[1:]]
    error = answer(capsys, 4, words_)["error"]
    assert error["kind"] == BudgetError.__name__
    assert "5000 pictures a second are out of reach" in error["message"]
    rate = error["hint"].split("--fps ")[1].split()[0]
    # The rate of the hint can be held: by the narrowest plan, which estimate prices too.
    best = answer(capsys, 0, [*command(net, "--input", "48x64", "--fps", rate), "--plan", "W8A8"])
    assert best["predicted"]["latency_s"] > 0


# Terminal and report


@pytest.fixture
def tiled(tmp_path: Path) -> Results:
    """The synthetic run, asked for 200 pictures a second, its plans cut into strips."""
    made = synthetic_results.results(tmp_path)
    front = [plan.model_copy(update={"tiling": Tiling(30, 480, "keep")}) for plan in made.front]
    sizes = [None, Tiling(90, 480, "keep"), Tiling(30, 480, "keep"), Tiling(90, 480), Tiling(30, 480), Tiling(45, 60)]
    tilings = [
        TilingPoint(
            tiling=size,
            tiles=1 + i,
            macs=made.macs * (10 + i) // 10,
            latency_s=8e-3 * (1 + i / 10),
            peak_activation_bytes=17_000_000 // (1 + 2 * i),
            energy_j=None,
            fits=i > 1,
            chosen=i == 2,
        )
        for i, size in enumerate(sizes)
    ]
    return made.model_copy(update={"front": front, "tilings": tilings, "fps": 200.0}).placed(tmp_path)


@pytest.mark.parametrize("width", [80, 100, 130, 180])
def test_the_screen_has_columns_for_tile_and_headroom(tiled: Results, width: int) -> None:
    stream = io.StringIO()
    summary.render(tiled, Console(file=stream, width=width, highlight=False))
    text = stream.getvalue()
    lines = [line for line in text.splitlines() if line.startswith(" plan-0")]
    assert max(map(len, text.splitlines()[:20])) <= width
    assert sum("30x480 kept" in line for line in lines) == len(tiled.front)
    for plan in tiled.front:
        share = 1 - 200 * plan.predicted.latency_s
        said = units.percent(share) if share >= 0 else "not held"
        assert any(plan.name in line and said in line for line in lines)


def test_the_page_shows_the_sizes(tiled: Results, tmp_path: Path) -> None:
    page = html.write(tiled, tmp_path).read_text(encoding="utf-8")
    assert 'id="tiles"' in page
    assert "Memory against latency as the tile shrinks" in page
    assert "strips, halo kept" in page
    assert "tiles, halo recomputed" in page
    assert "All 6 sizes as a table" in page
    assert "headroom<br>at 200/s" in page
    assert "not held" in page


def test_a_run_without_tiles_says_nothing_of_them(tmp_path: Path) -> None:
    page = html.write(synthetic_results.results(tmp_path), tmp_path).read_text(encoding="utf-8")
    assert 'id="tiles"' not in page
    assert "headroom" not in page
