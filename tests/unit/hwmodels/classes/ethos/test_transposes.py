"""Steps of a transpose move every value where the transpose does, and each is one that the array takes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwmodels.classes.ethos.transposes import steps

SWAPS = {(1, 0, 2), (0, 2, 1), (2, 1, 0)}


@pytest.mark.parametrize("any_order", [False, True])
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5), (2, 3, 4, 5), (2, 1, 3, 5), (2, 3, 1, 5, 7)])
def test_steps_do_what_the_transpose_does(shape: tuple[int, ...], any_order: bool) -> None:
    values = np.arange(np.prod(shape)).reshape(shape)
    for axes in itertools.permutations(range(len(shape))):
        moved = values
        for step in steps(shape, axes, any_order=any_order):
            assert any_order or step.order in SWAPS
            moved = moved.reshape(step.shape).transpose(step.order)
        assert np.array_equal(moved.reshape(-1), values.transpose(axes).reshape(-1)), axes


def test_a_turn_of_nothing_takes_no_step() -> None:
    assert steps((1, 8, 1, 3), (2, 1, 0, 3), any_order=False) == []


def test_the_older_arrays_take_five_steps_for_a_pixel_shuffle() -> None:
    """As ethos-u-vela 5.2.0 lists them for a TRANSPOSE of this shape."""
    found = steps((36, 132, 3, 27), (0, 2, 1, 3), any_order=False)
    assert [step.order for step in found] == [(1, 0, 2), (0, 2, 1), (2, 1, 0), (0, 2, 1), (1, 0, 2)]
