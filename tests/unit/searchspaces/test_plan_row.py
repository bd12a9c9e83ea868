"""A plan as a value: equal where it chooses the same formats for the same decisions, whatever else is on offer."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from random_tables import space_of

from hwmodels.numbers import FP16, formats_of
from searchspaces.space import distinct, matrix

FEW = space_of(2, 1, (4, 8), (8, 16))
MANY = space_of(2, 1, (2, 4, 6, 8), (4, 8, 16))


def test_the_same_formats_are_the_same_plan_in_two_spaces() -> None:
    few, many = FEW.row([0, 1, 1]), MANY.row([1, 3, 2])
    assert few == many
    assert hash(few) == hash(many)
    assert {few: "seen"}[many] == "seen"
    assert few != MANY.row([0, 1, 1]), "the same indices mean other widths there"
    half = replace(FEW, tensor_formats=formats_of((8, 16), FP16))
    assert few != half.row([0, 1, 1]), "sixteen bits that float are not sixteen that do not"
    other = replace(FEW, layer_names=("conv0", "conv1"))
    assert few != other.row([0, 1, 1])
    assert few != (0, 1, 1)


def test_it_is_a_sequence_and_an_array_that_nobody_changes() -> None:
    plan = FEW.row(np.array([0, 1, 1], dtype=np.int8))
    assert (list(plan), len(plan), plan[1], plan[1:]) == ([0, 1, 1], 3, 1, (1, 1))
    assert np.asarray(plan).dtype == np.int8
    np.asarray(plan)[0] = 1
    assert plan[0] == 0
    with pytest.raises(FrozenInstanceError):
        plan.choices = (1, 1, 1)  # type: ignore[misc]
    np.testing.assert_array_equal(matrix([plan, FEW.row([1, 1, 0])]), [[0, 1, 1], [1, 1, 0]])


def test_the_nearest_plan_is_the_next_wider_or_the_widest() -> None:
    assert FEW.plan(*FEW.named(FEW.nearest([2, 5, 99]))) == FEW.row([0, 1, 1])
    assert FEW.uniform(3, 9) == FEW.row([0, 0, 1])


def test_allowed_means_one_choice_that_exists_for_every_decision() -> None:
    pinned = replace(FEW, allowed=np.array([[True, True], [False, True], [True, True]]))
    assert pinned.allows([0, 1, 0])
    for wrong in ([0, 0, 0], [0, 1], [0, 1, 2], [0, 1, -1]):
        assert not pinned.allows(wrong)


def test_each_plan_once_in_order() -> None:
    plans = [FEW.row(row) for row in ([1, 1, 0], [0, 0, 0], [1, 1, 0])]
    assert distinct(plans) == plans[:2]
