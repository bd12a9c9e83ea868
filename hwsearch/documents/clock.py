"""How long the stages of a run took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Wall time of the stages of a run, in seconds."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.stages_s: dict[str, float] = {}

    @property
    def wall_s(self) -> float:
        return time.monotonic() - self.started

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        before = time.monotonic()
        try:
            yield
        finally:
            self.stages_s[name] = self.stages_s.get(name, 0.0) + time.monotonic() - before
