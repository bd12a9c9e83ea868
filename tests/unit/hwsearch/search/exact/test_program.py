"""The worked example of the mixed-integer program, column by column, and programs of random tables at all their whole points."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from random_tables import chain
from scipy.optimize import linprog

from hwsearch.search.exact.additive import AdditiveProblem, lower
from hwsearch.search.exact.program import IntegerProgram


def of_two(latency: list[list[float]]) -> IntegerProgram:
    """Two decisions of two choices and one layer that depends on both."""
    term = np.zeros((1, 2, 2, 2))
    term[0, :, :, 0] = latency
    free = np.zeros_like(term)
    problem = AdditiveProblem(
        options=(np.arange(2), np.arange(2)),
        noise=np.zeros((2, 2)),
        columns=np.array([[0, 1, 2]]),
        terms={"latency_s": term, "weight_bytes": free, "energy_j": free},
        constant={"latency_s": 0.0, "weight_bytes": 0.0, "energy_j": 0.0},
        step_bytes=np.zeros((0, 0, 2)),
    )
    return IntegerProgram(problem, problem.options, ["latency_s"])


def test_what_is_no_sum_gets_a_column_for_every_combination() -> None:
    program = of_two([[5, 3], [4, 4]])
    assert (program.binaries, program.columns) == (4, 8)
    assert program.coefficients["latency_s"].tolist() == [0, 0, 0, 0, 5, 3, 4, 4]
    expected = [
        [1, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 0, 0],
        [-1, 0, 0, 0, 1, 1, 0, 0],
        [0, -1, 0, 0, 0, 0, 1, 1],
        [0, 0, -1, 0, 1, 0, 1, 0],
        [0, 0, 0, -1, 0, 1, 0, 1],
    ]
    assert program.equalities.toarray().tolist() == expected
    assert program.right.tolist() == [1, 1, 0, 0, 0, 0]


def test_a_sum_needs_none() -> None:
    program = of_two([[5, 3], [4, 2]])
    assert (program.columns, program.constants["latency_s"]) == (4, 5.0)
    assert program.coefficients["latency_s"].tolist() == [0, -1, 0, -2]


@pytest.mark.parametrize("seed", range(3))
def test_at_whole_points_the_program_costs_what_the_plan_costs(seed: int) -> None:
    table, noise, space = chain(2, seed, weight_bits=(4, 8), activation_bits=(8, 16))
    problem = lower(table, noise, space)
    program = IntegerProgram(problem, problem.options, ["latency_s"])
    for plan in itertools.product(*problem.options):
        whole = np.zeros(program.binaries)
        whole[program.starts + np.array(plan)] = 1.0
        bounds = [(value, value) for value in whole] + [(0, 1)] * (program.columns - program.binaries)
        scale = 1e6
        for sign in (1, -1):  # nothing is left to choose: the least is the most
            slopes = sign * scale * program.coefficients["latency_s"]
            found = linprog(slopes, A_eq=program.equalities, b_eq=program.right, bounds=bounds)
            told = sign * found.fun / scale + program.constants["latency_s"]
            assert told == pytest.approx(problem.costs(np.array([plan]))["latency_s"][0])
