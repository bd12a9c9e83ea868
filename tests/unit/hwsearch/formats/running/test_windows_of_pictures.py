"""Windows that cover a picture, and what is said of those that do not."""

from __future__ import annotations

import pytest

from hwmodels.errors import UsageError
from hwsearch.formats.running.windows import windows


@pytest.mark.parametrize(("length", "side", "halo", "step"), [(100, 24, 4, 4), (24, 24, 9, 1), (61, 21, 5, 8), (50, 12, 0, 1)])
def test_every_pixel_is_kept_once_and_away_from_the_ends(length: int, side: int, halo: int, step: int) -> None:
    found = windows(length, side, halo, step)
    assert [pixel for _, kept, end in found for pixel in range(kept, end)] == list(range(length))
    for start, kept, end in found:
        assert start % step == 0
        assert start == 0 or kept - start >= halo
        assert start + side == length or start + side - end >= halo


@pytest.mark.parametrize(
    ("length", "side", "halo", "step", "hint"),
    [
        (100, 120, 4, 1, "pictures of at least 120"),
        (100, 8, 4, 1, "windows of at least 9 pixels"),
        (100, 25, 4, 4, "multiple of 4"),
    ],
)
def test_the_hint_is_what_helps(length: int, side: int, halo: int, step: int, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        windows(length, side, halo, step)
    assert hint in refused.value.hint
