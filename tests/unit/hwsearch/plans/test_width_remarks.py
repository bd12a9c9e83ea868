"""Widths that a device does not offer are told once for all that share them, not layer by layer."""

from __future__ import annotations

import pytest

from hwsearch.cli.app import main
from hwsearch.plans.pricing import _remarks
from searchspaces.ir.lower import to_workload
from searchspaces.networks import registry
from searchspaces.space import build_space
from searchspaces.tracing.trace import trace


def test_one_sentence_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--network", "fsrcnn", "--target", "hexagon", "--plan", "W3A5"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert "all 8 layers get 4 bits: 3 bits are not available there" in said
    assert "all 9 tensors get 8 bits: 5 bits are not available there" in said
    assert not [line for line in said if "first_part" in line]


def test_a_few_are_named() -> None:
    graph = trace(registry.build("fsrcnn", 2), 1, "fsrcnn")
    space = build_space(to_workload(graph, 12, 16), (4, 8), (8,))
    asked: list[int | None] = [3, 4, 3, 4, 3, 3, 4, 5, *[None] * len(space.group_names)]
    said = _remarks(space, space.nearest([bits or 8 for bits in asked]), asked)
    assert said == (
        "4 of 8 layers get 4 bits: 3 bits are not available there (first_part.0, mid_part.2, mid_part.6, ...)",
        "layer last_part gets 8 bits: 5 bits are not available there",
    )
