"""Whether polishing helped is decided by what a mean PSNR loses, as wherever it is decided whether a training did."""

from __future__ import annotations

from dataclasses import replace

import pytest
from byte_ends import draft_of

from hwsearch.contracts import tiny_calibration
from hwsearch.quant.learn import polish
from hwsearch.quant.learn.held_out import loss
from hwsearch.quant.method import Draft
from hwsearch.quant.network.graph import QuantizedGraph


@pytest.fixture(scope="module")
def draft() -> Draft:
    found = draft_of(tiny_calibration((3, 4, 8), (3, 4, 8), "mse"), 4, 4)
    return replace(found, pictures=found.pictures * 4, effort=0.01)


@pytest.mark.parametrize("helped", [True, False])
def test_the_loss_of_held_windows_decides(draft: Draft, helped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[QuantizedGraph] = []

    def told(found: QuantizedGraph, held: object, network: object) -> float:
        asked.append(found)
        return float((found is draft.quantized) == helped)

    monkeypatch.setattr(polish, "loss_on", told)
    found = polish.polish(draft)
    assert len(asked) == 2
    assert found.layers is (asked[1] if helped else draft.quantized).layers
    assert asked[0] is draft.quantized


def test_the_loss_is_that_of_all_trainings() -> None:
    assert polish.loss_on is loss
