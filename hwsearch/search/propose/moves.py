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

from hwsearch.search import pareto
from hwsearch.search.exact.additive import AdditiveProblem
from hwsearch.search.exact.alternatives import Alternatives
from hwsearch.search.exact.heuristics import feasible, repair
from hwsearch.search.propose import samplers
from searchspaces.space import SearchSpace

CUT, METHOD = "tiling", "method"
"""Parameters that are told with a plan, not asked of a sampler."""
_EARLIER = "quantizer"
"""What ``METHOD`` was called in journals of earlier versions."""
_ATTEMPTS = 400


class Encoding:
    """Plans as Optuna parameters: for each decision that is free its width in bits, named as in a plan file:
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

    def parameters(self, plan: np.ndarray) -> dict[str, int]:
        return {name: self.space.widths(d)[int(plan[d])] for d, name in self.names.items()}

    def plan(self, parameters: Mapping[str, Any]) -> np.ndarray:
        """``int8[D]``; a parameter that is missing takes the widest choice."""
        row = np.array([own[-1] for own in self.options], dtype=np.int8)
        for d, name in self.names.items():
            if name in parameters:
                row[d] = self.space.widths(d).index(parameters[name])
        return row

    def positions(self, plan: np.ndarray) -> dict[str, int]:
        """The position of each free decision among its allowed widths, ascending."""
        return {name: int(np.flatnonzero(self.options[d] == plan[d])[0]) for d, name in self.names.items()}

    def at(self, positions: Mapping[str, int]) -> np.ndarray:
        """The inverse of ``positions``: ``int8[D]``."""
        row = np.array([own[-1] for own in self.options], dtype=np.int8)
        for d, name in self.names.items():
            row[d] = self.options[d][positions[name]]
        return row


class Proposer:
    """Proposes whole plans.

    Args:
        limits: hard limits, objective -> upper limit (see ``additive.OBJECTIVES``).
        starts: plans that come before anything else.
        sampler: what proposes then, one of ``samplers.SAMPLERS``.
        cuts: names of the ways to cut the picture, where there are several. The one that a plan takes follows from its widths:
            the fastest that fits. So it is told as a parameter, and never asked of a sampler.
    """

    def __init__(
        self,
        encoding: Encoding,
        problem: AdditiveProblem,
        limits: Mapping[str, float],
        starts: Sequence[np.ndarray],
        seed: int,
        sampler: str = "exact",
        cuts: Sequence[str] = (),
    ) -> None:
        self._encoding, self._problem, self._limits, self._seed = encoding, problem, limits, seed
        self._sampler, self._cuts = samplers.SAMPLERS[sampler], tuple(cuts)
        self._starts = list({plan.tobytes(): plan for plan in starts if self.allowed(plan)}.values())

    def propose(self, study: Study, first: int) -> FrozenTrial | None:
        """The next trial of a study, with all its parameters; None when no plan is left that is not in the study.

        Args:
            first: number of the first trial of its batch; of later ones it is not looked at what they measured.
        """
        trials = study.get_trials(deepcopy=False)
        known = {self._encoding.plan(t.params).tobytes() for t in trials}
        plan = next((start for start in self._starts if start.tobytes() not in known), None)
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
            distributions={**self._encoding.distributions, **({CUT: CategoricalDistribution(self._cuts)} if self._cuts else {})},
            user_attrs={"origin": origin},
            system_attrs={} if key is None else {key: samplers.generation(trials[:first])},
        )

    def _cut(self, plan: np.ndarray) -> dict[str, str]:
        """How the picture is cut under a plan, as a parameter."""
        if not self._cuts or not isinstance(self._problem, Alternatives):
            return {}
        return {CUT: self._cuts[self._problem.way(plan)]}

    def _draw(
        self, origin: str, trials: Sequence[FrozenTrial], first: int, front: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """An exchange, or what a sampler asks for when the batch's own plans are still running."""
        if origin == "exchange":
            return self._exchange(front[rng.integers(len(front))], rng) if len(front) else self._random(rng)
        asked = samplers.draw(
            origin,
            int(rng.integers(2**31)),
            [self._as_positions(t, TrialState.RUNNING if t.number >= first else t.state) for t in trials],
            self._encoding.sizes,
        )
        return self._encoding.at(asked)

    def _as_positions(self, trial: FrozenTrial, state: TrialState) -> FrozenTrial:
        return create_trial(
            state=state,
            values=trial.values if state == TrialState.COMPLETE else None,
            params=self._encoding.positions(self._encoding.plan(trial.params)),
            distributions=samplers.ranges(self._encoding.sizes),
            system_attrs=trial.system_attrs,
        )

    def _random(self, rng: np.random.Generator) -> np.ndarray:
        found: np.ndarray = self._encoding.space.random(rng, 1)[0]
        return found

    def _front(self, finished: Sequence[FrozenTrial]) -> np.ndarray:
        """Plans of the finished trials that are not dominated, ``int8[N, D]``."""
        if not finished:
            return np.empty((0, self._problem.decisions), dtype=np.int8)
        values = np.array([t.values for t in finished])
        plans = np.stack([self._encoding.plan(t.params) for t in finished])
        found: np.ndarray = plans[pareto.non_dominated(values)]
        return found

    def _exchange(self, plan: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Raise one decision and lower another by a step; sometimes only one of the two."""
        moved = plan.copy()
        kind = rng.random()
        for step, wanted in ((1, kind < 0.75), (-1, kind >= 0.25)):
            if not wanted:
                continue
            places = [(d, np.flatnonzero(own == moved[d])[0] + step) for d, own in enumerate(self._encoding.options)]
            places = [(d, p) for d, p in places if 0 <= p < len(self._encoding.options[d]) and moved[d] == plan[d]]
            if places:
                d, position = places[rng.integers(len(places))]
                moved[d] = self._encoding.options[d][position]
        return moved

    def _fresh(self, plan: np.ndarray, front: np.ndarray, known: set[bytes], rng: np.random.Generator) -> np.ndarray | None:
        """A plan within the limits that is not known: the given one, or mutations of it further and further away. None if all is
        known."""
        for attempt in range(_ATTEMPTS):
            if self._limits and not self.allowed(plan):
                plan = repair(self._problem, plan, self._limits, "latency_s").astype(np.int8)
            if plan.tobytes() not in known and self.allowed(plan):
                return plan
            if len(front) and attempt % 2:
                plan = self._exchange(front[rng.integers(len(front))], rng)
            for d in rng.integers(len(plan), size=1 + attempt // 20):
                plan = plan.copy()
                plan[d] = rng.choice(self._encoding.options[d])
        return None

    def allowed(self, plan: np.ndarray) -> bool:
        """Whether a plan is within the hard limits."""
        return bool(feasible(self._problem.costs(plan[None]), self._limits)[0])
