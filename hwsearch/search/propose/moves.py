"""Which plan to measure next: exchange moves around the front, in turn with children of NSGA-II, or what a sampler asks for.

An exchange raises one decision of a front plan and lowers another; it finds what additive damage missed, because two changes are
judged together. Every proposal is a function of the seed, the number of the trial, the finished trials of earlier batches and the
plans already proposed in its own, and of nothing else: a run that was interrupted, or measured by many, proposes what it would
have proposed. A proposal is never a plan that is known already, nor one over a hard limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from hwmodels.numbers import Width
from hwsearch.search import pareto
from hwsearch.search.exact.additive import AdditiveProblem
from hwsearch.search.exact.alternatives import Alternatives
from hwsearch.search.exact.heuristics import feasible, repair
from hwsearch.search.propose import samplers
from searchspaces.space import PlanRow, SearchSpace, distinct, matrix

CUT, METHOD = "tiling", "method"
"""Parameters that are told with a plan, not asked of a sampler."""
_EARLIER = "quantizer"
"""What ``METHOD`` was called in journals of earlier versions."""
_ATTEMPTS = 400


class Encoding:
    """Plans as Optuna parameters: for each decision that is free its width, named as in a plan file:
    ``body.0.weight_bits``, ``body.0.activation_bits``."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        layers = len(space.layer_names)
        self.options = [space.choices(d) for d in range(space.decisions)]
        # A layer and the tensor that it writes often share their name.
        names = [f"{name}.{'weight' if d < layers else 'activation'}_bits" for d, name in enumerate(space.names)]
        self.names = {d: name for d, name in enumerate(names) if len(self.options[d]) > 1}
        self.distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution([space.widths(d)[choice] for choice in self.options[d]])
            for d, name in self.names.items()
        }

        self.names_in_journal = {*self.distributions, CUT, METHOD, _EARLIER}
        self.sizes = {name: len(self.options[d]) for d, name in self.names.items()}

    def parameters(self, plan: PlanRow) -> dict[str, Width]:
        return {name: self.space.widths(d)[plan[d]] for d, name in self.names.items()}

    def plan(self, parameters: Mapping[str, Any]) -> PlanRow:
        """A parameter that is missing takes the widest choice."""
        row = [own[-1] for own in self.options]
        for d, name in self.names.items():
            if name in parameters:
                row[d] = self.space.widths(d).index(parameters[name])
        return self.space.row(row)

    def positions(self, plan: PlanRow) -> dict[str, int]:
        """The position of each free decision among its allowed widths, ascending."""
        return {name: int(np.flatnonzero(self.options[d] == plan[d])[0]) for d, name in self.names.items()}

    def at(self, positions: Mapping[str, int]) -> PlanRow:
        """The inverse of ``positions``."""
        row = [own[-1] for own in self.options]
        for d, name in self.names.items():
            row[d] = self.options[d][positions[name]]
        return self.space.row(row)


class Proposer:
    """Proposes whole plans, for one study.

    Args:
        limits: hard limits, objective -> upper limit (see ``additive.OBJECTIVES``).
        starts: plans that come before anything else.
        sampler: what proposes then, one of ``samplers.SAMPLERS``.
        tilings: names of the ways to cut the picture, where there are several. The one that a plan takes follows from its widths:
            the fastest that fits. So it is told as a parameter, and never asked of a sampler.
    """

    def __init__(
        self,
        encoding: Encoding,
        problem: AdditiveProblem,
        limits: Mapping[str, float],
        starts: Sequence[PlanRow],
        seed: int,
        sampler: str = "exact",
        tilings: Sequence[str] = (),
    ) -> None:
        self._encoding, self._problem, self._limits, self._seed = encoding, problem, limits, seed
        self._sampler, self._tilings = samplers.SAMPLERS[sampler], tuple(tilings)
        self._ranges = samplers.ranges(encoding.sizes)
        self._plans: dict[int, PlanRow] = {}
        self._told: dict[tuple[int, TrialState], samplers.SharedTrial] = {}
        self._starts = [plan for plan in distinct(starts) if self.allowed(plan)]

    def propose(self, study: Study, first: int) -> FrozenTrial | None:
        """The next trial of a study, with all its parameters; None when no plan is left that is not in the study.

        Args:
            first: number of the first trial of its batch; of later ones it is not looked at what they measured.
        """
        trials = study.get_trials(deepcopy=False)
        known = {self._plan(t) for t in trials}
        plan = next((start for start in self._starts if start not in known), None)
        origin = "start"
        if plan is None:
            rng = np.random.default_rng([self._seed, len(trials)])
            front = self._front([t for t in trials[:first] if t.state == TrialState.COMPLETE])
            origin = self._sampler.name
            if origin == "exact":
                bred = len(trials) % 3 == 0 and samplers.generation(trials[:first]) > 0
                origin = "nsga2" if bred else "exchange"
            plan = self._fresh(self._draw(origin, trials, first, front, rng), front, known, rng)
        if plan is None:
            return None
        key = self._sampler.generation_key
        return create_trial(
            state=TrialState.RUNNING,
            params={**self._encoding.parameters(plan), **self._cut(plan)},
            distributions={
                **self._encoding.distributions,
                **({CUT: CategoricalDistribution(self._tilings)} if self._tilings else {}),
            },
            user_attrs={"origin": origin},
            system_attrs={} if key is None else {key: samplers.generation(trials[:first])},
        )

    def _cut(self, plan: PlanRow) -> dict[str, str]:
        """How the picture is cut under a plan, as a parameter."""
        if not self._tilings or not isinstance(self._problem, Alternatives):
            return {}
        return {CUT: self._tilings[self._problem.way(np.asarray(plan))]}

    def _draw(
        self, origin: str, trials: Sequence[FrozenTrial], first: int, front: Sequence[PlanRow], rng: np.random.Generator
    ) -> PlanRow:
        """An exchange, or what a sampler asks for when the batch's own plans are still running."""
        if origin == "exchange":
            return self._exchange(front[int(rng.integers(len(front)))], rng) if len(front) else self._random(rng)
        asked = samplers.draw(
            origin,
            int(rng.integers(2**31)),
            [self._as_positions(t, TrialState.RUNNING if t.number >= first else t.state) for t in trials],
            self._encoding.sizes,
        )
        return self._encoding.at(asked)

    def _plan(self, trial: FrozenTrial) -> PlanRow:
        """The plan of a trial of the study; a trial keeps its parameters."""
        if trial.number not in self._plans:
            self._plans[trial.number] = self._encoding.plan(trial.params)
        return self._plans[trial.number]

    def _as_positions(self, trial: FrozenTrial, state: TrialState) -> samplers.SharedTrial:
        key = trial.number, state
        if key not in self._told:
            told = create_trial(
                state=state,
                values=trial.values if state == TrialState.COMPLETE else None,
                params=self._encoding.positions(self._plan(trial)),
                distributions=self._ranges,
                system_attrs=trial.system_attrs,
            )
            self._told[key] = samplers.SharedTrial.of(told)
        return self._told[key]

    def _random(self, rng: np.random.Generator) -> PlanRow:
        space = self._encoding.space
        return space.row(space.random(rng, 1)[0])

    def _front(self, finished: Sequence[FrozenTrial]) -> list[PlanRow]:
        """Plans of the finished trials that are not dominated."""
        if not finished:
            return []
        kept = pareto.non_dominated(np.array([t.values for t in finished]))
        return [self._plan(trial) for trial, keep in zip(finished, kept, strict=True) if keep]

    def _exchange(self, plan: PlanRow, rng: np.random.Generator) -> PlanRow:
        """Raise one decision and lower another by a step; sometimes only one of the two."""
        moved = list(plan)
        kind = rng.random()
        for step, wanted in ((1, kind < 0.75), (-1, kind >= 0.25)):
            if not wanted:
                continue
            places = [(d, np.flatnonzero(own == moved[d])[0] + step) for d, own in enumerate(self._encoding.options)]
            places = [(d, p) for d, p in places if 0 <= p < len(self._encoding.options[d]) and moved[d] == plan[d]]
            if places:
                d, position = places[rng.integers(len(places))]
                moved[d] = int(self._encoding.options[d][position])
        return self._encoding.space.row(moved)

    def _fresh(self, plan: PlanRow, front: Sequence[PlanRow], known: set[PlanRow], rng: np.random.Generator) -> PlanRow | None:
        """A plan within the limits that is not known: the given one, or mutations of it further and further away. None if all is
        known."""
        space = self._encoding.space
        for attempt in range(_ATTEMPTS):
            if self._limits and not self.allowed(plan):
                plan = space.row(repair(self._problem, np.asarray(plan), self._limits, "latency_s"))
            if plan not in known and self.allowed(plan):
                return plan
            if len(front) and attempt % 2:
                plan = self._exchange(front[int(rng.integers(len(front)))], rng)
            changed = list(plan)
            for d in rng.integers(len(plan), size=1 + attempt // 20):
                changed[d] = rng.choice(self._encoding.options[d])
            plan = space.row(changed)
        return None

    def allowed(self, plan: PlanRow) -> bool:
        """Whether a plan is within the hard limits."""
        return bool(feasible(self._problem.costs(matrix([plan])), self._limits)[0])
