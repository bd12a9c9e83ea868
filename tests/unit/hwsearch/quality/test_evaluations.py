"""The log of evaluations: durable before the next begins, read back whole, a torn end dropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from random_tables import space_of

from hwmodels.errors import FileError
from hwsearch.quality.evaluate import Score
from hwsearch.quality.log import EvaluationLog
from searchspaces.space import PlanRow

SPACE = space_of(1, 1, (4, 8), (8, 16))
PLANS = [SPACE.row(choices) for choices in ([0, 1], [1, 0], [1, 1], [0, 0])]


def score(plan: PlanRow) -> Score:
    return Score(30.0, plan[0] + 2.0 * plan[1], 0.1)


def never(plans: Sequence[PlanRow]) -> Iterator[Score]:
    assert not plans
    return iter(())


def test_each_score_is_on_disk_before_the_next_plan_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "log"
    on_disk: list[int] = []

    def measure(plans: Sequence[PlanRow]) -> Iterator[Score]:
        for plan in plans:
            on_disk.append(len(path.read_text().splitlines()) if path.exists() else 0)
            yield score(plan)

    assert [s.loss_db for s in EvaluationLog(path, measure, SPACE)(PLANS)] == [2.0, 1.0, 3.0, 0.0]
    assert on_disk == [0, 1, 2, 3]


def test_what_is_known_is_not_measured_again(tmp_path: Path) -> None:
    list(EvaluationLog(tmp_path / "log", lambda plans: map(score, plans), SPACE)(PLANS[:3]))
    asked: list[PlanRow] = []

    def measure(plans: Sequence[PlanRow]) -> Iterator[Score]:
        asked.extend(plans)
        return map(score, plans)

    log = EvaluationLog(tmp_path / "log", measure, SPACE)
    wanted = [PLANS[3], PLANS[1], PLANS[3], PLANS[0]]
    assert list(log(wanted)) == [score(plan) for plan in wanted]
    assert asked == [PLANS[3]]
    assert list(EvaluationLog(tmp_path / "log", never, SPACE)(PLANS)) == [score(plan) for plan in PLANS]


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_torn_last_line_is_dropped_and_only_its_plan_measured_again(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "log"
    list(EvaluationLog(path, lambda plans: map(score, plans), SPACE)(PLANS))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:kept])
    list(EvaluationLog(path, lambda plans: map(score, plans), SPACE)(PLANS))
    assert path.read_bytes() == whole


def test_damage_before_the_end_is_reported_and_nothing_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    list(EvaluationLog(path, lambda plans: map(score, plans), SPACE)(PLANS))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"rubbish\n", *lines[2:]]))
    with pytest.raises(FileError, match="line 2"):
        EvaluationLog(path, never, SPACE)
    assert path.read_bytes().count(b"\n") == 4
