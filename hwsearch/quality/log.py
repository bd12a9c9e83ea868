"""The log of finished evaluations: one JSON line a plan, on disk before the next evaluation begins.

Whatever is measured on the search pictures is measured once: probes of the proxies and proposals of the search share this log,
and a resumed run reads it back. A last line that a crash cut short is dropped. Whoever measures, this process alone or all that
share a study (see ``coordinator``), the log has the order in which plans were asked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from hwmodels.errors import FileError
from hwsearch.documents import earlier
from hwsearch.quality.evaluate import Score

Measure = Callable[[Sequence[np.ndarray]], Iterable[Score]]
"""Plans ``int8[D]``, all different -> their scores in the same order, each as soon as it is known."""


def read(path: Path) -> list[tuple[np.ndarray, Score]]:
    """Plans and scores of the log in ``path``, which stays as it is.

    Raises:
        FileError: there is none, or a line before the last one is damaged.
    """
    try:
        scores, _ = _parse(path)
    except OSError as error:
        raise FileError(f"{path}: {(error.strerror or str(error)).lower()}", "Give the folder of a finished run.") from error
    return _items(scores)


def _parse(path: Path) -> tuple[dict[tuple[int, ...], Score], int]:
    """Scores by plan, and how many bytes hold them: a last line that was cut short does not count."""
    scores: dict[tuple[int, ...], Score] = {}
    kept = 0
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("cut short")
            record = json.loads(line)
            scores[tuple(record["plan"])] = Score(**earlier.with_method(record["score"]))
        except (ValueError, KeyError, TypeError) as problem:
            if number < len(lines) - 1:
                raise FileError(
                    f"{path}: line {number + 1} is damaged ({problem})",
                    "Remove the line, or start a new run; the other evaluations are intact.",
                ) from problem
            break
        kept += len(line)
    return scores, kept


def _items(scores: Mapping[tuple[int, ...], Score]) -> list[tuple[np.ndarray, Score]]:
    return [(np.array(plan, dtype=np.int8), score) for plan, score in scores.items()]


class EvaluationLog:
    """Measured scores by plan. ``count`` is the number of plans in the log."""

    def __init__(self, path: Path, measure: Measure) -> None:
        self._path, self._measure = path, measure
        self._scores: dict[tuple[int, ...], Score] = {}
        if path.exists():
            self._read()

    def _read(self) -> None:
        self._scores, kept = _parse(self._path)
        with self._path.open("r+b") as file:
            file.truncate(kept)

    def items(self) -> list[tuple[np.ndarray, Score]]:
        return _items(self._scores)

    def __call__(self, plans: Sequence[np.ndarray]) -> Iterator[Score]:
        """The scores of plan rows in order: from the log, or measured now, together; each is durable before it is given.

        Raises:
            FileError: the log cannot be written (full disk, no permission).
        """
        keys = [tuple(int(c) for c in plan) for plan in plans]
        missing = {key: plan for key, plan in zip(keys, plans, strict=True) if key not in self._scores}
        measured = iter(self._measure(list(missing.values())))
        for key in keys:
            if key not in self._scores:
                score = next(measured)
                self._append(key, score)
                self._scores[key] = score
            yield self._scores[key]

    def _append(self, key: tuple[int, ...], score: Score) -> None:
        line = json.dumps({"plan": list(key), "score": score.__dict__}) + "\n"
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
