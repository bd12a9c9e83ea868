"""Scores of simulated plans that any run of this person has measured, kept by content beside the damage tables (``damage_cache``,
under whose key they stand): another device whose widths mean the same, or the same run again, simulates no plan twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hwmodels.errors import FileError
from hwmodels.parts import settings
from hwsearch.documents.bounds import Text
from hwsearch.documents.files import write_json
from hwsearch.documents.reading import checked, read_json
from hwsearch.quality.evaluate import Score
from hwsearch.runs import by_content, damage_cache

if TYPE_CHECKING:
    from hwsearch.problem.pictures import Pictures
    from hwsearch.quality.measurement import Measure
    from searchspaces.space import PlanRow, SearchSpace

KEPT = by_content.Room(files=100)
"""A plan takes some hundred bytes."""
PLANS = 5000
"""Plans of one file that are kept, the newest."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    choices: list[int]
    quality_db: float
    loss_db: float
    stderr_db: float
    method: Text


class _Look(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    choices: list[int]
    losses_db: list[float] = Field(min_length=2)


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1] = 1
    plans: list[_Entry]
    looks: list[_Look] = Field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Scores:
    """What earlier runs have simulated of the plans that a run may draw: ``known``, by plan, and ``looks``, what plans lose on
    the patches of a glance. ``name`` is None where nothing is taken or kept."""

    name: str | None
    known: Mapping[PlanRow, Score]
    looks: Mapping[PlanRow, np.ndarray]

    @classmethod
    def of(cls, measuring: Measure, space: SearchSpace, photos: Pictures, seed: int, *, kept: bool) -> Scores:
        """The scores that ``measuring`` would give plans of ``space``."""
        if not kept:
            return cls(None, {}, {})
        methods = [f"scores by {method}" for method in measuring.methods]
        name = damage_cache.key(measuring.calibration, photos, seed, methods)
        return cls(name, *_load(name, space))

    def keep(self, found: Mapping[PlanRow, Score], looks: Mapping[PlanRow, np.ndarray]) -> None:
        """Keep them for later runs, with what was known."""
        if self.name is not None:
            _save(self.name, {**self.known, **found}, {**self.looks, **looks})


def _load(name: str, space: SearchSpace) -> tuple[dict[PlanRow, Score], dict[PlanRow, np.ndarray]]:
    """The scores and looks of that name, by plan of ``space``; none where there are none, or they cannot be used."""
    place = settings.kept("scores")
    if place is None or not (place / f"{name}.json").is_file():
        return {}, {}
    try:
        path = place / f"{name}.json"
        document = checked(read_json(path, "scores"), _Document, path, "a file of scores", "Remove it.")
    except (FileError, OSError):
        return {}, {}
    scores = {
        space.row(entry.choices): Score(entry.quality_db, entry.loss_db, entry.stderr_db, entry.method)
        for entry in document.plans
        if space.allows(entry.choices)
    }
    looks = {space.row(look.choices): np.array(look.losses_db) for look in document.looks if space.allows(look.choices)}
    return scores, looks


def _save(name: str, scores: Mapping[PlanRow, Score], looks: Mapping[PlanRow, np.ndarray]) -> None:
    """Keep scores, where that is possible, and drop the oldest files. What is not finite is not kept."""
    finite = [
        (plan, score) for plan, score in scores.items() if np.isfinite([score.quality_db, score.loss_db, score.stderr_db]).all()
    ]
    entries = [{"choices": list(plan), **asdict(score)} for plan, score in finite[-PLANS:]]
    seen = [{"choices": list(plan), "losses_db": losses} for plan, losses in looks.items() if np.isfinite(losses).all()]
    document = {"schema_version": 1, "plans": entries, "looks": seen[-PLANS:]}
    by_content.keep(settings.kept("scores"), f"{name}.json", lambda path: write_json(path, document), KEPT)
