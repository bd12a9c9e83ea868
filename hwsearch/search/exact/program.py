"""The additive problem as a mixed-integer linear program.

Every decision is one-hot. A term that depends on several decisions gets one continuous variable for each combination, tied to the
one-hot variables by its marginals (the local polytope): with the decisions integral, exactly one combination is left. A term gets
these variables only for the decisions in which it is not a plain sum, and only for the objectives that the program uses.

Example: decisions A and B with two choices each, one layer whose latency depends on both.

    latency      B=0  B=1      No sum: from B=0 to B=1 it falls by 2 where A=0, and not at all where A=1. Eight columns:
    A=0            5    3        a0 a1 b0 b1        one of each pair is 1:   a0 + a1 = 1,  b0 + b1 = 1
    A=1            4    4        y00 y01 y10 y11    tied to them:            y00 + y01 = a0,  y10 + y11 = a1,
                                                                             y00 + y10 = b0,  y01 + y11 = b1
    latency = 5 y00 + 3 y01 + 4 y10 + 4 y11: with a and b whole, one y is 1, that of the choices taken.

Were the second row 4, 2, the term would be the sum 5 - 1 [A=1] - 2 [B=1]: slopes of a1 and b1, a constant, and no y.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from hwsearch.search.exact.additive import AdditiveProblem

_SEPARABLE = 1e-12


class IntegerProgram:
    """Matrices of an additive problem restricted to some choices.

    Attributes:
        options: kept choice indices of each decision; ``starts``: first column of each decision's one-hot block.
        binaries: number of one-hot columns, which come first; ``columns``: all columns.
        coefficients, constants: objective -> row vector ``float64[columns]`` and what is added to it.
        equalities, right: ``equalities @ v = right``.
        steps: ``float64[S, columns]``, bytes alive at each schedule step (sparse).
    """

    def __init__(self, problem: AdditiveProblem, options: Sequence[np.ndarray], objectives: Sequence[str]) -> None:
        self.options = tuple(options)
        sizes = np.array([len(kept) for kept in self.options])
        self.starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        self.binaries = int(sizes.sum())
        used = [name for name in problem.terms if name in objectives or (name == "weight_bytes" and "memory_bytes" in objectives)]
        unary = {name: np.zeros(self.binaries) for name in used}
        self.constants = {name: problem.constant[name] for name in used} | {"noise": 0.0}
        self._rows: list[np.ndarray] = []
        self._cols: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._height, self._width = 0, self.binaries
        self._links: list[tuple[int, np.ndarray]] = []
        joint: dict[str, list[np.ndarray]] = {name: [] for name in used}
        for start, kept in zip(self.starts, self.options, strict=True):
            self._equality(start + np.arange(len(kept)), np.ones(len(kept)))
        one_hot = self._height
        for row in range(len(problem.columns)):
            self._term(problem, row, used, unary, joint)
        self.columns = self._width
        self.coefficients = {name: np.concatenate([unary[name], *joint[name]]) for name in used}
        noise = np.concatenate([problem.noise[d, kept] for d, kept in enumerate(self.options)])
        self.coefficients["noise"] = np.concatenate([noise, np.zeros(self.columns - self.binaries)])
        shape = (self._height, self.columns)
        entries = (np.concatenate(self._values), (np.concatenate(self._rows), np.concatenate(self._cols)))
        self.equalities = sparse.csr_matrix(entries, shape=shape)
        self.right = np.zeros(self._height)
        self.right[:one_hot] = 1.0
        self.steps = self._steps(problem)

    def _equality(self, columns: np.ndarray, values: np.ndarray) -> None:
        self._rows.append(np.full(len(columns), self._height))
        self._cols.append(columns)
        self._values.append(values)
        self._height += 1

    def _term(
        self,
        problem: AdditiveProblem,
        row: int,
        used: list[str],
        unary: dict[str, np.ndarray],
        joint: dict[str, list[np.ndarray]],
    ) -> None:
        """Put one term into the one-hot columns as far as it is a sum, and the rest into new joint columns."""
        axes = [int(d) for d in problem.columns[row]]
        kept = [self.options[d] if d < problem.decisions else np.zeros(1, dtype=np.int64) for d in axes]
        tables = {name: problem.terms[name][row][np.ix_(*kept)] for name in used}
        position = 0
        while position < len(axes):
            slopes = {name: table - table.take([0], axis=position) for name, table in tables.items()}
            flat = {name: np.moveaxis(s, position, -1).reshape(-1, s.shape[position]) for name, s in slopes.items()}
            limit = {name: _SEPARABLE * max(float(np.abs(t).max(initial=0.0)), 1e-300) for name, t in tables.items()}
            if all(np.ptp(flat[name], axis=0).max(initial=0.0) <= limit[name] for name in used):
                if tables and next(iter(tables.values())).shape[position] > 1:
                    start = self.starts[axes[position]]
                    for name in used:
                        unary[name][start : start + flat[name].shape[1]] += flat[name][0]
                tables = {name: table.take(0, axis=position) for name, table in tables.items()}
                del axes[position], kept[position]
            else:
                position += 1
        if not axes:
            for name, table in tables.items():
                self.constants[name] += float(table)
            return
        shape = tuple(len(k) for k in kept)
        cells = self._width + np.arange(int(np.prod(shape))).reshape(shape)
        self._width += cells.size
        for name, table in tables.items():
            joint[name].append(table.ravel())
        for position, decision in enumerate(axes):
            for choice in range(shape[position]):
                members = cells.take(choice, axis=position).ravel()
                own = int(self.starts[decision]) + choice
                self._links.append((own, members))
                self._equality(np.append(members, own), np.append(np.ones(len(members)), -1.0))

    def _steps(self, problem: AdditiveProblem) -> sparse.csr_matrix:
        groups = problem.step_bytes.shape[1]
        dense = np.zeros((len(problem.step_bytes), self.columns))
        for group in range(groups):
            decision = problem.decisions - groups + group
            start, kept = self.starts[decision], self.options[decision]
            dense[:, start : start + len(kept)] = problem.step_bytes[:, group, kept]
        return sparse.csr_matrix(dense)

    def excess(self, reduced: np.ndarray) -> np.ndarray:
        """By how much each one-hot column, set to one, raises the relaxation at least: ``float64[binaries]``.

        Args:
            reduced: reduced costs of all columns. A choice pays its own, and in every term the least of the combinations it
            allows.
        """
        reduced = np.maximum(reduced, 0.0)
        total = reduced[: self.binaries].copy()
        for own, members in self._links:
            total[own] += reduced[members].min()
        return total

    def plan(self, solution: np.ndarray) -> np.ndarray:
        """The plan ``int64[D]`` nearest to a solution vector."""
        return np.array(
            [kept[np.argmax(solution[start : start + len(kept)])] for start, kept in zip(self.starts, self.options, strict=True)]
        )
