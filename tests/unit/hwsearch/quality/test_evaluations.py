"""The log of evaluations: durable before the next begins, read back whole, a torn end dropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from hwmodels.errors import FileError
from hwsearch.quality.evaluate import Score
from hwsearch.quality.log import EvaluationLog

PLANS = list(np.array([[0, 1], [1, 0], [1, 1], [0, 0]], dtype=np.int8))


def score(plan: np.ndarray) -> Score:
    return Score(30.0, float(plan @ [1, 2]), 0.1)


def never(plans: Sequence[np.ndarray]) -> Iterator[Score]:
    assert not plans
    return iter(())


def test_each_score_is_on_disk_before_the_next_plan_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "log"
    on_disk: list[int] = []

    def measure(plans: Sequence[np.ndarray]) -> Iterator[Score]:
        for plan in plans:
            on_disk.append(len(path.read_text().splitlines()) if path.exists() else 0)
            yield score(plan)

    assert [s.psnr_loss_db for s in EvaluationLog(path, measure)(PLANS)] == [2.0, 1.0, 3.0, 0.0]
    assert on_disk == [0, 1, 2, 3]


def test_what_is_known_is_not_measured_again(tmp_path: Path) -> None:
    list(EvaluationLog(tmp_path / "log", lambda plans: map(score, plans))(PLANS[:3]))
    asked: list[tuple[int, ...]] = []

    def measure(plans: Sequence[np.ndarray]) -> Iterator[Score]:
        asked.extend(tuple(map(int, plan)) for plan in plans)
        return map(score, plans)

    log = EvaluationLog(tmp_path / "log", measure)
    wanted = [PLANS[3], PLANS[1], PLANS[3], PLANS[0]]
    assert list(log(wanted)) == [score(plan) for plan in wanted]
    assert asked == [(0, 0)]
    assert list(EvaluationLog(tmp_path / "log", never)(PLANS)) == [score(plan) for plan in PLANS]


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_torn_last_line_is_dropped_and_only_its_plan_measured_again(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "log"
    list(EvaluationLog(path, lambda plans: map(score, plans))(PLANS))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:kept])
    list(EvaluationLog(path, lambda plans: map(score, plans))(PLANS))
    assert path.read_bytes() == whole


def test_damage_before_the_end_is_reported_and_nothing_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    list(EvaluationLog(path, lambda plans: map(score, plans))(PLANS))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"rubbish\n", *lines[2:]]))
    with pytest.raises(FileError, match="line 2"):
        EvaluationLog(path, never)
    assert path.read_bytes().count(b"\n") == 4
