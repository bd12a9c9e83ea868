"""Agreements: computed by hand, stored and read back, shown in the catalogue, drawn as a page."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from bench.agreement_page import page
from oracle import Row, summary

from hwmodels.device import catalogue
from hwmodels.fitting import agreement
from hwmodels.fitting.agreement import Agreement
from hwsearch.cli.app import main

ROWS = [
    Row("jetson", "gpu", name, f"net {name}", "A lab, bench 3", "latency_s", predicted, 1e-3 * i, (("MACs only", 2e-3 * i),))
    for i, (name, predicted) in enumerate((("a", 1.1e-3), ("b", 1.8e-3), ("c", 3.0e-3), ("d", 2.0e-3)), start=1)
]


def test_errors_and_ranks_by_hand() -> None:
    """Errors 10 %, 10 %, 0 and 50 %; of six pairs of rows only c and d are in the wrong order."""
    (found,) = summary.agreements(ROWS)
    assert (found.device, found.rows, found.left_out) == ("jetson", 4, True)
    assert found.median_error == pytest.approx(0.1)
    assert found.kendall == pytest.approx((5 - 1) / 6, abs=1e-3)
    assert found.baselines == {"MACs only": 1.0}
    assert found.brief == "latency 10.0% (90th percentile 38%, 4 left out in turn), τ 0.67, 4 rows, A lab"


def test_what_the_fit_saw_is_said() -> None:
    (found,) = summary.agreements([replace(row, network="the other half", seen="a sibling") for row in ROWS])
    assert found.how == "the fit saw a sibling"
    assert found.brief.endswith("A lab; the fit saw a sibling")
    (found,) = summary.agreements([replace(row, seen="a sibling") for row in ROWS])
    assert found.how == "each of 4 families left out of the fit, which saw a sibling"
    (found,) = summary.agreements([replace(row, network="") for row in ROWS])
    assert found.how == "nothing fitted"


def test_single_layers_are_told_apart_from_networks() -> None:
    networks, layers = summary.agreements([*ROWS[2:], *(replace(row, single_layer=True) for row in ROWS[:2])])
    assert (networks.rows, networks.single_layers, layers.rows, layers.single_layers) == (2, False, 2, True)
    assert "2 single layers" in layers.brief


def test_shipped_agreements_say_where_only_relatives_were_compared() -> None:
    """No fit that saw the network itself, or a sibling, passes for one of an unseen network."""
    for name in ("jetson-agx-orin", "jetson-agx-orin-dla", "tesla-t4", "esp32-s3", "mcxn947-neutron", "stm32l4r5-cubeai"):
        assert all(entry.seen for entry in agreement.of(name)), name
    for name in ("snapdragon-8gen3-hexagon", "stm32n6-neural-art", "hailo-8"):
        assert not any(entry.seen for entry in agreement.of(name)), name
    for name in ("ethos-u55-128", "ethos-u65-512", "ethos-u85-512"):
        assert [entry.single_layers for entry in agreement.of(name) if entry.quantity == "latency_s"] == [False, False, True], (
            name
        )


def test_two_rows_have_no_rank_correlation() -> None:
    (found,) = summary.agreements(ROWS[:2])
    assert found.kendall is None
    assert "τ" not in found.brief


def test_stored_and_read_back() -> None:
    found = summary.agreements(ROWS)
    assert agreement.parse(agreement.document(found)) == found


def test_shipped_agreements_name_sources_and_rows() -> None:
    shipped = agreement.parse(agreement.FILE.read_text(encoding="utf-8"))
    assert agreement.document(shipped) == agreement.FILE.read_text(encoding="utf-8")
    for entry in shipped:
        assert entry.rows > 0
        assert entry.source
        assert 0 <= entry.median_error <= entry.p90_error
        if entry.device in catalogue.names():
            assert entry.kind == catalogue.load(entry.device).kind


def test_catalogue_says_how_right_each_device_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json"]) == 0
    listed = {entry["name"]: entry["agreement"] for entry in json.loads(capsys.readouterr().out)["devices"]}
    assert listed["snapdragon-8gen3-hexagon"][0]["left_out"] is True
    assert listed["coral-edgetpu"] == []
    assert main(["devices"]) == 0
    text = capsys.readouterr().out
    assert "no measurement" in text
    assert agreement.of("snapdragon-8gen3-hexagon")[0].brief[:20] in text
    assert main(["devices", "show", "coral-edgetpu"]) == 0
    assert "No measurement" in capsys.readouterr().out
    for name, how in (("snapdragon-8gen3-hexagon", "families left out of the fit"), ("tesla-t4", "the fit saw another ResNet")):
        assert main(["devices", "show", name, "--json"]) == 0
        assert how in json.loads(capsys.readouterr().out)["agreement"][0]["how"]
        assert main(["devices", "show", name]) == 0
        shown = capsys.readouterr().out
        assert all(word in shown for word in how.split()), "in a narrow column, a word at a time"


def test_page_is_self_contained_and_speaks_to_everyone() -> None:
    found: list[Agreement] = summary.agreements(ROWS)
    text = page(ROWS, found, [("net e", "its layers are <secret>")])
    assert text == page(ROWS, found, [("net e", "its layers are <secret>")])
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)
    assert "<script" not in text
    assert "<secret>" not in text
    assert 'role="img"' in text
    assert "Scatter of 4 predictions against outside figures" in text
    assert "10.0%" in text
    assert "MACs only" in text


def test_an_interval_holds_what_ninety_percent_of_errors_leave_open() -> None:
    """Figures drawn with errors of a known spread: nine in ten lie between the ends that the 90th percentile gives."""
    rng = np.random.default_rng(0)
    figures = rng.uniform(1e-3, 1e-1, 4000)
    predicted = figures * (1 + rng.uniform(-0.5, 0.5, 4000))
    share = float(np.quantile(np.abs(predicted / figures - 1), 0.9))
    known = agreement.Doubt(share, 0.2, "somebody", 5)
    ends = np.array([known.interval_s(float(value)) for value in predicted])
    assert ((ends[:, 0] <= figures) & (figures <= ends[:, 1])).mean() == pytest.approx(0.9, abs=0.002)
    assert agreement.Doubt(1.2, None, "somebody", 0).interval_s(2.0) == (2.0 / 2.2, float("inf"))


def test_plans_are_told_apart_by_what_is_wrong_between_plans() -> None:
    assert agreement.Doubt(0.5, 0.1, "", 0).tells_apart(1.0, 1.2)
    assert not agreement.Doubt(0.5, 0.3, "", 0).tells_apart(1.2, 1.0)
    assert not agreement.Doubt(0.5, None, "", 0).tells_apart(1.0, 1.4), "without pairs by the error of single latencies"


def test_only_what_was_compared_often_enough_has_an_interval() -> None:
    hexagon = agreement.doubt(catalogue.load("snapdragon-8gen3-hexagon"))
    assert hexagon is not None
    entry = next(one for one in agreement.of("snapdragon-8gen3-hexagon") if one.quantity == "latency_s")
    assert (hexagon.share, hexagon.between_plans, hexagon.groups) == (entry.p90_error, entry.plans_p90, entry.groups)
    arm = agreement.doubt(catalogue.load("ethos-u55-128"))
    assert arm is not None
    networks = next(one for one in agreement.of("ethos-u55-128") if one.quantity == "latency_s" and not one.single_layers)
    assert arm.share == networks.p90_error, "of networks, not of single layers"
    assert "compiler" in arm.source
    assert agreement.doubt(catalogue.load("jetson-orin-nano")) is None, "never compared"
    assert agreement.doubt(catalogue.load("jetson-orin-nx")) is None, "compared once"


def test_what_was_held_against_nothing_may_be_twice_as_long() -> None:
    """A quarter either way of 8 s, and a factor of two of 2 s."""
    low, high = agreement.Doubt(0.25, None, "somebody", 0).interval_s(10.0, 2.0)
    assert (low, high) == (8 / 1.25 + 1, pytest.approx(8 / 0.75 + 4))
