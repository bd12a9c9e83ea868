"""``hwsearch allocators``: what is listed, and a comparison with the exact solver whose numbers are checked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hwmodels import cost
from hwsearch.cli import main
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from hwsearch.search.allocate import ALLOCATORS

FEW = ("--target", "bitserial-npu", "--input", "64x64", "--weight-bits", "2,4,8", "--activation-bits", "8")


def ask(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict:
    assert main([*words, "--json", "--quiet"]) == code
    return json.loads(capsys.readouterr().out)


def test_every_rule_is_listed_with_what_is_reconstructed(capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(capsys, "allocators")["allocators"]
    assert [entry["name"] for entry in found] == list(ALLOCATORS)
    assert all(entry["source"] and entry["summary"] for entry in found)
    assert next(entry for entry in found if entry["name"] == "snr_threshold")["reconstructed"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Two rules beside the exact solver, with 8 bits among the widths."""
    out = tmp_path_factory.mktemp("compared") / "found.json"
    rules = ("--allocator", "snr_threshold", "--allocator", "water_filling")
    assert main(["allocators", "compare", *FEW, "--budget", "weights=9KiB", *rules, "--quiet", "--out", str(out)]) == 0
    return json.loads(out.read_text())


def test_the_exact_plan_costs_no_more_and_promises_no_less(compared: dict) -> None:
    problem = pose(Request(target="bitserial-npu", input_size=(64, 64), weight_bits=(2, 4, 8), activation_bits=(8,)))
    for row in compared["rows"]:
        rule, exact = row["rule"], row["exact"]
        assert exact["weight_bytes"] <= rule["weight_bytes"] <= 9 * 1024
        assert exact["predicted_db"] <= rule["predicted_db"] + 1e-9
        plan = problem.space.plan(rule["weight_bits"], rule["activation_bits"])
        assert rule["weight_bytes"] == cost.estimate(problem.table, plan).weight_bytes[0]
        counts = problem.space.counting.weights
        mean = float(np.dot(list(rule["weight_bits"].values()), counts) / counts.sum())
        assert rule["mean_weight_bits"] == pytest.approx(mean)
        assert rule["weights_than_fp32"] == pytest.approx(4 * rule["weights_than_int8"])
        assert 0 < rule["second"] <= 1  # SSIM
        gains = np.subtract(rule["losses_db"], exact["losses_db"])
        assert row["gain_db"] == pytest.approx(gains.mean())
        assert row["tie"] == (abs(row["gain_db"]) <= row["gain_half_db"])


def test_a_second_method_is_not_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("allocators", "compare", *FEW, "--method", "mse", "--method", "gptq")
    assert "by one quantization method" in ask(capsys, *words, code=2)["error"]["message"]


def test_eight_bits_stand_beside_the_rules_where_they_are_offered(compared: dict) -> None:
    eight = compared["eight_bits"]
    assert set(eight["weight_bits"].values()) == set(eight["activation_bits"].values()) == {8}
    assert (eight["weights_than_int8"], eight["tensors_than_int8"], eight["weights_than_fp32"]) == (1, 1, 4)


def test_without_eight_bits_and_with_branches(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What was done to the network is said, and nothing stands beside the rules that was not offered."""
    narrow = (*FEW[:4], "--weight-bits", "2,4", "--activation-bits", "8", "--budget", "loss=3dB")
    words = ["allocators", "compare", *narrow, "--allocator", "snr_threshold", "--branches", "mid_part.2=2"]
    assert main([*words, "--quiet", "--out", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["branches"], found["eight_bits"]) == ({"mid_part.2": 2}, None)
    said = " ".join(capsys.readouterr().out.split())
    assert "with low-rank branches (mid_part.2=2) on bitserial-npu for 64x64 pixels" in said


def test_bit_gradients_can_be_fed_to_the_exact_solver(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--budget", "weights=9KiB", "--allocator", "gradient_rank", "--proxy", "bit_gradient")
    found = ask(capsys, "allocators", "compare", *FEW, *words)
    (row,) = found["rows"]
    assert found["proxy"] == "bit_gradient"
    assert row["exact"]["weight_bytes"] <= row["rule"]["weight_bytes"]
    assert row["exact"]["predicted_db"] <= row["rule"]["predicted_db"] + 1e-9


def test_mistakes_are_answered(capsys: pytest.CaptureFixture[str]) -> None:
    both = ask(capsys, "allocators", "compare", *FEW, "--budget", "weights=9KiB", "--budget", "loss=0.3dB", code=2)
    assert "one kind of budget" in both["error"]["hint"]
    assert "proxy" in ask(capsys, "allocators", "compare", *FEW, "--proxy", "nearest", code=2)["error"]["message"]
    assert "--cost" in ask(capsys, "allocators", "compare", *FEW, "--cost", "speed", code=2)["error"]["message"]
    assert "weights" in ask(capsys, "allocators", "compare", *FEW, "--budget", "weights=1KiB", code=4)["error"]["message"]
