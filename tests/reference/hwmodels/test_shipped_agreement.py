"""The shipped agreement is what the models give today, for every reader of outside figures.

The phones' fits take minutes; ``test_aihub`` repeats two boards of thirteen, ``tests/bench/agreement.py`` all of them. So do
hundreds of whole files for Ethos-U, of which some are repeated here.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from oracle import aihub, summary, whole_files

from hwmodels.device import catalogue
from hwmodels.fitting import agreement

QUICK = [module for module in summary.readers() if module not in (aihub, whole_files)]


def test_shipped_agreement_is_what_the_models_give_today(shared: Path) -> None:
    """And nothing is shipped that no reader gives."""
    sources = {aihub.SOURCE, whole_files.SOURCE}
    for reader in QUICK:
        rows = reader.rows(shared)
        sources |= {row.source for row in rows}
        for today in summary.agreements(rows):
            about = f"{today.device}, {today.quantity}, {today.source}"
            same = (today.quantity, today.source, today.single_layers)
            (shipped,) = (
                entry for entry in agreement.of(today.device) if (entry.quantity, entry.source, entry.single_layers) == same
            )
            assert (shipped.kind, shipped.rows, shipped.how) == (today.kind, today.rows, today.how), about
            assert shipped.median_error == pytest.approx(today.median_error, abs=0.005), about
            assert shipped.p90_error == pytest.approx(today.p90_error, abs=0.01), about
            assert dict(shipped.baselines) == pytest.approx(dict(today.baselines), abs=0.01), about
    assert {entry.source for entry in agreement.parse(agreement.FILE.read_text(encoding="utf-8"))} == sources


REPEATED = [figure for figure in whole_files.figures() if figure.seed == 1603]


@pytest.mark.parametrize("target", sorted({figure.target for figure in REPEATED}))
def test_prices_of_whole_files_lie_within_the_interval_that_is_shown(target: str) -> None:
    """In nine of ten figures that no mend had looked at; two more may miss of these 18."""
    known = agreement.doubt(catalogue.load(target))
    assert known is not None
    figures = [figure for figure in REPEATED if figure.target == target]
    inside = 0
    for figure in figures:
        low_s, high_s = known.interval_s(whole_files.priced(figure)[0])
        inside += low_s <= figure.seconds <= high_s
    assert len(figures) == 18
    assert inside >= 14
