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
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hwmodels.errors import FileError
from hwsearch.documents import earlier, reading
from hwsearch.documents.bounds import Number, Text
from hwsearch.quality.evaluate import Score

if TYPE_CHECKING:
    from searchspaces.space import SearchSpace

Measure = Callable[[Sequence[np.ndarray]], Iterable[Score]]
"""Plans ``int8[D]``, all different -> their scores in the same order, each as soon as it is known."""


def read(path: Path, space: SearchSpace | None = None) -> list[tuple[np.ndarray, Score]]:
    """Plans and scores of the log in ``path``, which stays as it is.

    Args:
        space: what the plans are choices in.
    Raises:
        FileError: there is none, a line before the last one is damaged, or a plan is none of ``space``.
    """
    try:
        scores, _ = _parse(path, space)
    except OSError as error:
        raise FileError(f"{path}: {(error.strerror or str(error)).lower()}", "Give the folder of a finished run.") from error
    return _items(scores)


class _Line(BaseModel):
    """One line: choices, score, and the digest of both; lines of earlier versions have none."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    plan: list[Annotated[int, Field(ge=0, le=127)]] = Field(min_length=1)
    score: dict[Text, Number | Text]
    sha256: Text | None = None


def _line(key: tuple[int, ...], score: Mapping[str, object]) -> str:
    told = {"plan": list(key), "score": dict(score)}
    return json.dumps(told | {"sha256": _digest(told)}) + "\n"


def _digest(told: Mapping[str, object]) -> str:
    """Enough of a digest to tell a line that changed on the disk."""
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _parse(path: Path, space: SearchSpace | None) -> tuple[dict[tuple[int, ...], Score], int]:
    """Scores by plan, and how many bytes hold them: a last line that was cut short does not count."""
    scores: dict[tuple[int, ...], Score] = {}
    kept = 0
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("cut short")
            record = reading.parse(line)
            told = reading.checked(record, _Line, path, "a log of evaluations")
            if told.sha256 not in (None, _digest({"plan": record["plan"], "score": record["score"]})):
                raise ValueError("its checksum does not match")
            if space is not None:
                _check(told.plan, space)
            score = earlier.with_method(record["score"])
            scores[tuple(told.plan)] = reading.checked(score, Score, path, "a log of evaluations")
        except (ValueError, FileError) as problem:
            if number < len(lines) - 1:
                reason = problem.message.partition(":\n  - ")[2] if isinstance(problem, FileError) else str(problem)
                raise FileError(
                    f"{path}: line {number + 1} is damaged ({reason})",
                    "Remove the line and go on with `hwsearch optimize --resume`: what it held is measured again.",
                ) from problem
            break
        kept += len(line)
    return scores, kept


def _check(plan: Sequence[int], space: SearchSpace) -> None:
    """Raises ValueError where ``plan`` is none of ``space``."""
    if len(plan) != space.decisions or not all(c < space.allowed.shape[1] and space.allowed[d, c] for d, c in enumerate(plan)):
        raise ValueError("the plan is none of this network on this device")


def _items(scores: Mapping[tuple[int, ...], Score]) -> list[tuple[np.ndarray, Score]]:
    return [(np.array(plan, dtype=np.int8), score) for plan, score in scores.items()]


class EvaluationLog:
    """Measured scores by plan. ``count`` is the number of plans in the log."""

    def __init__(self, path: Path, measure: Measure, space: SearchSpace | None = None) -> None:
        self._path, self._measure, self._space = path, measure, space
        self._scores: dict[tuple[int, ...], Score] = {}
        self._asked: dict[tuple[int, ...], None] = {}
        if path.exists():
            self._read()

    def _read(self) -> None:
        self._scores, kept = _parse(self._path, self._space)
        with self._path.open("r+b") as file:
            file.truncate(kept)

    def items(self) -> list[tuple[np.ndarray, Score]]:
        """Plans and scores in the order in which they were asked for, whatever the file had lost; then what nobody asked for."""
        return _items({key: self._scores[key] for key in dict.fromkeys([*self._asked, *self._scores])})

    def __call__(self, plans: Sequence[np.ndarray]) -> Iterator[Score]:
        """The scores of plan rows in order: from the log, or measured now, together; each is durable before it is given.

        Raises:
            FileError: the log cannot be written (full disk, no permission).
        """
        keys = [tuple(int(c) for c in plan) for plan in plans]
        missing = {key: plan for key, plan in zip(keys, plans, strict=True) if key not in self._scores}
        measured = iter(self._measure(list(missing.values())))
        for key in keys:
            self._asked.setdefault(key)
            if key not in self._scores:
                score = next(measured)
                self._append(key, score)
                self._scores[key] = score
            yield self._scores[key]

    def _append(self, key: tuple[int, ...], score: Score) -> None:
        line = _line(key, asdict(score))
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
