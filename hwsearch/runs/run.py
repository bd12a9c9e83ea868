"""A run directory, read: every document once, when it is first asked for, and checked.

Whoever asks something of a run asks it here: the request, the results, the damage tables, what was simulated, and the one
prediction of the loss of any plan. A run may be somebody else's, so nothing in it is executed: where the network is a file of
code, that file is named again by whoever asks (``model``). What stands in a run is read in it, never through a link out of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hwmodels.errors import FileError
from hwsearch.documents import reading
from hwsearch.documents.configuration import Configuration, Leg, Legs
from hwsearch.documents.results import Results
from hwsearch.quality import chosen_proxy
from hwsearch.runs import on_disk
from hwsearch.runs.interrupted import resume_command
from hwsearch.runs.on_disk import DAMAGE, EVALUATIONS, LEGS, PLANS, RESULTS, RUN
from searchspaces.networks import own_code

if TYPE_CHECKING:
    from hwsearch.problem.pictures import Pictures
    from hwsearch.problem.pose import Problem
    from hwsearch.problem.request import Request
    from hwsearch.quality.damage import Damage
    from hwsearch.quality.evaluate import Score
    from hwsearch.search.predict.interactions import Prediction
    from searchspaces.space import PlanRow, SearchSpace


class Run:
    """The run in a folder.

    Args:
        model: the file of code that is the run's network (``FILE:CALLABLE``), named by the person who asks; it is executed.
    """

    def __init__(self, path: Path, model: str | None = None) -> None:
        self.path, self._model = path.absolute(), model
        self._damages: dict[SearchSpace, dict[str, Damage]] = {}
        self._evaluations: dict[SearchSpace, dict[PlanRow, Score]] = {}

    @classmethod
    def of_plan(cls, plan: Path, model: str | None = None) -> Run | None:
        """The run that the file ``plan`` stands in, as ``RUN/plans/NAME.json``; None where it stands alone."""
        folder = plan.absolute().parent.parent
        return cls(folder, model) if (folder / RUN).is_file() else None

    @cached_property
    def configuration(self) -> Configuration:
        """``run.json``.

        Raises:
            FileError: there is none, it is damaged or of another version.
        """
        return on_disk.configuration(self.path)

    @cached_property
    def _asked(self) -> Request:
        """The request as it was saved: for what it says, not to be posed; see ``request``."""
        return on_disk.request_of(self.configuration.request, self.path / RUN)

    @cached_property
    def request(self) -> Request:
        """The request that started the run, where it can be posed again.

        Raises:
            UsageError: the network is a file of code that was not named again, or another one was; or a plug-in is not in use.
        """
        saved = self._asked
        on_disk.ask_for_plugins(self.configuration, self.path)
        if saved.model is None:
            if self._model is not None:
                own_code.check_same(self.path, None, self._model, saved.network)
            return saved
        if self._model is None:
            raise on_disk.not_named(self.path, saved.model)
        own_code.check_same(self.path, saved.model, self._model, saved.network)
        return replace(saved, model=self._model)

    @property
    def model(self) -> str | None:
        """The file of code that is the run's network, as whoever asks named it, or else as the run does: a word, not to be
        executed (see ``request``)."""
        return self._model or self._asked.model

    @property
    def seed(self) -> int:
        return self._asked.seed

    @property
    def task(self) -> str | None:
        """The task that was named, if one was."""
        return self._asked.task

    @property
    def images(self) -> Path | None:
        """The folder of the run's pictures; None: those that ship."""
        return self._asked.images

    @property
    def target(self) -> str:
        return self._asked.target

    @property
    def budgets(self) -> dict[str, float]:
        """What was asked for, a rate among it, in SI units.

        Raises:
            FileError: a budget on nothing that is known.
        """
        from hwsearch.problem import budgets
        from hwsearch.search import frame_rate

        found = frame_rate.budgets_with(self._asked.budgets, self._asked.fps)
        for name in found:
            if name not in budgets.UNITS:
                raise FileError(f"{self.path / RUN}: there is no budget on {name!r}", reading.CHANGED)
        return found

    @property
    def pictures_sha256(self) -> str | None:
        """Digest of the pictures of the run."""
        digest = self.configuration.provenance.get("pictures_sha256")
        return digest if isinstance(digest, str) else None

    def same(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of the request, as ``Request`` takes them, without where it ran and who measured.

        Args:
            given: fields that were given again; they must say the same.
        Raises:
            UsageError: a field is given differently (every such field is listed), or the network is code and was not given.
        """
        return on_disk.same_fields(self.configuration, self.path, given)

    @property
    def is_finished(self) -> bool:
        """Whether the results are written, and every plan that they name, whole."""
        if not (self.path / RESULTS).is_file():
            return False
        return all(_is_json(self.path / PLANS / f"{plan.name}.json") for plan in self.results.front)

    @cached_property
    def results(self) -> Results:
        """``results.json``.

        Raises:
            FileError: there is none (the run did not finish), or it is not of this version.
        """
        if not (self.path / RESULTS).is_file():
            command = resume_command(self.path, self.model)
            raise FileError(f"{self.path} has no results yet", f"Finish the run with `{command}`.")
        file = reading.inside(self.path, RESULTS, "the file of results")
        return reading.read(file, Results, "the results of a run", mend=reading.AGAIN).placed(self.path)

    @cached_property
    def legs(self) -> list[Leg]:
        """Each time that the run was gone on with."""
        if not (self.path / LEGS).exists():
            return []
        return reading.read(reading.inside(self.path, LEGS, "the legs of the run"), Legs, "the legs of a run").legs

    @cached_property
    def problem(self) -> Problem:
        """The run's network on its device.

        Raises:
            UsageError, FileError: the network or its weights are not to be had (see ``request``).
        """
        from hwsearch.problem.pose import pose

        return pose(self.request)

    @cached_property
    def photos(self) -> Pictures:
        """The run's pictures, by their use."""
        from hwsearch.problem.pictures import choose_pictures

        return choose_pictures(self.request, self.problem.network)

    @property
    def has_damage(self) -> bool:
        return (self.path / DAMAGE).is_file()

    def damages(self, space: SearchSpace) -> Mapping[str, Damage]:
        """The damage tables of the run by proxy; ``space`` is that of its problem."""
        from hwsearch.runs import damage_file

        if space not in self._damages:
            self._damages[space] = damage_file.load(reading.inside(self.path, DAMAGE, "the damage tables"), space)
        return self._damages[space]

    def evaluations(self, space: SearchSpace) -> Mapping[PlanRow, Score]:
        """Plans that the run has simulated on its search pictures, one or more, and their scores."""
        from hwsearch.quality import log

        if space not in self._evaluations:
            known = log.read(reading.inside(self.path, EVALUATIONS, "the log of evaluations"), space)
            if not known:
                raise FileError(f"{self.path / EVALUATIONS} holds no evaluation", "Give the folder of a finished run.")
            self._evaluations[space] = known
        return self._evaluations[space]

    def best_proxy(self, among: Collection[str]) -> str:
        """The proxy of ``among`` that ranked random plans best in the run (see ``chosen_proxy.best``)."""
        return chosen_proxy.best(self.results.proxies if (self.path / RESULTS).is_file() else (), among)

    def prediction(self, space: SearchSpace) -> Prediction:
        """How the loss of any plan is predicted: the run's best damage table, calibrated by all that the run has simulated."""
        from hwsearch.search.predict import interactions
        from searchspaces.space import matrix

        tables = self.damages(space)
        table = tables[self.best_proxy(tables)]
        if not (self.path / EVALUATIONS).is_file():
            return interactions.alone(table)
        known = self.evaluations(space)
        return interactions.calibrate(table, matrix(known), np.array([score.loss_db for score in known.values()]))

    def check_unchanged(self, provenance: Mapping[str, Any]) -> None:
        """Refuse to say more about the run when weights, device or pictures are not what they were.

        Raises:
            FileError: a hash differs; every one is listed.
        """
        pairs = on_disk.hashes(self.configuration, provenance)
        changed = [key.removesuffix("_sha256") for key, before, now in pairs if before != now]
        if changed:
            raise FileError(
                f"{self.path}: changed since the run: {', '.join(changed)}",
                "Put them back as they were, or run `hwsearch optimize` again.",
            )


def _is_json(path: Path) -> bool:
    """Whether a file is there, and whole."""
    try:
        reading.read_json(path, "a plan")
    except FileError:
        return False
    return True
