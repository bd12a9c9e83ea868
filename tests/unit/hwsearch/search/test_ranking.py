"""The comparison of proxies: its arithmetic, and the command from end to end on a small network."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from hwsearch.cli.app import app, main
from hwsearch.quality.proxies import PROXIES
from hwsearch.search import correlation, ranking

MODULE = """
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1), nn.PixelShuffle(2)]
    return nn.Sequential(*layers)
"""


def test_kendall_counts_pairs():
    rng = np.random.default_rng(0)
    predicted, measured = rng.integers(0, 8, 30).astype(float), rng.integers(0, 8, 30).astype(float)
    signs = [
        (np.sign(predicted[i] - predicted[j]), np.sign(measured[i] - measured[j]))
        for i, j in itertools.combinations(range(30), 2)
    ]
    untied = [sum(sign[k] != 0 for sign in signs) for k in (0, 1)]
    expected = sum(a * b for a, b in signs) / np.sqrt(untied[0] * untied[1])
    assert correlation.kendall(predicted, measured) == pytest.approx(expected)
    assert correlation.kendall(np.ones(5), np.arange(5.0)) == 0


def test_top_found_is_the_overlap_of_the_best():
    measured = np.arange(20.0)
    assert correlation.top_found(measured * 3, measured, 0.1) == 1
    swapped = measured.copy()
    swapped[[1, 10]] = swapped[[10, 1]]
    assert correlation.top_found(swapped, measured, 0.1) == 0.5
    assert correlation.top_found(-measured, measured, 0.1) == 0


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranking")
    (folder / "net.py").write_text(MODULE)
    out = folder / "ranking.json"
    model = f"{folder / 'net.py'}:build"
    words = ["proxies", "compare", "--model", model, "--scale", "2", "--probes", "30", "--out", str(out)]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    return words, found.output, json.loads(out.read_text())


def test_the_command_compares_every_proxy(compared):
    _, shown, document = compared
    assert {proxy["name"] for proxy in document["proxies"]} == set(PROXIES)
    assert len(document["plans"]) == len(document["simulated_db"]) == 30
    for proxy in document["proxies"]:
        assert proxy["name"] in shown
        predicted, measured = np.array(proxy["predicted_db"]), np.array(document["simulated_db"])
        assert proxy["error_db"] == pytest.approx(np.median(np.abs(predicted - measured)))
        assert proxy["forward_passes"] > 0
        assert proxy["cpu_s"] > 0
    low, high = np.percentile(document["simulated_db"], (5, 95))
    assert document["loss_range_db"] == pytest.approx([low, high])
    assert f"Nine of ten plans lose between {low:.2f} and {high:.2f} dB" in shown
    best = document["proxies"][0]
    assert best["spearman"] == max(proxy["spearman"] for proxy in document["proxies"])


def test_what_was_done_to_the_network_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ranking, "PROXIES", {"sqnr": PROXIES["sqnr"]})
    words = ["proxies", "compare", "--network", "fsrcnn", "--branches", "mid_part.2=2", "--probes", "10", "--quiet"]
    assert main([*words, "--out", str(tmp_path / "found.json")]) == 0
    assert json.loads((tmp_path / "found.json").read_text())["branches"] == {"mid_part.2": 2}
    assert "fsrcnn x2 with low-rank branches (mid_part.2=2)" in " ".join(capsys.readouterr().out.split())


def test_the_same_seed_compares_alike(compared, capsys):
    words, _, document = compared
    assert main([*words[:-2], "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["simulated_db"] == document["simulated_db"]
    for before, after in zip(document["proxies"], again["proxies"], strict=True):
        assert before["predicted_db"] == after["predicted_db"]
        assert before["calibrated_db"] == after["calibrated_db"]


def test_the_list_stays_what_it_was(capsys):
    assert main(["proxies", "--json"]) == 0
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)["proxies"]] == list(PROXIES)


def test_plans_drawn_freely_have_every_width_by_itself(compared, capsys):
    words, _, document = compared
    assert main([*words[:-2], "--draw", "free", "--json"]) == 0
    free = json.loads(capsys.readouterr().out)
    assert free["draw"] == "free"
    # A quarter each by chance; with plans near the widest among them, the narrowest is not the most frequent.
    shares = [np.bincount(np.array(found["plans"]).ravel(), minlength=4) / np.size(found["plans"]) for found in (document, free)]
    assert np.abs(shares[1] - 0.25).max() < 0.1
    assert shares[0].argmax() != 0
    assert main([*words[:-2], "--draw", "evenly"]) == 2
    assert "Known: mixed, free." in capsys.readouterr().err
