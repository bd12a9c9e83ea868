"""The shipped agreement is what the models give today, for every reader of outside figures.

The phones' fits take minutes; ``test_aihub`` repeats two boards of thirteen, ``tests/bench/agreement.py`` all of them.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from oracle import aihub, summary

from hwmodels.fitting import agreement

QUICK = [module for module in summary.readers() if module is not aihub]


@pytest.mark.parametrize("reader", QUICK, ids=[module.__name__ for module in QUICK])
def test_shipped_agreement_is_what_the_models_give_today(shared: Path, reader: ModuleType) -> None:
    for today in summary.agreements(reader.rows(shared)):
        same = (today.quantity, today.source)
        (shipped,) = (entry for entry in agreement.of(today.device) if (entry.quantity, entry.source) == same)
        assert (shipped.kind, shipped.rows, shipped.left_out) == (today.kind, today.rows, today.left_out)
        assert shipped.median_error == pytest.approx(today.median_error, abs=0.005)
        assert shipped.p90_error == pytest.approx(today.p90_error, abs=0.01)
        assert dict(shipped.baselines) == pytest.approx(dict(today.baselines), abs=0.01)


def test_nothing_is_shipped_that_no_reader_gives(shared: Path) -> None:
    sources = {row.source for module in QUICK for row in module.rows(shared)} | {aihub.SOURCE}
    assert {entry.source for entry in agreement.parse(agreement.FILE.read_text(encoding="utf-8"))} == sources
