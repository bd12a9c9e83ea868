"""The additive problem: what a plan costs, as sums over small tables that the exact solver can see into.

Output noise is a sum over decisions. Latency, energy and weight bytes are sums over layers, and a layer's cost depends on at most
three decisions: its weight width, the width of the tensor it reads, the width of the tensor it writes. Peak activation bytes are
the largest of a few sums over width groups, one for each step of the schedule, or, where the runtime's planner is known, what it
lays out; those sums then are a lower bound that the solver reasons with. Nothing else is assumed: the tables may hold any
numbers, so requantization or format changes between neighbours are priced like everything else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hwmodels.counting import COUNTED
from hwmodels.pricing.memory import worst_steps
from hwmodels.pricing.table import needed

if TYPE_CHECKING:
    from hwmodels.cost import CostTable
    from hwmodels.pricing.arena import Arena
    from searchspaces.space import SearchSpace


SUMS = ("latency_s", "weight_bytes", "energy_j")
OBJECTIVES = ("noise", *SUMS, *COUNTED, "peak_activation_bytes", "memory_bytes")
"""What can be minimised or limited; ``memory_bytes`` is weight bytes plus peak activation bytes."""
MEMORY = frozenset({"peak_activation_bytes", "memory_bytes"})
"""Those that are no sums."""
AT_ONCE = 1024
"""Plans whose peaks are computed together. A transformer has 1,700 steps of 500 tensors: every entry of a thousand plans would
be 7 GB."""


@dataclass(frozen=True, eq=False)
class AdditiveProblem:
    """Tables of one network on one device with one damage table. D decisions, C choices (padded), T terms, S schedule steps, G
    groups.

    Attributes:
        options: allowed choice indices of each decision.
        noise: ``float64[D, C]``, output noise power.
        columns: ``int[T, 3]``, the decisions that a term depends on; D stands for "none" (its choice is always 0).
        terms: objective -> ``float64[T, C, C, C]``.
        constant: objective -> what every plan pays.
        step_bytes: ``float64[S, G, C]``, bytes alive at a step when a group has a choice. Groups are the last G decisions.
        arenas: what the runtime's planner lays out, where it is known: the peak then is the largest of them, and the steps are a
            lower bound of it.
    """

    options: tuple[np.ndarray, ...]
    noise: np.ndarray
    columns: np.ndarray
    terms: Mapping[str, np.ndarray]
    constant: Mapping[str, float]
    step_bytes: np.ndarray
    arenas: tuple[Arena, ...] = ()

    @property
    def decisions(self) -> int:
        found: int = self.noise.shape[0]
        return found

    def costs(self, plans: np.ndarray, of: Collection[str] = OBJECTIVES) -> dict[str, np.ndarray]:
        """The objectives ``of`` plans ``int[P, D]`` that this problem knows, ``float64[P]`` each; maybe more."""
        plans = np.asarray(plans, dtype=np.int64)
        padded = np.concatenate([plans, np.zeros((len(plans), 1), dtype=np.int64)], axis=1)
        rows = np.arange(len(self.columns))
        first, second, third = (padded[:, self.columns[:, k]] for k in range(3))
        found = {
            name: self.terms[name][rows, first, second, third].sum(axis=1) + self.constant[name] for name in self._terms_of(of)
        }
        found["noise"] = self.noise[np.arange(self.decisions), plans].sum(axis=1)
        if not MEMORY.isdisjoint(of):
            found["peak_activation_bytes"] = self._peak(plans)
            found["memory_bytes"] = found["weight_bytes"] + found["peak_activation_bytes"]
        return found

    def _terms_of(self, objectives: Collection[str]) -> list[str]:
        """The sums over terms that these objectives are made of."""
        memory = not MEMORY.isdisjoint(objectives)
        return [name for name in self.terms if name in objectives or (memory and name == "weight_bytes")]

    def _peak(self, plans: np.ndarray) -> np.ndarray:
        """Peak activation bytes ``float64[P]``."""
        if self.arenas:
            return needed(self.arenas, plans).astype(np.float64)
        steps, groups, choices = self.step_bytes.shape
        peak, entries = np.zeros(len(plans)), np.arange(groups) * choices
        for first in range(0, len(plans) if steps else 0, AT_ONCE):
            own = plans[first : first + AT_ONCE, self.decisions - groups :]
            # A product of matrices: bytes are eighths of whole numbers, so their sums are exact in any order.
            taken = np.zeros((len(own), groups * choices))
            taken[np.arange(len(own))[:, None], entries + own] = 1.0
            peak[first : first + AT_ONCE] = (self.step_bytes.reshape(steps, -1) @ taken.T).max(axis=0)
        return peak

    @cached_property
    def changes(self) -> tuple[np.ndarray, np.ndarray]:
        """Every (decision, choice) on offer, ``int64[N]`` each."""
        pairs = [(d, c) for d, options in enumerate(self.options) for c in options]
        decisions, choices = np.array(pairs, dtype=np.int64).reshape(len(pairs), 2).T
        return decisions, choices

    def changed(self, plan: np.ndarray, change: int | np.ndarray) -> np.ndarray:
        """``plan int64[D]`` after one of ``changes``, or ``int64[n, D]`` after each of several."""
        decisions, choices = self.changes
        plans = np.repeat(plan[None], np.size(change), axis=0)
        plans[np.arange(len(plans)), decisions[change]] = choices[change]
        return plans[0] if np.ndim(change) == 0 else plans

    def costs_of_changes(self, plan: np.ndarray, of: Collection[str] = OBJECTIVES) -> dict[str, np.ndarray]:
        """The objectives ``of`` the plan after each of ``changes`` alone, ``float64[N]`` each, summed from what it touches.

        The same as ``costs`` of the changed plans but for the order of the sum.
        """
        decisions, choices = self.changes
        now = self.costs(plan[None], of)
        rows, width = np.arange(len(self.columns)), self.noise.shape[1]
        at = np.append(plan, 0)[self.columns]
        found = {}
        for name in self._terms_of(of):
            table = self.terms[name]
            present = table[rows, at[:, 0], at[:, 1], at[:, 2]][:, None]
            delta = np.zeros((self.decisions + 1, width))
            np.add.at(delta, self.columns[:, 0], table[rows, :, at[:, 1], at[:, 2]] - present)
            np.add.at(delta, self.columns[:, 1], table[rows, at[:, 0], :, at[:, 2]] - present)
            np.add.at(delta, self.columns[:, 2], table[rows, at[:, 0], at[:, 1], :] - present)
            found[name] = now[name][0] + delta[decisions, choices]
        found["noise"] = now["noise"][0] + self.noise[decisions, choices] - self.noise[decisions, plan[decisions]]
        if not MEMORY.isdisjoint(of):
            found["peak_activation_bytes"] = self._peak_of_changes(plan, now["peak_activation_bytes"][0])
            found["memory_bytes"] = found["weight_bytes"] + found["peak_activation_bytes"]
        return found

    def _peak_of_changes(self, plan: np.ndarray, present: float) -> np.ndarray:
        """Peak activation bytes ``float64[N]`` after each of ``changes`` alone."""
        decisions, choices = self.changes
        if self.arenas:
            return self._peak(self.changed(plan, np.arange(len(decisions))))
        groups = self.step_bytes.shape[1]
        first, chosen = self.decisions - groups, plan[self.decisions - groups :]
        peak = np.full(len(decisions), present)
        if len(self.step_bytes):
            present_bytes = self.step_bytes[:, np.arange(groups), chosen]
            after = present_bytes.sum(axis=1)[:, None, None] + self.step_bytes - present_bytes[:, :, None]
            of_group = decisions >= first
            peak[of_group] = after.max(axis=0)[decisions[of_group] - first, choices[of_group]]
        return peak


def lower(table: CostTable, noise: np.ndarray, space: SearchSpace, limited: Iterable[str] = ()) -> AdditiveProblem:
    """Bring cost table ``table`` and damage ``noise float64[D, C]`` into the form of ``AdditiveProblem``.

    ``limited``: objectives with a limit; of ``COUNTED``, which are the same on every device, only these get terms.
    """
    decisions, choices = space.decisions, space.allowed.shape[1]
    layers, groups = len(table.weight_column), len(space.group_names)
    offset = decisions - groups
    columns = np.full((layers, 3), decisions)
    counted = {name: space.counting.table(name) for name in COUNTED if name in set(limited) and space.counting is not None}
    terms = {name: np.zeros((layers, choices, choices, choices)) for name in (*SUMS, *counted)}
    weighing = np.cumsum(table.weight_column >= 0) - 1
    weights, inputs = len(space.weight_bits), len(space.activation_bits)
    energy = table.energy_j if np.isfinite(table.energy_j).all() else None  # not known: no plan is better by it
    for row in range(layers):
        weight, source, target = int(table.weight_column[row]), int(table.input_column[row]), int(table.output_column[row])
        # A layer inside one group (a residual chain) has a single activation decision: only the diagonal can occur.
        same = source == target
        columns[row, :] = (weight if weight >= 0 else decisions, offset + source, decisions if same else offset + target)
        priced = {"latency_s": table.latency_s[row], "weight_bytes": table.stored_bytes(row)}
        if energy is not None:
            priced["energy_j"] = energy[row]
        for name, values in priced.items():
            layer = np.asarray(values, dtype=np.float64)
            layer = layer if weight >= 0 else layer[:1]
            if same:
                layer = np.einsum("wbb->wb", layer)[:, :, None]
            terms[name][row, : layer.shape[0], :inputs, : layer.shape[2]] = layer
        if weight >= 0:
            for name, counts in counted.items():
                terms[name][row, :weights, :inputs, :] = counts[weighing[row]][:, :, None]
    constant = dict.fromkeys(terms, 0.0)
    constant |= {"latency_s": float(table.inference_s), "energy_j": float(table.inference_s * table.static_w)}
    return AdditiveProblem(
        tuple(space.choices(d) for d in range(decisions)),
        np.asarray(noise, dtype=np.float64),
        columns,
        terms,
        constant,
        _steps(table, offset, groups, inputs, choices),
        table.arenas,
    )


def _steps(table: CostTable, first_group: int, groups: int, widths: int, choices: int) -> np.ndarray:
    """Bytes alive at every schedule step that could be the worst, ``float64[S, G, C]``; groups are the decisions from
    ``first_group`` on."""
    live = worst_steps(np.asarray(table.live, dtype=np.int64))
    steps = np.zeros((len(live), groups, choices))
    steps[:, :, :widths] = live[:, :, None] * np.asarray(table.element_bytes, dtype=np.float64)
    # A plan makes one choice of the first group: what the runtime always takes may count as part of each.
    steps[:, :1, :widths] += table.runtime_bytes
    floors = [arena.floor(first_group, groups)[:, :, :choices] for arena in table.arenas]
    return np.concatenate([steps, *floors])
