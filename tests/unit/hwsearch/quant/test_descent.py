"""Forms chosen part by part: never worse than the best set, each part the best beside the others, equals by their order."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest

from hwsearch.quant.descent import descended

MAKERS = ("a", "b", "c")
Form = tuple[str, str]


def forms(parts: int) -> dict[str, dict[str, Form]]:
    return {f"p{i}": {maker: (f"p{i}", maker) for maker in MAKERS} for i in range(parts)}


class Harm:
    """Of forms that disturb each other: what each does alone, and what neighbours do together."""

    def __init__(self, parts: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.alone = {form: rng.normal() for own in forms(parts).values() for form in own.values()}
        self.together = {(one, other): rng.normal() for one in self.alone for other in self.alone}
        self.asked: list[tuple[Form, ...]] = []

    def __call__(self, taken: Mapping[str, Form]) -> float:
        self.asked.append(tuple(taken.values()))
        return sum(self.alone[form] for form in taken.values()) + sum(self.together[pair] for pair in pairwise(taken.values()))

    def of(self, taken: Mapping[str, str]) -> float:
        return self({part: (part, maker) for part, maker in taken.items()})


@pytest.mark.parametrize("seed", range(20))
def test_the_outcome_is_no_worse_than_any_set_and_best_at_the_last_part(seed: int) -> None:
    harm = Harm(5, seed)
    found = descended(forms(5), harm, lambda one, other: one == other)
    least = harm.of(found)
    assert least <= min(harm.of(dict.fromkeys(found, maker)) for maker in MAKERS)
    assert least == pytest.approx(min(harm.of({**found, "p4": maker}) for maker in MAKERS))


def test_forms_that_are_the_same_are_measured_once_and_the_first_named_is_told() -> None:
    harm = Harm(3, 0)
    made = forms(3)
    for own in made.values():
        own["b"] = own["a"]
    found = descended(made, harm, lambda one, other: one == other)
    assert "b" not in found.values()
    assert len(harm.asked) == len(set(harm.asked)) == 2 + 3
    for own in made.values():
        own["c"] = own["a"]
    harm.asked.clear()
    assert descended(made, harm, lambda one, other: one == other) == dict.fromkeys(made, "a")
    assert not harm.asked


def test_of_equals_the_first_named_is_taken() -> None:
    assert descended(forms(4), lambda taken: 0.0, lambda one, other: one == other) == dict.fromkeys(forms(4), "a")
    assert descended({}, lambda taken: 0.0, lambda one, other: one == other) == {}
