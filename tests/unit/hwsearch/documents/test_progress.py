"""Progress: the arithmetic of the time left, and what each display writes."""

from __future__ import annotations

import io

import pytest

from hwsearch.documents.progress import Lines, Live, Schedule, Silent, Stage, clock_text, follow


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_left_in_a_stage_is_the_pace_so_far_times_the_rest() -> None:
    clock = Hand()
    schedule = Schedule(clock)
    schedule.begin("search", 10)
    assert schedule.stage_left_s is None
    clock.now += 6
    schedule.advance(3)
    assert schedule.stage_left_s == pytest.approx(14)
    assert schedule.run_left_s is None


def test_time_left_in_the_run_counts_later_stages_at_the_pace_of_the_finished_ones() -> None:
    clock = Hand()
    schedule = Schedule(clock)
    schedule.expect({"a": 10, "b": 20, "c": 5})
    schedule.begin("a", 1)
    assert schedule.run_left_s == pytest.approx(35)
    clock.now += 20
    schedule.end()  # took twice as long as announced
    schedule.begin("b", 4)
    assert schedule.run_left_s == pytest.approx(2 * (20 + 5))
    clock.now += 10
    schedule.advance(1)
    assert schedule.run_left_s == pytest.approx(30 + 2 * 5)


@pytest.mark.parametrize(("seconds", "text"), [(None, "-:--"), (7.2, "0:07"), (65, "1:05"), (3661, "1:01:01")])
def test_clock_text(seconds: float | None, text: str) -> None:
    assert clock_text(seconds) == text


def test_lines_are_one_for_each_stage() -> None:
    stream, clock = io.StringIO(), Hand()
    lines = Lines(stream, clock)
    with lines.stage("calibrating", 3) as stage:
        clock.now += 1.5
        stage.advance(2)
        stage.advance()
    with pytest.raises(KeyboardInterrupt), lines.stage("searching", 9) as stage:
        _stop_after_one(stage)
    assert stream.getvalue() == "calibrating: done, 1.5 s\nsearching: stopped at 11 %, 0.0 s\n"


def test_live_writes_to_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    with Live() as live:
        live.expect({"searching": 3.0})
        with live.stage("searching", 2) as stage:
            stage.advance(2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "searching" in err
    assert "100%" in err


def test_silent_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Silent().stage("searching", 2) as stage:
        stage.advance()
    assert capsys.readouterr() == ("", "")


def test_shares_become_steps_that_only_go_forward() -> None:
    taken: list[int] = []

    class Counting:
        def advance(self, steps: int = 1) -> None:
            taken.append(steps)

    report = follow(Counting(), 10)
    for share in (0.0, 0.04, 0.31, 0.2, 0.31, 0.99, 1.0, 1.7):
        report("working", share)
    assert taken == [3, 7]


def _stop_after_one(stage: Stage) -> None:
    stage.advance()
    raise KeyboardInterrupt
