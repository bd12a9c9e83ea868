"""Scales in documents: whole ones as ever, fractions exactly, and nothing else."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from synthetic_results import results

from hwmodels.errors import FileError, UsageError
from hwsearch.documents import reading
from hwsearch.documents.files import jsonable, write_json
from hwsearch.documents.plan import Plan
from hwsearch.problem.request import Request


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return results(tmp_path).front[0]


def test_whole_scales_are_written_and_hashed_as_ever(plan: Plan) -> None:
    assert jsonable(plan)["scale"] == 2
    assert type(jsonable(plan)["scale"]) is int
    assert type(plan.origin["scale"]) is int
    made = [plan.network, 2, plan.target, plan.weight_bits, plan.activation_bits, None]
    assert plan.key == hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


@pytest.mark.parametrize(("scale", "spelled"), [(Fraction(3, 2), "1.5"), (Fraction(4, 3), "4/3")])
def test_a_plan_with_a_fraction_is_read_as_it_was_written(plan: Plan, scale: Fraction, spelled: str, tmp_path: Path) -> None:
    made = plan.model_copy(update={"scale": scale}).sealed()
    write_json(tmp_path / "plan.json", made)
    assert json.loads((tmp_path / "plan.json").read_text())["scale"] == spelled
    read = reading.read(tmp_path / "plan.json", Plan, "a plan")
    assert read == made
    assert read.edited == ()
    assert read.key == made.key != plan.key
    assert Plan.model_validate_json(made.model_dump_json()) == made
    other = read.model_copy(update={"scale": Fraction(5, 3)})
    assert "x5/3" in other.edited[0]


@pytest.mark.parametrize(
    ("scale", "why"),
    [
        (0, "not above 0"),
        (-1, "not above 0"),
        ("nan", "no number"),
        ("1.5x", "no number"),
        ("1/0", "no number"),
        (1.3333, "Is 4/3 meant"),
        ("1000000/999999", "too fine"),
        (True, "no number"),
        ([3, 2], "a scale is a number"),
        (None, "a scale is a number"),
        (10**6, "too large"),
    ],
)
def test_a_plan_with_a_bad_scale_is_refused(plan: Plan, scale: Any, why: str, tmp_path: Path) -> None:
    write_json(tmp_path / "plan.json", jsonable(plan) | {"scale": scale})
    with pytest.raises(FileError, match="scale") as refused:
        reading.read(tmp_path / "plan.json", Plan, "a plan")
    assert why in refused.value.message


def test_a_request_means_one_number_however_it_is_said(tmp_path: Path) -> None:
    said: list[Any] = [1.5, "1.5", "3/2", Fraction(6, 4)]
    assert {Request(scale=scale).scale for scale in said} == {Fraction(3, 2)}
    document = jsonable(Request(scale=Fraction(3, 2)))
    assert document["scale"] == "1.5"
    assert reading.checked(document, Request, tmp_path, "a request").scale == Fraction(3, 2)
    with pytest.raises(UsageError, match="too fine"):
        Request(scale=1.3333)  # type: ignore[arg-type]
