"""The log of finished evaluations: one JSON line a plan, on disk before the next evaluation begins.

Whatever is measured on the search pictures is measured once: probes of the proxies and proposals of the search share this log,
and a resumed run reads it back. Every line has a checksum; a last line that a crash cut short is dropped. Whoever measures,
this process alone or all that share a study (see ``coordinator``), the log has the order in which plans were asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hwmodels.errors import FileError
from hwsearch.documents import earlier, reading
from hwsearch.documents.bounds import Number, Text
from hwsearch.quality.evaluate import Score
from searchspaces.space import PlanRow, SearchSpace, distinct

Measurer = Callable[[Sequence[PlanRow]], Iterable[Score]]
"""Plans, all different -> their scores in the same order, each as soon as it is known."""


def read(path: Path, space: SearchSpace) -> dict[PlanRow, Score]:
    """Plans of ``space`` and their scores, as the log in ``path`` has them; it stays as it is.

    Raises:
        FileError: there is none, a line before the last one is damaged, or a plan is none of ``space``.
    """
    try:
        scores, _ = _parse(path, space)
    except OSError as error:
        raise FileError(f"{path}: {(error.strerror or str(error)).lower()}", "Give the folder of a finished run.") from error
    return scores


class _Line(BaseModel):
    """One line: choices, score, and the digest of both; lines of earlier versions have none."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    plan: list[Annotated[int, Field(ge=0, le=127)]] = Field(min_length=1)
    score: dict[Text, Number | Text]
    sha256: Text | None = None


def _line(plan: PlanRow, score: Mapping[str, object]) -> str:
    told = {"plan": list(plan), "score": dict(score)}
    return json.dumps(told | {"sha256": _digest(told)}) + "\n"


def _digest(told: Mapping[str, object]) -> str:
    """Enough of a digest to tell a line that changed on the disk."""
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _parse(path: Path, space: SearchSpace) -> tuple[dict[PlanRow, Score], int]:
    """Scores by plan, and how many bytes hold them: a last line that was cut short does not count."""
    scores: dict[PlanRow, Score] = {}

    def read(line: bytes) -> None:
        record = reading.parse(line)
        told = reading.checked(record, _Line, path, "a log of evaluations")
        if told.sha256 not in (None, _digest({"plan": record["plan"], "score": record["score"]})):
            raise ValueError("its checksum does not match")
        if not space.allows(told.plan):
            raise ValueError("the plan is none of this network on this device")
        score = earlier.with_quality(earlier.with_method(record["score"]))
        scores[space.row(told.plan)] = reading.checked(score, Score, path, "a log of evaluations")

    advice = "Remove the line and go on with `hwsearch optimize --resume`: what it held is measured again."
    return scores, reading.whole_lines(path, read, advice)


class EvaluationLog:
    """Measured scores by plan, of one space."""

    def __init__(self, path: Path, measure: Measurer, space: SearchSpace, written: Callable[[], None] | None = None) -> None:
        """``written`` is called whenever a score has become durable."""
        self._path, self._measure, self._space, self._written = path, measure, space, written
        self._scores: dict[PlanRow, Score] = {}
        self._asked: dict[PlanRow, None] = {}
        if path.exists():
            self._read()

    def _read(self) -> None:
        self._scores, kept = _parse(self._path, self._space)
        with self._path.open("r+b") as file:
            file.truncate(kept)

    def scores(self) -> dict[PlanRow, Score]:
        """Plans and scores in the order in which they were asked for, whatever the file had lost; then what nobody asked for."""
        return {plan: self._scores[plan] for plan in dict.fromkeys([*self._asked, *self._scores])}

    def __call__(self, plans: Sequence[PlanRow]) -> Iterator[Score]:
        """The scores of plans in order: from the log, or measured now, together; each is durable before it is given.

        Raises:
            FileError: the log cannot be written (full disk, no permission).
        """
        missing = [plan for plan in distinct(plans) if plan not in self._scores]
        measured = iter(self._measure(missing))
        for plan in plans:
            self._asked.setdefault(plan)
            if plan not in self._scores:
                score = next(measured)
                self._append(plan, score)
                self._scores[plan] = score
                if self._written is not None:
                    self._written()
            yield self._scores[plan]

    def _append(self, plan: PlanRow, score: Score) -> None:
        line = _line(plan, asdict(score))
        try:
            with self._path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as problem:
            raise FileError(
                f"{self._path}: cannot be written ({problem.strerror})",
                "Free some space or choose another directory with --out; finished evaluations are kept, continue with --resume.",
            ) from problem
