"""The report: how numbers are written, which detail of a picture is shown, and what the page holds."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import synthetic_results
from PIL import Image

from hwmodels.errors import FileError
from hwmodels.fitting.agreement import Doubt
from hwsearch.documents import units
from hwsearch.documents.recommended import recommended
from hwsearch.documents.results import Fact, Point, Results
from hwsearch.report import crops, figures, html, layers, sentences
from searchspaces.tasks.metrics import psnr_y


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ([8, 8, 6, 6, 6, 6, 8], "8·8·6×4·8"),
        ([8], "8"),
        ([4, 4], "4·4"),
        ([4, 4, 4], "4×3"),
        ([16, 8, 8, 8, 16, 16], "16·8×3·16·16"),
        ([], "–"),
    ],
)
def test_runs_of_three_are_written_once(bits: list[int], text: str) -> None:
    assert units.compress_bits(bits) == text


def test_widths_of_many_layers_are_counted_and_explained() -> None:
    few = units.brief_bits({"a": 8, "b": 4}, {"x": 8})
    many = units.brief_bits({f"layer{i}": (4, 8, 16)[i % 3] for i in range(90)}, {"x": 8})
    assert (few, many) == (("8·4", "8"), ("4 in 30, 8 in 30, 16 in 30", "8"))
    assert units.on_counts([few]) == ""
    assert "so many layers" in units.on_counts([few, many])


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (units.bytes_, 0, "0 B"),
        (units.bytes_, 1023, "1023 B"),
        (units.bytes_, 13_517, "13.2 KiB"),
        (units.bytes_, 1024 * 1023, "0.999 MiB"),
        (units.bytes_, 2**21, "2.00 MiB"),
        (units.bytes_, None, "–"),
        (units.seconds, 4.31e-3, "4.31 ms"),
        (units.seconds, 0.99996, "1.00 s"),
        (units.seconds, 0.9999e-3, "1.00 ms"),
        (units.seconds, 2.5e-7, "250 ns"),
        (units.seconds, 71.44, "71.4 s"),
        (units.seconds, 125, "2 min 05 s"),
        (units.seconds, 0, "0 s"),
        (units.joules, 2.1e-3, "2.10 mJ"),
        (units.count, 12_637, "12.6 k"),
        (units.count, 999, "999"),
        (units.count, 3.2e21, "about 10²¹"),
        (units.decibel, 36.8412, "36.84 dB"),
        (units.decibel, -0.001, "0.00 dB"),
        (units.loss, -0.0125, "−0.013 dB"),
        (units.loss, 1.234, "1.23 dB"),
        (units.ratio, 4.2678, "4.27×"),
        (units.ratio, float("inf"), "–"),
        (units.percent, 0.1234, "12 %"),
        (units.percent, 0.0123, "1.2 %"),
        (units.percent, 0.0, "0 %"),
    ],
)
def test_numbers_have_human_units(function: object, value: float | None, text: str) -> None:
    assert function(value) == text  # type: ignore[operator]


def test_names_are_cut_in_the_middle() -> None:
    assert units.shorten("short", 8) == "short"
    assert len(units.shorten("a_very_long_layer_name.7", 12)) == 12
    assert units.shorten("a_very_long_layer_name.7", 12).endswith("name.7")


@pytest.mark.parametrize("shape", [(90, 120), (90, 120, 3)])
def test_the_detail_is_where_the_plan_errs_most(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    high = rng.integers(0, 256, shape).astype(float)
    plan = high.copy()
    plan[50:60, 70:80] += np.where(plan[50:60, 70:80] > 128, -4, 4)
    crop = crops.save_crops(tmp_path, "a/b picture", high, high, high, plan, 2, plan_name="p", window=16, magnify=3)
    rows, columns = crops.window_of_interest(high, high, plan, 16, border=2)
    assert rows.start <= 50
    assert rows.stop >= 60
    assert columns.start <= 70
    assert columns.stop >= 80
    shown = np.asarray(Image.open(tmp_path / crop.plan))
    assert shown.shape[:2] == (48, 48)
    np.testing.assert_array_equal(shown[::3, ::3], np.rint(plan[rows, columns]).astype(np.uint8))
    error = np.asarray(Image.open(tmp_path / crop.error))
    assert error.ndim == 2
    if len(shape) == 2:  # errors of 4 grey steps, enlarged 16 times, in 10 x 10 pixels of 3 x 3 dots
        assert np.count_nonzero(error) == np.count_nonzero(error == 64) == 900
    assert crop.psnr_db["plan"] == pytest.approx(psnr_y(plan, high, 2))


def test_a_picture_smaller_than_the_window_is_shown_whole() -> None:
    picture = np.zeros((10, 20))
    assert crops.window_of_interest(picture, picture, picture, 72, border=2) == (slice(0, 10), slice(0, 20))


def test_pictures_of_different_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="different shape"):
        crops.save_crops(tmp_path, "p", np.zeros((8, 8)), np.zeros((8, 8)), np.zeros((8, 8)), np.zeros((9, 8)), 2)


def test_the_staircase_is_what_no_other_point_beats() -> None:
    rng = np.random.default_rng(3)
    cost, loss = rng.integers(1, 12, 60), rng.integers(0, 12, 60) / 10
    points = [
        Point(loss_db=float(b), latency_s=float(a), weight_bytes=1, peak_activation_bytes=1, energy_j=None, origin="probe")
        for a, b in zip(cost, loss, strict=True)
    ]
    pairs = set(zip(cost.tolist(), loss.tolist(), strict=True))
    undominated = {p for p in pairs if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in pairs)}
    steps = figures.staircase(points, "latency_s")
    assert set(steps) == undominated
    assert steps == sorted(steps)


class _Page(HTMLParser):
    """Collects what the page would load, its identifiers, and whether tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.identifiers: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            if key in ("src", "href", "xlink:href", "data", "srcset"):
                self.loads.append(value or "")
            if key == "id":
                self.identifiers.append(value or "")
            if key == "aria-labelledby":
                self.references += (value or "").split()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path, str]:
    folder = tmp_path_factory.mktemp("run")
    results = synthetic_results.results(folder)
    return results, folder, html.write(results, folder).read_text(encoding="utf-8")


def test_the_page_needs_nothing_but_itself(run: tuple[Results, Path, str]) -> None:
    page = _Page()
    page.feed(run[2])
    assert "script" not in page.tags
    assert page.loads
    assert all(load.startswith(("data:", "#")) for load in page.loads)
    assert "url(http" not in run[2]
    assert "@import" not in run[2]
    assert len(run[2].encode()) < 3_000_000


def test_identifiers_are_unique_and_references_lead_somewhere(run: tuple[Results, Path, str]) -> None:
    page = _Page()
    page.feed(run[2])
    assert len(page.identifiers) == len(set(page.identifiers))
    inner = {load[1:] for load in page.loads if load.startswith("#")} | set(page.references)
    inner |= set(re.findall(r"url\(#([^)]+)\)", run[2]))
    assert inner <= set(page.identifiers)


def test_every_figure_is_well_formed_and_says_what_it_shows(run: tuple[Results, Path, str]) -> None:
    drawings = re.findall(r"<svg.*?</svg>", run[2], re.S)
    assert len(drawings) == 3 + 2 + 2 * 4 + 3
    for drawing in drawings:
        root = ET.fromstring(drawing)
        assert root.get("role") == "img"
        title, description = root[0], root[1]
        assert title.tag.endswith("title")
        assert len(description.text or "") > 40
        assert "DejaVu" not in drawing


def test_the_same_run_gives_the_same_bytes(run: tuple[Results, Path, str]) -> None:
    assert html.render(run[0], run[1]) == run[2]


def test_the_page_tells_the_plan_its_price_and_its_proof(run: tuple[Results, Path, str]) -> None:
    text = re.sub(r"<[^>]+>", "", run[2]).replace("\u00a0", " ")
    assert recommended(run[0]).name == "plan-03"  # type: ignore[union-attr]
    for said in (
        "fsrcnn ×2 on Example Board: 4.25 ms, 11.2 KiB of weights, 0.130 dB lost",
        "within 6.00 ms latency",
        "not one code of 1,572,864 different",
        "plan-03 (budget), with weights of 8·6×6·8 and activations of 8×9 bits",
        "noise_gain: Spearman 0.981",
        "--budget latency=6ms --seed 7",
        "assumed",
        "6-bit packed",
    ):
        assert said in text


def test_lines_of_limits_are_drawn_at_what_they_limit(run: tuple[Results, Path, str]) -> None:
    """A memory budget is for weights and activations together: neither axis has it."""
    lines = {}
    for name, objective in (("latency", figures.LATENCY), ("weights", figures.WEIGHTS), ("memory", figures.ACTIVATIONS)):
        values = [float(getattr(p, objective.attribute)) for p in run[0].points]
        bounded = run[0].model_copy(update={"budgets": {name: float(np.median(values))}, "limits": {}})
        without = bounded.model_copy(update={"budgets": {}})
        lines[name] = figures.tradeoff(bounded, objective).svg != figures.tradeoff(without, objective).svg
    assert lines == {"latency": True, "weights": True, "memory": False}


def test_the_simplest_method_is_named_as_the_task_has_it(run: tuple[Results, Path, str]) -> None:
    text = html.render(run[0].model_copy(update={"baseline": "the noisy picture"}), run[1])
    assert "the noisy picture" in text
    assert "bicubic" not in text


def test_names_cannot_break_the_page(run: tuple[Results, Path, str]) -> None:
    evil = '<script>alert("x")</script> $a_b$ & co'
    results = run[0].model_copy(
        update={
            "notes": [evil],
            "device": run[0].device.model_copy(update={"title": evil}),
            "proxies": [run[0].proxies[0].model_copy(update={"name": evil})],
            "schedule": {name: [s.model_copy(update={"layer": evil}) for s in steps] for name, steps in run[0].schedule.items()},
        }
    )
    text = html.render(results, run[1])
    assert "<script" not in text
    for drawing in re.findall(r"<svg.*?</svg>", text, re.S):
        ET.fromstring(drawing)


def test_what_is_not_proven_is_said(run: tuple[Results, Path, str]) -> None:
    lean = run[0].model_copy(update={"points": [], "proxies": [], "layers": {}, "schedule": {}})
    front = [p.model_copy(update={"measured": None}) if p.name == "plan-03" else p for p in run[0].front]
    text = html.render(lean.model_copy(update={"front": front, "uncounted": ["aten.fft"]}), run[1])
    assert "was not run in integers" in text
    assert "Not traced or not priced, hence in no number here: aten.fft" in text
    measured = run[0].front[2].measured
    assert measured is not None
    wrong = measured.model_copy(update={"mismatched_codes": 3, "float_layers": ["tail"]})
    front = [p.model_copy(update={"measured": wrong}) if p.name == "plan-03" else p for p in run[0].front]
    text = html.render(lean.model_copy(update={"front": front}), run[1])
    assert "3 of 1,572,864 codes" in text
    assert "not proven in integers: tail" in text


def test_a_run_with_next_to_nothing_has_a_page(run: tuple[Results, Path, str]) -> None:
    bare = run[0].model_copy(
        update={"front": [], "chosen": {}, "points": [], "proxies": [], "layers": {}, "schedule": {}, "crops": [], "stages_s": {}}
    )
    assert "no plan was found" in html.render(bare, run[1])


def test_many_points_stay_small(run: tuple[Results, Path, str]) -> None:
    figure = figures.tradeoff(run[0].model_copy(update={"points": run[0].points * 10}), figures.LATENCY)
    assert len(figure.svg) < 60 * 10 * len(run[0].points)


def test_long_networks_continue_in_further_strips() -> None:
    names = [f"body.{i}.conv" for i in range(37)]
    strips = layers.strip("s", "Bits", names, [("knee", [8] * 37)])
    assert len(strips) == 2
    assert strips[1].description.startswith("Columns, in network order: body.19.conv")
    assert all(s.width < 1100 for s in strips)


def test_a_missing_picture_or_folder_is_a_file_error(run: tuple[Results, Path, str], tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"wine.*\.png"):
        html.write(run[0], tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"report\.html"):
        html.write(run[0].model_copy(update={"crops": []}), tmp_path / "file")


def test_the_interval_of_a_latency_is_wider_by_what_no_figure_was_held_against(tmp_path: Path) -> None:
    """What the processor beside a documented array does is no part of the compiler's estimate."""
    known = synthetic_results.results(tmp_path)
    plan = recommended(known)
    assert plan is not None
    rows = known.layers[plan.name]
    away = [rows[0].model_copy(update={"runs_on": "Cortex-M55"}), *rows[1:]]
    told = []
    for key in ("rates.W8A8", "npu.array.output_cycles.clamp"):
        device = known.device.model_copy(
            update={"doubt": Doubt(0.001, None, "a compiler", 0), "facts": [Fact(key=key, value="1", source="s")]}
        )
        results = known.model_copy(update={"device": device, "layers": {**known.layers, plan.name: away}})
        (said,) = [text for name, _, text in sentences.tiles(results, plan) if name == "Latency"]
        told.append(said.split("interval ")[1])
    latency_s, away_s = plan.predicted.latency_s, rows[0].latency_s
    held = latency_s - away_s
    assert told[0] == units.interval(latency_s / 1.001, latency_s / 0.999)
    assert told[1] == units.interval(held / 1.001 + away_s / 2, held / 0.999 + 2 * away_s)
    assert told[0] != told[1]
