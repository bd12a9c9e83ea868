"""Refinement by measurement: an Optuna study, asked and told in batches of plans, with its journal on disk.

The plans of the exact front come first, then what ``propose`` proposes. A batch is proposed from the batches before it, whoever
measures it and in whatever order: the study does not depend on the number of workers. Every finished trial is on disk before the
next begins. A study that was killed goes on: a batch cut short is completed, trials that were running are run again with their
parameters, a last line that the crash cut short is dropped, and with the same seed the finished study holds the same trials as
one that was never interrupted. One process at a time uses a journal: the caller holds the run directory's lock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from hwmodels.errors import FileError
from hwsearch.quality.evaluate import Score
from hwsearch.search import journal
from hwsearch.search.exact.additive import AdditiveProblem
from hwsearch.search.exact.alternatives import lower_all
from hwsearch.search.pareto import PRICES
from hwsearch.search.predict.screen import Screen
from hwsearch.search.propose.moves import METHOD, Encoding, Proposer
from hwsearch.search.propose.samplers import OBJECTIVES
from hwsearch.search.silenced import quiet_optuna
from searchspaces.space import PlanRow, matrix

if TYPE_CHECKING:
    from hwmodels.cost import CostTable
    from searchspaces.space import SearchSpace

STUDY = "hwsearch"
"""Name of the study in a journal."""
PROPOSALS = 4
"""Trials for each evaluation at most: an end, should everything that is proposed be pruned."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A measured plan: its score where this process measured it, and (loss in dB, latency in s, memory in bytes)."""

    plan: PlanRow
    score: Score | None
    objectives: tuple[float, float, float]


def refine(
    space: SearchSpace,
    tables: Sequence[CostTable],
    evaluate: Callable[[Sequence[PlanRow]], Iterable[Score]],
    start_plans: Sequence[PlanRow],
    *,
    evaluations: int,
    batch: int,
    seed: int,
    storage_path: Path,
    advance: Callable[[], None] | None = None,
    sampler: str = "exact",
    screen: Screen | None = None,
    tilings: Sequence[str] = (),
    methods: Sequence[str] = (),
) -> list[Evaluated]:
    """Measure up to ``evaluations`` distinct plans, those of ``start_plans`` first, and return all that the study holds.

    Plans over the device's hard limits are left out.

    Args:
        tables: one for each way to cut the picture; a plan is priced by the fastest that fits.
        evaluate: plans -> their scores in order, each as soon as it is known; may answer from a cache of its own.
        batch: plans proposed together.
        sampler: what proposes them after ``start_plans``, one of ``samplers.SAMPLERS``.
        screen: looks at what was proposed before it is measured; a hopeless plan becomes a pruned trial, and counts towards
            ``evaluations`` by what the look cost.
        tilings: names of the ways to cut the picture, one for each of several tables.
        methods: those that ``evaluate`` takes the best of, where it has several; which one it was becomes a parameter of the
            trial.
        storage_path: the journal; one that exists is continued, up to ``evaluations`` in all.
        advance: called after every finished plan, those found in the journal included.
    Raises:
        FileError: the journal cannot be written, or is damaged before its end.
    """
    limits = tables[0].limits
    problem = lower_all(tables, np.zeros(space.allowed.shape), space, limits)
    encoding = Encoding(space)
    proposer = Proposer(encoding, problem, limits, start_plans, seed, sampler, tilings if len(tables) > 1 else ())
    scores: dict[PlanRow, Score] = {}
    with quiet_optuna(), journal.file_errors(storage_path):
        journal.mend(storage_path)
        study = _study(storage_path, encoding, seed)
        _describe(study, space, sampler)
        for _ in _trials(study, TrialState.COMPLETE):
            _tell(advance)
        while running := _batch(study, proposer, batch, evaluations, 0.0 if screen is None else screen.share):
            promoted = [
                trial for trial in running if screen is None or not _prune(study, trial, batch, encoding, problem, screen)
            ]
            plans = [encoding.plan(trial.params) for trial in promoted]
            for trial, plan, score in zip(promoted, plans, evaluate(plans), strict=True):
                scores[plan] = score
                if len(methods) > 1:
                    _tell_method(study, trial, score.method, methods)
                _note(study, trial, {"fidelity": "pictures", "stderr_db": score.stderr_db})
                study.tell(trial.number, _objectives(problem, plan, score))
                _tell(advance)
        rows = [(encoding.plan(t.params), tuple(t.values)) for t in _trials(study, TrialState.COMPLETE)]
    return [Evaluated(plan, scores.get(plan), values) for plan, values in rows]


def _study(storage_path: Path, encoding: Encoding, seed: int) -> optuna.Study:
    """The study in a journal, a new one where there is none."""
    with journal.damage(storage_path):
        study = optuna.create_study(
            storage=journal.storage(storage_path),
            study_name=STUDY,
            sampler=RandomSampler(seed=seed),  # never asked: plans come from the proposer
            directions=["minimize"] * len(OBJECTIVES),
            load_if_exists=True,
        )
    _check_names(study, encoding, storage_path)
    return study


def finished(space: SearchSpace, storage_path: Path) -> list[tuple[PlanRow, float]]:
    """Plans that the journal in ``storage_path`` holds as measured, in order, and their losses in dB.

    Raises:
        FileError: the journal cannot be used, or is damaged before its end.
    """
    if not storage_path.exists():
        return []
    encoding = Encoding(space)
    with quiet_optuna(), journal.file_errors(storage_path):
        journal.mend(storage_path)
        with journal.damage(storage_path):
            storage = journal.storage(storage_path)
            if STUDY not in optuna.get_all_study_names(storage):
                return []
            study = optuna.load_study(study_name=STUDY, storage=storage)
            _check_names(study, encoding, storage_path)
            return [(encoding.plan(t.params), float(t.values[0])) for t in _trials(study, TrialState.COMPLETE)]


def _check_names(study: optuna.Study, encoding: Encoding, path: Path) -> None:
    """A journal whose parameters have other names would be read as one plan, measured over and over."""
    found = {name for trial in study.get_trials(deepcopy=False) for name in trial.params}
    foreign = sorted(found - encoding.names_in_journal)
    if foreign:
        raise FileError(
            f"{path}: the parameter {foreign[0]!r} is not one of this network",
            "The journal was written by another version, or for another network. Start a new run; the old one stays as it is.",
        )


def _batch(study: optuna.Study, proposer: Proposer, batch: int, evaluations: int, share: float) -> list[FrozenTrial]:
    """The trials to run next: those that a killed process left behind, or new ones; none at the end."""
    trials = study.get_trials(deepcopy=False)
    total, running = len(trials), _trials(study, TrialState.RUNNING)
    first = total - total % batch
    if not running or total % batch:
        pruned = sum(t.state == TrialState.PRUNED for t in trials[:first])
        left = evaluations - (first - pruned) - share * pruned
        for _ in range(total, min(first + batch, first + math.ceil(left), PROPOSALS * evaluations)):
            proposal = proposer.propose(study, first)
            if proposal is None:
                break
            # One record holds the whole plan: a trial is in the journal with all its parameters, or not at all.
            study.add_trial(proposal)
    return _trials(study, TrialState.RUNNING)


def _prune(
    study: optuna.Study, trial: FrozenTrial, batch: int, encoding: Encoding, problem: AdditiveProblem, screen: Screen
) -> bool:
    """Whether a trial goes no further. It is judged beside the trials of earlier batches, whatever was measured since."""
    if trial.user_attrs["origin"] == "start":
        return False
    finished = [t for t in _trials(study, TrialState.COMPLETE) if t.number < trial.number - trial.number % batch]
    values = np.array([t.values for t in finished]).reshape(len(finished), len(OBJECTIVES))
    plan = encoding.plan(trial.params)
    costs = problem.costs(matrix([plan]))
    price = np.array([costs[name][0] for name in PRICES])
    rows = np.flatnonzero(np.all(values[:, 1:] <= price, axis=1))
    rivals = [encoding.plan(finished[row].params) for row in rows]
    verdict = screen.judge(plan, rivals, values[rows, 0])
    compared = {} if verdict.rival is None else {"compared_with_trial": finished[rows[verdict.rival]].number}
    _note(study, trial, {**verdict.facts, **compared})
    if verdict.hopeless:
        _note(study, trial, {"fidelity": verdict.fidelity})
        study.tell(trial.number, state=TrialState.PRUNED)
    return verdict.hopeless


def _note(study: optuna.Study, trial: FrozenTrial, facts: Mapping[str, str | float]) -> None:
    running = optuna.trial.Trial(study, trial._trial_id)
    for name, value in facts.items():
        running.set_user_attr(name, value)


def _tell_method(study: optuna.Study, trial: FrozenTrial, method: str, methods: Sequence[str]) -> None:
    """The parameter of a trial that only its measurement decides."""
    distribution = CategoricalDistribution(list(methods))
    study._storage.set_trial_param(trial._trial_id, METHOD, distribution.to_internal_repr(method), distribution)


def _trials(study: optuna.Study, state: TrialState) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(state,))


def _tell(advance: Callable[[], None] | None) -> None:
    if advance is not None:
        advance()


def _objectives(problem: AdditiveProblem, plan: PlanRow, score: Score) -> tuple[float, float, float]:
    costs = problem.costs(matrix([plan]))
    return score.loss_db, float(costs["latency_s"][0]), float(costs["memory_bytes"][0])


def _describe(study: optuna.Study, space: SearchSpace, sampler: str) -> None:
    """What a reader of the journal needs to know, written once."""
    attributes = {
        "sampler": sampler,
        "weight_bits": list(space.weight_widths),
        "activation_bits": list(space.tensor_widths),
        "scope": space.scope,
    }
    missing = {name: value for name, value in attributes.items() if study.user_attrs.get(name) != value}
    if missing:
        study.set_metric_names(list(OBJECTIVES))
    for name, value in missing.items():
        study.set_user_attr(name, value)
