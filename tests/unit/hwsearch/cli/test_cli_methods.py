"""``hwsearch methods``: what is listed, and a comparison whose numbers are checked one by one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from small_job import refusal

from hwmodels.errors import FileError, UsageError
from hwsearch.cli import comparisons, main
from hwsearch.cli.commands.methods import read_pairs
from hwsearch.plans.compare_methods import compare
from hwsearch.problem.pictures import choose_pictures
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from hwsearch.quant import methods
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.engine import integer
from searchspaces.data.pictures import load_picture, make_pair
from searchspaces.ir.graph import execute
from searchspaces.tasks.image import to_picture
from searchspaces.tasks.metrics import psnr_y


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main([*words, "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_method_is_listed_with_its_source_and_price(capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(capsys, "methods")["methods"]
    assert [entry["name"] for entry in found] == list(methods.names())
    for entry in found:
        assert entry["source"] and entry["run_time_price"]  # noqa: PT018 (both of one entry)
    assert [entry["name"] for entry in found if not entry["exported"]] == ["adabm", "dan"]
    alone = {entry["name"] for entry in found if entry["needs"] == "pictures"}
    assert alone == {"aciq", "gptq", "hadamard", "minmax", "mse", "octav", "percentile"}
    assert {entry["needs"] for entry in found if entry["name"] not in alone} == {"pictures, training"}


def test_a_comparison_says_what_the_integers_do(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("methods", "compare", "--pictures", "1", "--method", "minmax", "--method", "mse", "--bits", "8/8", "--bits", "4/8")
    found = ask(capsys, *words)
    assert [(row["method"], row["weight_bits"]) for row in found["rows"]] == [
        ("minmax", 8), ("minmax", 4), ("mse", 8), ("mse", 4),
    ]  # fmt: skip
    problem = pose(Request())
    photos = choose_pictures(Request(), problem.network)
    pair = photos.evaluation[0]
    assert found["pictures"] == [pair.name]
    reference = psnr_y(to_picture(execute(problem.graph, pair.low)), pair.high, 2)
    assert found["float_db"] == pytest.approx(reference)
    calibration = calibrate(problem.graph, [crop.low for crop in photos.crops], problem.space, method="mse")
    quantized = calibration.quantized(problem.space.uniform(8, 8))
    by_engine = psnr_y(to_picture(integer.run(quantized, pair.low)), pair.high, 2)
    (mse,) = (row for row in found["rows"] if (row["method"], row["weight_bits"]) == ("mse", 8))
    assert mse["quality_db"] == pytest.approx(by_engine, abs=1e-9)
    assert mse["loss_db"] == pytest.approx(reference - by_engine, abs=1e-9)
    assert mse["losses_db"] == [pytest.approx(mse["loss_db"])]
    losses = np.array([row["loss_db"] for row in found["rows"]]).reshape(2, 2)
    assert np.all(losses[:, 1] > losses[:, 0])
    price = ask(capsys, "estimate", "--target", "jetson", "--plan", "w8a8")["predicted"]
    for row in found["rows"]:
        if row["weight_bits"] == 8:
            assert row["latency_s"] == pytest.approx(price["latency_s"])
            assert row["weight_bytes"] == price["weight_bytes"]


def noise(folder: Path, *names: str) -> None:
    """Pictures that are no copies of one another."""
    folder.mkdir(exist_ok=True)
    for name in names:
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (136, 136, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")


def test_pictures_that_the_methods_calibrate_on_judge_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Known by their pixels, whatever they are called and however they are stored."""
    noise(tmp_path / "own", *"abc")
    words = ["methods", "compare", "--method", "minmax", "--bits", "8/8", "--images", str(tmp_path / "own")]
    (seen,) = choose_pictures(Request(images=tmp_path / "own"), pose(Request()).network).calibration
    noise(tmp_path / "others", *"de")
    Image.open(tmp_path / "own" / f"{seen}.png").save(tmp_path / "others" / "x.bmp")
    said = refusal(capsys, 2, *words, "--evaluation", str(tmp_path / "others"))
    assert "1 of the 3 pictures" in said
    assert said.split("calibrate on: ")[1].startswith("x")
    assert "Evaluate on others" in said
    (tmp_path / "others" / "x.bmp").unlink()
    assert ask(capsys, *words, "--evaluation", str(tmp_path / "others"))["pictures"] == ["d", "e"]


def test_one_picture_makes_no_tie(capsys: pytest.CaptureFixture[str]) -> None:
    """A difference of several dB is not called one; that it may be chance is said."""
    words = ("methods", "compare", "--pictures", "1", "--method", "minmax", "--method", "mse", "--bits", "2/8")
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "1 picture that" in said
    assert comparisons.ONE_PICTURE in said
    assert "tie" not in said
    assert main([*words[:2], *words[4:], "--pictures", "3"]) == 0
    assert comparisons.ONE_PICTURE not in capsys.readouterr().out


def test_differences_have_intervals_and_methods_their_run_time_price(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("methods", "compare", "--target", "bitserial-npu", "--pictures", "3", "--scope", "not-first-last", "--bits", "4/8")
    found = ask(capsys, *words, "--method", "minmax", "--method", "mse")
    best, other = sorted(found["rows"], key=lambda row: row["loss_db"])
    assert (best["behind_db"], best["tie"]) == (0, True)
    tested = stats.ttest_rel(other["losses_db"], best["losses_db"]).confidence_interval(0.95)
    assert other["behind_db"] == pytest.approx(np.mean(other["losses_db"]) - np.mean(best["losses_db"]))
    assert other["behind_db"] + other["behind_half_db"] == pytest.approx(tested.high)
    assert other["tie"] == (tested.low <= 0)
    assert best["latency_s"] == other["latency_s"]


def test_widths_may_follow_one_another_behind_one_option(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, 2, "methods", "compare", "--bits", "4/4", "3/3", "2/1")
    assert "2/1" in said


def test_pairs_of_widths() -> None:
    assert read_pairs(["4/4", "2/8", "4/4"]) == [(4, 4), (2, 8)]
    assert read_pairs(["4/4,3/3 2/2", " 2/8 "]) == [(4, 4), (3, 3), (2, 2), (2, 8)]
    for text in ("4", "4/", "1/4", "4/16", "w4a4"):
        with pytest.raises(UsageError, match="--bits"):
            read_pairs([text])


def test_a_folder_of_pictures_may_judge(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("b", "a"):
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    words = ("methods", "compare", "--method", "minmax", "--bits", "8/8", "--evaluation", str(tmp_path))
    found = ask(capsys, *words)
    assert found["pictures"] == ["a", "b"]
    problem = pose(Request())
    pairs = [make_pair(name, load_picture(tmp_path / f"{name}.png"), 2, 1) for name in "ab"]
    reference = np.mean([psnr_y(to_picture(execute(problem.graph, pair.low)), pair.high, 2) for pair in pairs])
    assert found["float_db"] == pytest.approx(reference)
    with pytest.raises(FileError, match="nowhere"):
        compare(Request(), [(8, 8)], ["minmax"], judged_on=tmp_path / "nowhere")
