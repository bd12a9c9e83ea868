"""A plan is polished from fitted layers and as calibrated; pictures that neither saw decide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from byte_ends import draft_of

from hwsearch.contracts import tiny_calibration
from hwsearch.quant.learn import starts
from hwsearch.quant.learn.held_out import apart, loss
from hwsearch.quant.learn.kept import Kept
from hwsearch.quant.method import Draft
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph


@pytest.fixture(scope="module")
def draft() -> Draft:
    found = draft_of(tiny_calibration((3, 4, 8), (3, 4, 8), "together"), 4, 4)
    return replace(found, pictures=found.pictures * 4, effort=0.01)


def spoilt(plan: QuantizedGraph) -> QuantizedGraph:
    """Without weights."""
    found = {n: replace(k, weight=k.weight * 0) if isinstance(k, LayerIntegers) else k for n, k in plan.layers.items()}
    return replace(plan, layers=found)


def same(one: QuantizedGraph, other: QuantizedGraph) -> bool:
    pairs = [(one.layers[name], other.layers[name]) for name in one.layers]
    return all((a.weight == b.weight).all() for a, b in pairs if isinstance(a, LayerIntegers) and isinstance(b, LayerIntegers))


@pytest.mark.parametrize("better", ["fitted", "calibrated"])
def test_the_better_one_is_taken(draft: Draft, better: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what is left after polishing, and not by what is lost before: polishing ruins one of them here."""
    held, seen = apart(draft.pictures, 0)
    fitted = replace(draft, pictures=seen, quantized=replace(draft.quantized))
    ruined = draft.quantized if better == "fitted" else fitted.quantized
    given: list[Draft] = []

    def polish(start: Draft, **options: object) -> QuantizedGraph:
        given.append(start)
        return spoilt(start.quantized) if start.quantized is ruined else start.quantized

    monkeypatch.setattr(starts, "with_reconstructed_layers", lambda draft, seed: fitted)
    monkeypatch.setattr(starts, "polish", polish)
    found = starts.polished(draft)
    assert [start.pictures for start in given] == [seen, seen]
    assert found.quantized is (fitted if better == "fitted" else draft).quantized
    assert loss(found.quantized, held, draft.target) < loss(spoilt(ruined), held, draft.target)


def test_a_fit_that_was_not_taken_is_no_second_start(draft: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Draft] = []
    monkeypatch.setattr(starts, "with_reconstructed_layers", lambda draft, seed: draft)
    monkeypatch.setattr(starts, "polish", lambda start, **options: begun.append(start) or start.quantized)
    assert starts.polished(draft).quantized is draft.quantized
    assert len(begun) == 1


def test_each_goes_on_from_where_it_was(draft: Draft, tmp_path: Path) -> None:
    """Two loops of one training, that do not take each other's place."""
    shares: list[float] = []
    found = starts.polished(replace(draft, kept=Kept(tmp_path, 0.0)), progress=lambda what, share: shares.append(share))
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["polish", "polish_as_calibrated"]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    again = starts.polished(replace(draft, kept=Kept(tmp_path, 0.0)))
    assert same(again.quantized, found.quantized)
