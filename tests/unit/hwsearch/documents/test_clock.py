"""The time of a run: stages and legs add up, and what a killed process leaves behind counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwmodels.errors import FileError
from hwsearch.documents import clock
from hwsearch.documents.clock import Clock
from hwsearch.documents.results import ProxyCheck


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that clocks see: its only entry."""
    time = [100.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: time[0])
    return time


def test_legs_add_up(now: list[float], tmp_path: Path) -> None:
    file = tmp_path / "clock.json"
    first = Clock()
    with first.stage("prepare"):
        now[0] += 2
    first.keep(file)
    with first.stage("search"):
        now[0] += 5
    now[0] = 5000.0  # another process, long after
    second = Clock()
    with second.stage("prepare"):
        now[0] += 3
    second.keep(file)
    with second.stage("search"):
        now[0] += 1
    assert second.wall_s == 2 + 5 + 3 + 1
    assert second.stages_s == {"prepare": 5, "search": 6}


def test_what_a_killed_process_wrote_down_counts(now: list[float], tmp_path: Path) -> None:
    file = tmp_path / "clock.json"
    killed = Clock()
    killed.keep(file)
    stage = killed.stage("search")
    stage.__enter__()
    for _ in range(20):
        now[0] += 0.3
        killed.beat()
    # Written at 1.2, 2.4, 3.6, 4.8 and 6.0 s: nothing more than BEAT_S and a step is lost.
    assert json.loads(file.read_text()) == {"wall_s": pytest.approx(6.0), "stages_s": {"search": pytest.approx(6.0)}}
    again = Clock()
    again.keep(file)
    assert again.wall_s == pytest.approx(6.0)
    now[0] += 1
    assert again.wall_s == pytest.approx(7.0)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "clock.json").write_text('{"wall_s": -1, "stages_s": {}}')
    with pytest.raises(FileError, match="wall_s"):
        Clock().keep(tmp_path / "clock.json")


def test_losses_that_were_simulated_are_read_under_their_old_name() -> None:
    old = {"name": "fisher", "spearman": 0.9, "seconds": 1.0, "predicted_db": [0.1], "measured_db": [0.2]}
    assert ProxyCheck.model_validate(old).simulated_db == [0.2]
