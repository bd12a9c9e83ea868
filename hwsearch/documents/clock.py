"""How long the stages of a run took, over all its legs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from hwsearch.documents import reading
from hwsearch.documents.bounds import Amount, Text
from hwsearch.documents.files import write_json

BEAT_S = 1.0
"""Seconds between two times that a clock is written down: what a killed process may lose."""


class Times(BaseModel):
    """``clock.json``: wall time in seconds, of the run so far and of its stages."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    wall_s: Amount
    stages_s: dict[Text, Amount]


class Clock:
    """Wall time of the stages of a run, in seconds; of earlier legs too, once it is kept in a file."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._before_s, self._done_s = 0.0, dict[str, float]()
        self._running: dict[str, float] = {}
        self._file: Path | None = None
        self._written = -BEAT_S

    @property
    def wall_s(self) -> float:
        return self._before_s + time.monotonic() - self._started

    @property
    def stages_s(self) -> dict[str, float]:
        """Stage -> seconds, the present one as far as it got."""
        now, found = time.monotonic(), dict(self._done_s)
        for name, started in self._running.items():
            found[name] = found.get(name, 0.0) + now - started
        return found

    def keep(self, path: Path) -> None:
        """Go on from what earlier legs left in ``path``, and write the time down there.

        Raises:
            FileError: the file is damaged.
        """
        if path.exists():
            earlier = reading.read(path, Times, "the times of a run", mend=reading.AGAIN)
            self._before_s += earlier.wall_s
            for name, seconds in earlier.stages_s.items():
                self._done_s[name] = self._done_s.get(name, 0.0) + seconds
        self._file = path
        self._write()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        before = self._running[name] = time.monotonic()
        try:
            yield
        finally:
            del self._running[name]
            self._done_s[name] = self._done_s.get(name, 0.0) + time.monotonic() - before
            self._write()

    def beat(self) -> None:
        """Something was done: write the time down, if that was not done a moment ago."""
        if time.monotonic() - self._written >= BEAT_S:
            self._write()

    def _write(self) -> None:
        if self._file is not None:
            write_json(self._file, Times(wall_s=self.wall_s, stages_s=self.stages_s))
            self._written = time.monotonic()
