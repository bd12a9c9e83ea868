"""What a device's file has no figure for is not known, anywhere; a latency that nothing was compared with says so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import synthetic_results

from hwmodels import cost
from hwmodels.device import catalogue, reader
from hwmodels.device.device import Device
from hwmodels.errors import UsageError
from hwmodels.fitting import agreement
from hwsearch.cli import main, summary, terminal
from hwsearch.plans import pricing
from hwsearch.problem.pose import pose
from hwsearch.problem.request import Request
from hwsearch.report import html
from hwsearch.search import pareto
from hwsearch.search.exact import exact

SIZE = (24, 32)


def without_energy(name: str) -> str:
    """A shipped device's file without any figure of energy or power."""
    text = re.sub(r"(?m)^aliases = .*$", "", reader.shipped_text(name))
    text = re.sub(r"(?ms)^\[energy[^\n]*\n.*?(?=^\[|\Z)", "", text)
    return re.sub(r"(?m)^(\w+\.)*j_per_byte = .*$", "", text)


@pytest.fixture(params=["stm32h743", "jetson-orin-nano", "ethos-u55-128", "host"])
def board(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    (tmp_path / "board.toml").write_text(without_energy(request.param))
    return str(tmp_path / "board.toml")


def asked(board: str) -> Request:
    return Request(network="fsrcnn", target=board, input_size=SIZE)


def test_energy_without_a_figure_is_not_known(board: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not catalogue.load(board).has_energy
    words = ["estimate", "--network", "fsrcnn", "--target", board, "--input", "24x32"]
    assert pricing.estimate(asked(board), "W8A8").energy_j is None
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predicted"]["energy_j"] is None
    assert main(words) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Energy")]
    assert line == "Energy               not known: the device file has no figure for it"


def test_a_budget_on_it_is_refused_and_others_are_met(board: str) -> None:
    problem = pose(asked(board))
    with pytest.raises(UsageError, match=r"energy on .* is not known"):
        exact.check_feasible([problem.table], problem.space, {"energy": 1.0})
    exact.check_feasible([problem.table], problem.space, {"latency": 1.0})
    assert exact.least_latency_s([problem.table], problem.space, {}) is not None


def test_plans_are_compared_without_it(board: str) -> None:
    table = pose(asked(board)).table
    plans = np.zeros((3, table.decisions), dtype=np.int8)
    prices = cost.estimate(table, plans)
    assert np.isnan(prices.energy_j).all()
    assert len(pareto.front_of(np.array([0.1, 0.2, 0.1]), prices, {})) == 1


@pytest.mark.parametrize("figure", ["[energy]\nstatic_w = 0.2\n", "[energy.j_per_mac]\nW8A8 = 1e-12\n"])
def test_one_figure_makes_it_known(figure: str, tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(f"{without_energy('stm32h743')}\n{figure}")
    found = pricing.estimate(asked(str(tmp_path / "board.toml")), "W8A8").energy_j
    assert found is not None
    assert found > 0


def test_every_shipped_device_keeps_its_energy() -> None:
    without = [name for name in catalogue.names() if not catalogue.load(name).has_energy]
    for name in without:
        assert "j_per" not in reader.shipped_text(name)
        assert "static_w" not in reader.shipped_text(name)


def renamed(name: str, own: str) -> Device:
    text = re.sub(r"(?m)^aliases = .*$", "", reader.shipped_text(name)).replace(f'name = "{name}"', f'name = "{own}"')
    return catalogue.load_text(text, own)


def test_only_the_compared_device_is_compared() -> None:
    assert agreement.compared(catalogue.load("stm32l4r5-cubeai"))
    assert not agreement.compared(renamed("stm32l4r5-cubeai", "my-board"))
    assert not agreement.compared(catalogue.load("adreno-740"))
    edited = re.sub(r"(?m)^default_input = .*$", "default_input = [8, 8]", reader.shipped_text("stm32l4r5-cubeai"))
    assert not agreement.compared(catalogue.load_text(edited, "x"))


def test_a_latency_without_measurement_says_so_where_it_stands_large(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = synthetic_results.results(tmp_path)
    for compared, said in ((False, True), (True, False), (None, False)):
        results = made.model_copy(update={"device": made.device.model_copy(update={"compared": compared})})
        page = html.render(results, tmp_path)
        assert ("no measurement of this device" in page) == said
        summary.render(results, terminal.people())
        assert ("was ever compared with a measurement" in capsys.readouterr().out) == said


def test_the_report_names_an_unknown_energy(tmp_path: Path) -> None:
    made = synthetic_results.results(tmp_path)
    front = [plan.model_copy(update={"predicted": plan.predicted.model_copy(update={"energy_j": None})}) for plan in made.front]
    page = html.render(made.model_copy(update={"front": front}), tmp_path)
    assert "not known" in page
    assert not re.search(r"\d [mµn]J\b", page)
