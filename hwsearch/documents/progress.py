"""How far long work has come: stages with steps, the time left in a stage and in the whole run.

Whoever works says ``with progress.stage("calibrating", 16) as stage: stage.advance()``; who watches decides what is seen: nothing
(``Silent``), one line a stage (``Lines``, for logs), or a live display (``Live``, for terminals). Everything goes to stderr.

Time left in a stage is its mean time a step times the steps left. Stages that have not begun count with the seconds announced by
``expect``, corrected by how the finished stages kept to theirs; without an announcement no time is given for the whole run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

Now = Callable[[], float]
STEPS = 100
"""Steps of a stage whose work reports the share that is done."""


class Stage(Protocol):
    """Work in progress."""

    def advance(self, steps: int = 1) -> None:
        """Say that ``steps`` more are done."""
        ...


class Progress(Protocol):
    """Somebody who watches."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Stage]:
        """Begin a stage of ``total`` steps; leaving the block ends it."""
        ...

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Announce the stages to come, by name, and about how many seconds each takes."""
        ...

    def say(self, text: str) -> None:
        """Tell a person something between two stages."""
        ...


class Schedule:
    """Where a run stands; arithmetic only.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Now = time.monotonic) -> None:
        self._clock = clock
        self._expected: dict[str, float] = {}
        self._taken: dict[str, float] = {}
        self._name, self._began_s = "", clock()
        self.total, self.done = 0, 0

    def expect(self, seconds: Mapping[str, float]) -> None:
        self._expected.update(seconds)

    def begin(self, name: str, total: int) -> None:
        self._name, self._began_s = name, self._clock()
        self.total, self.done = total, 0

    def advance(self, steps: int) -> None:
        self.done = min(self.done + steps, max(self.total, self.done))

    def end(self) -> None:
        self._taken[self._name] = self._taken.get(self._name, 0.0) + self.stage_s
        self._name = ""

    @property
    def stage_s(self) -> float:
        """Seconds since the stage began."""
        return self._clock() - self._began_s

    @property
    def stage_left_s(self) -> float | None:
        """Seconds left in this stage; ``None`` as long as nothing tells."""
        if self.done:
            return self.stage_s / self.done * (self.total - self.done)
        if self._name in self._expected:
            return max(self._expected[self._name] * self._pace - self.stage_s, 0.0)
        return None

    @property
    def run_left_s(self) -> float | None:
        """Seconds left in the whole run; ``None`` when nothing was announced."""
        if not self._expected:
            return None
        ahead = [s for name, s in self._expected.items() if name not in self._taken and name != self._name]
        return (self.stage_left_s or 0.0) + sum(ahead) * self._pace

    @property
    def _pace(self) -> float:
        """Seconds taken by the finished stages over the seconds announced for them."""
        finished = [name for name in self._expected if name in self._taken]
        announced = sum(self._expected[name] for name in finished)
        return sum(self._taken[name] for name in finished) / announced if announced > 0 else 1.0


def clock_text(seconds: float | None) -> str:
    """Time left for a display: ``0:07``, ``1:05:00``; ``-:--`` when it is not known."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class _Ignore:
    def advance(self, steps: int = 1) -> None:
        return


class Silent:
    """Nobody watches."""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Stage]:
        yield _Ignore()

    def expect(self, seconds: Mapping[str, float]) -> None:
        return

    def say(self, text: str) -> None:
        return


class _Counted:
    def __init__(self, schedule: Schedule, changed: Callable[[], None]) -> None:
        self._schedule, self._changed = schedule, changed

    def advance(self, steps: int = 1) -> None:
        self._schedule.advance(steps)
        self._changed()


class Lines:
    """One line for each finished stage, for logs and pipes."""

    def __init__(self, stream: IO[str] | None = None, clock: Now = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._schedule = Schedule(clock)

    def expect(self, seconds: Mapping[str, float]) -> None:
        self._schedule.expect(seconds)

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Stage]:
        self._schedule.begin(name, total)
        how = "stopped"
        try:
            yield _Counted(self._schedule, lambda: None)
            how = "done"
        finally:
            schedule = self._schedule
            where = f" at {100 * schedule.done // schedule.total} %" if how == "stopped" and schedule.total else ""
            print(f"{name}: {how}{where}, {schedule.stage_s:.1f} s", file=self._stream, flush=True)
            schedule.end()


class Live:
    """A bar for the stage at work, with the time left in it and in the run. Finished stages stay above it. A context manager."""

    def __init__(self, clock: Now = time.monotonic) -> None:
        self._schedule = Schedule(clock)
        self._bars: RichProgress | None = None

    def expect(self, seconds: Mapping[str, float]) -> None:
        self._schedule.expect(seconds)

    def say(self, text: str) -> None:
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False)

    def __enter__(self) -> Live:
        from rich.console import Console
        from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TaskProgressColumn, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column
        from rich.text import Text

        live = self

        class Times(ProgressColumn):
            """Time left while a stage is at work, time taken afterwards."""

            def render(self, task: Task) -> Text:
                if task.stop_time is None:
                    return Text(live._left(), style="cyan")
                return Text(clock_text(task.elapsed), style="dim")

        self._bars = RichProgress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            Times(table_column=Column(no_wrap=True, min_width=23)),
            console=Console(stderr=True),
            get_time=time.monotonic,
            expand=True,
        )
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Stage]:
        bars, schedule = self._bars, self._schedule
        if bars is None:
            raise RuntimeError("a live display is used inside its with block")
        schedule.begin(name, total)
        task = bars.add_task(name, total=total)
        try:
            yield _Counted(schedule, lambda: bars.update(task, completed=schedule.done))
            bars.update(task, completed=total)
        finally:
            bars.stop_task(task)
            schedule.end()

    def _left(self) -> str:
        stage, run = self._schedule.stage_left_s, self._schedule.run_left_s
        if run is not None:
            return f"{clock_text(stage)} left, {clock_text(run)} in all"
        return "" if stage is None else f"{clock_text(stage)} left"


@contextmanager
def shown(quiet: bool) -> Iterator[Progress]:
    """The progress display that fits stderr: live on a terminal, lines elsewhere, nothing when ``quiet``."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty():
        with Live() as live:
            yield live
    else:
        yield Lines()


def follow(stage: Stage, total: int) -> Callable[[str, float], None]:
    """A callback ``(what is being done, share of the work that is done)`` that advances a stage of ``total`` steps."""
    done = 0

    def report(what: str, share: float) -> None:
        nonlocal done
        steps = round(min(max(share, 0.0), 1.0) * total) - done
        if steps > 0:
            done += steps
            stage.advance(steps)

    return report


def split(report: Callable[[str, float], None], parts: int) -> list[Callable[[str, float], None]]:
    """Callbacks for equal parts of the work that ``report``, as ``follow`` makes it, is told of."""

    def of(place: int) -> Callable[[str, float], None]:
        return lambda what, share: report(what, (place + share) / parts)

    return [of(place) for place in range(parts)]
