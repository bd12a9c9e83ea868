"""Optuna's samplers, each as a function of what is known: the next plan follows from the seed and the trials told, and from
nothing that a process remembers. So a search that was killed, or is shared by many, asks for the same plans.

A sampler is made anew for every plan and asked in a study in memory that holds the trials it may know: those of earlier batches,
and the plans already proposed in its own, as running. TPE and the Gaussian process spread a batch by what is running; the genetic
ones breed from the generations told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from hwsearch.search.pareto import PRICES

OBJECTIVES = ("loss_db", *PRICES)
POPULATION = 24
STARTUP = 10
"""Trials that TPE and the Gaussian process want to see before they model; until then they draw at random."""


@dataclass(frozen=True)
class SamplerInfo:
    """A way to propose plans as it is listed; ``make(seed)`` gives Optuna's sampler."""

    name: str
    summary: str
    make: Callable[[int], BaseSampler]
    generation_key: str | None = None
    """Attribute in which a genetic sampler keeps a trial's generation."""


def _nsga2(seed: int) -> BaseSampler:
    return NSGAIISampler(population_size=POPULATION, seed=seed)


def _nsga3(seed: int) -> BaseSampler:
    return NSGAIIISampler(population_size=POPULATION, seed=seed)


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(n_startup_trials=STARTUP, multivariate=True, constant_liar=True, seed=seed)


def _gp(seed: int) -> BaseSampler:
    return GPSampler(n_startup_trials=STARTUP, deterministic_objective=True, seed=seed)


def _random(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


SAMPLERS: dict[str, SamplerInfo] = {
    info.name: info
    for info in (
        SamplerInfo(
            "exact",
            "exact fronts in rounds of solve, measure and refit; then exchange moves, in turn with children of NSGA-II",
            _nsga2,
            NSGAIISampler._get_generation_key(),
        ),
        SamplerInfo("nsga2", "genetic, sorted by dominance and crowding", _nsga2, NSGAIISampler._get_generation_key()),
        SamplerInfo("nsga3", "genetic, spread over reference directions", _nsga3, NSGAIIISampler._get_generation_key()),
        SamplerInfo("tpe", "tree-structured Parzen estimator, all parameters together", _tpe),
        SamplerInfo("gp", "Gaussian process, expected improvement of the hypervolume", _gp),
        SamplerInfo("random", "uniformly random plans", _random),
    )
}


class SharedTrial(FrozenTrial):
    """A trial that is told to many studies and changed by none. Optuna puts new values in place of a trial's attributes and never
    changes a value, so where it would copy a trial with all that is in it, the same values serve."""

    @classmethod
    def of(cls, trial: FrozenTrial) -> SharedTrial:
        told = cls.__new__(cls)
        told.__dict__.update(vars(trial))
        return told

    def __deepcopy__(self, memo: dict[int, object]) -> SharedTrial:
        return copy(self)


def draw(name: str, seed: int, known: Sequence[FrozenTrial], sizes: Mapping[str, int]) -> dict[str, int]:
    """What a sampler asks for after the trials ``known``; every objective is minimised.

    Args:
        known: trials whose parameters are positions ``0..sizes[name] - 1``: widths have an order, which categories would hide.
    """
    study = optuna.create_study(sampler=SAMPLERS[name].make(seed), directions=["minimize"] * len(OBJECTIVES))
    study.add_trials(known)
    return study.ask(ranges(sizes)).params


def ranges(sizes: Mapping[str, int]) -> dict[str, BaseDistribution]:
    """The distributions of positions."""
    return {name: IntDistribution(0, size - 1) for name, size in sizes.items()}


def generation(trials: Sequence[FrozenTrial]) -> int:
    """Generation of the next trial: every ``POPULATION`` finished trials are one."""
    return sum(t.state == TrialState.COMPLETE for t in trials) // POPULATION
