"""The searches that ``hypervolume`` compares. Each is ``search(subject, seed, evaluations)`` and measures plans one after another
by calling ``subject.measure``; what it knew beforehand beyond prices (a proxy, signal to noise ratios) is no evaluation.

``ours`` is the product's own code: plans of one width, exact fronts in rounds on the squared-gradient proxy, then exchange moves.
The two samplers of Optuna are plain: nothing enqueued, one integer parameter for every decision, the position of the width among
those on offer; TPE is the multivariate one, the quicker of its two forms.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

from hwmodels.pricing.table import CostTable
from hwsearch.quality.damage import Damage
from hwsearch.quality.evaluate import Score
from hwsearch.quality.proxies import fisher, sqnr
from hwsearch.quant.calibrate import Calibration
from hwsearch.search import evolve, rounds
from hwsearch.search.exact.additive import AdditiveProblem
from searchspaces.data.pictures import Pair
from searchspaces.space import PlanRow, SearchSpace, matrix

FRONT_POINTS = 20


@dataclass(frozen=True, eq=False)
class Subject:
    """A network on a device. ``calibrated`` gives its number formats, worked out when they are first needed; ``measure``: plan ->
    score; ``crops``: what proxies may look at."""

    space: SearchSpace
    table: CostTable
    problem: AdditiveProblem
    calibrated: Callable[[], Calibration]
    crops: list[Pair]
    measure: Callable[[PlanRow], Score]

    def objectives(self, plan: PlanRow, loss_db: float) -> tuple[float, float, float]:
        """(loss in dB, latency in s, memory in bytes)."""
        costs = self.problem.costs(matrix([plan]))
        return loss_db, float(costs["latency_s"][0]), float(costs["memory_bytes"][0])


def ours(subject: Subject, seed: int, evaluations: int) -> None:
    damage = fisher.measure(subject.calibrated(), subject.crops, seed)
    solved = _rounds(subject, damage, evaluations * 3 // 4)
    with tempfile.TemporaryDirectory() as folder:
        evolve.refine(
            subject.space,
            [subject.table],
            lambda plans: map(subject.measure, plans),
            [*solved.anchors, *solved.plans],
            evaluations=evaluations,
            batch=8,
            seed=seed,
            storage_path=Path(folder) / "journal.log",
        )


def _rounds(subject: Subject, damage: Damage, evaluations: int) -> rounds.Rounds:
    return rounds.solve(
        [subject.table],
        damage,
        subject.space,
        {},
        [],
        np.empty(0),
        lambda plans: [subject.measure(plan).loss_db for plan in plans],
        points=FRONT_POINTS,
        evaluations=evaluations,
    )


def tpe(subject: Subject, seed: int, evaluations: int) -> None:
    _plain(subject, optuna.samplers.TPESampler(multivariate=True, seed=seed), evaluations)


def nsga2(subject: Subject, seed: int, evaluations: int) -> None:
    _plain(subject, optuna.samplers.NSGAIISampler(seed=seed), evaluations)


def _plain(subject: Subject, sampler: optuna.samplers.BaseSampler, evaluations: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = subject.space
    options = [space.choices(d) for d in range(space.decisions)]

    def objective(trial: optuna.Trial) -> tuple[float, float, float]:
        picks = [trial.suggest_int(f"{d}", 0, len(own) - 1) for d, own in enumerate(options)]
        plan = space.row(own[pick] for own, pick in zip(options, picks, strict=True))
        return subject.objectives(plan, subject.measure(plan).loss_db)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.create_study(sampler=sampler, directions=["minimize"] * 3).optimize(objective, n_trials=evaluations)


def uniform(subject: Subject, seed: int, evaluations: int) -> None:
    """Every pair of one weight width and one tensor width; the seed changes nothing."""
    space = subject.space
    for weight, activation in [(w, a) for w in space.weight_bits for a in space.activation_bits][:evaluations]:
        subject.measure(space.uniform(weight, activation))


def greedy(subject: Subject, seed: int, evaluations: int) -> None:
    """From the widest plan down to the narrowest, one step of one decision at a time: the step that leaves the highest signal to
    quantization noise ratio. Every plan on the way is measured; the seed changes nothing."""
    space = subject.space
    ratios = [entry.db for entry in sqnr.table(subject.calibrated(), subject.crops)]
    plan = np.array([space.choices(d)[-1] for d in range(space.decisions)], dtype=np.int8)
    for _ in range(evaluations):
        subject.measure(space.row(plan))
        lower = {}
        for d in range(space.decisions):
            narrower = [c for c in space.choices(d) if c < plan[d]]
            if narrower:
                ratio = ratios[d][space.widths(d)[narrower[-1]]]
                lower[d] = (np.inf if ratio is None else ratio, narrower[-1])
        if not lower:
            return
        step = max(lower, key=lambda d: lower[d][0])
        plan = plan.copy()
        plan[step] = lower[step][1]


METHODS: dict[str, Callable[[Subject, int, int], None]] = {
    "ours": ours,
    "TPE": tpe,
    "NSGA-II": nsga2,
    "uniform": uniform,
    "greedy by SQNR": greedy,
}
SEEDLESS = ("uniform", "greedy by SQNR")
