"""Forms chosen part by part: no worse than the best of the makers where that is decided, equals by their order."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest

from hwsearch.quant.descent import chosen

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


def same(one: Form, other: Form) -> bool:
    return one == other


@pytest.mark.parametrize("seed", range(20))
def test_the_outcome_is_no_worse_than_any_maker_and_best_at_the_last_part(seed: int) -> None:
    harm = Harm(5, seed)
    found = chosen(forms(5), harm, harm, same)
    least = harm.of(found)
    assert least <= min(harm.of(dict.fromkeys(found, maker)) for maker in MAKERS)
    assert least == pytest.approx(min(harm.of({**found, "p4": maker}) for maker in MAKERS))


@pytest.mark.parametrize("seed", range(20))
def test_outcomes_are_judged_elsewhere(seed: int) -> None:
    harm, elsewhere = Harm(5, seed), Harm(5, seed + 100)
    found = chosen(forms(5), harm, elsewhere, same)
    apart = {part: min(MAKERS, key=lambda maker: harm.alone[part, maker]) for part in forms(5)}
    known = [*(dict.fromkeys(found, maker) for maker in MAKERS), apart]
    assert elsewhere.of(found) <= min(map(elsewhere.of, known))
    descended = chosen(forms(5), harm, harm, same)
    assert found in [*known, descended]
    assert set(elsewhere.asked) <= {tuple((part, one[part]) for part in one) for one in [*known, descended]}


def test_the_judges_do_decide() -> None:
    """Among 20 draws each kind of outcome wins somewhere."""
    kinds = set()
    for seed in range(20):
        harm, elsewhere = Harm(4, seed), Harm(4, seed + 100)
        found = chosen(forms(4), harm, elsewhere, same)
        apart = {part: min(MAKERS, key=lambda maker: harm.alone[part, maker]) for part in forms(4)}
        alone = len(set(found.values())) == 1
        kinds.add("alone" if alone else "apart" if found == apart else "descended")
    assert kinds == {"alone", "apart", "descended"}


def test_forms_that_are_the_same_are_measured_once_and_the_first_named_is_told() -> None:
    made = forms(3)
    for own in made.values():
        own["b"] = own["a"]
    harm = Harm(3, 0)
    assert "b" not in chosen(made, harm, harm, same).values()
    for own in made.values():
        own["c"] = own["a"]
    harm.asked.clear()
    assert chosen(made, harm, harm, same) == dict.fromkeys(made, "a")
    assert not harm.asked


def test_of_equals_the_first_named_is_taken() -> None:
    assert chosen(forms(4), lambda taken: 0.0, lambda taken: 0.0, same) == dict.fromkeys(forms(4), "a")
    assert chosen({}, lambda taken: 0.0, lambda taken: 0.0, same) == {}
