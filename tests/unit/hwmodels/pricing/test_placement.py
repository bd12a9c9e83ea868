"""Greedy placement against its worked example, and against a placement by asking every offset."""

import numpy as np
import pytest

from hwmodels.pricing.placement import place

NAMES = "abcd"


def test_the_worked_example_leaves_a_gap() -> None:
    sizes, first, last = np.array([60, 50, 40, 30]), np.array([0, 2, 1, 2]), np.array([1, 4, 2, 3])
    assert dict(zip(NAMES, place(sizes, first, last).tolist(), strict=True)) == {"a": 0, "b": 0, "c": 60, "d": 100}
    alive = [int(sizes[(first <= step) & (step <= last)].sum()) for step in range(5)]
    assert max(alive) == alive[2] == 120


def test_equal_sizes_keep_their_order_and_empty_ones_lie_nowhere() -> None:
    same = np.zeros(4, dtype=np.int64)
    assert place(np.array([8, 0, 8, 16]), same, same).tolist() == [16, -1, 24, 0]


@pytest.mark.parametrize("seed", range(20))
def test_every_buffer_lies_at_the_lowest_free_offset(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 30))
    sizes, first = rng.integers(0, 12, count), rng.integers(0, 15, count)
    last = first + rng.integers(0, 8, count)
    offsets, taken = place(sizes, first, last), np.zeros((int(last.max()) + 1, int(sizes.sum()) + 1), dtype=bool)
    for buffer in sorted(range(count), key=lambda b: -sizes[b]):
        size, steps = sizes[buffer], slice(first[buffer], last[buffer] + 1)
        if not size:
            assert offsets[buffer] == -1
            continue
        lowest = next(at for at in range(taken.shape[1]) if not taken[steps, at : at + size].any())
        assert offsets[buffer] == lowest
        taken[steps, lowest : lowest + size] = True
