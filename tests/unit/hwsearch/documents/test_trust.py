"""How far latencies can be trusted: the mark beside one, the sentence below a table, and what documents say."""

from __future__ import annotations

import pytest

from hwmodels.device import catalogue
from hwmodels.fitting.agreement import Doubt
from hwsearch.documents import trust, units
from hwsearch.documents.trust import Trust

DOUBT = Doubt(0.25, 0.1, "a table", 3)


def test_a_device_without_measurements_is_marked() -> None:
    known = Trust("Board", False, None)
    assert known.mark(None) == f" ({units.NO_MEASUREMENT})"
    assert known.below == units.NEVER_MEASURED.format("Board")
    assert known.interval_s(1.0) is None


def test_an_interval_stands_beside_a_latency_where_one_is_known() -> None:
    known = Trust("Board", True, DOUBT)
    assert known.interval_s(0.01) == pytest.approx((0.008, 0.01 / 0.75))
    assert known.mark(known.interval_s(0.01)) == " (90 %: 8.00 to 13.3 ms, by a table)"
    assert "within 25%" in known.below
    assert "below 10% are not significant" in known.below


def test_results_of_earlier_versions_say_nothing() -> None:
    known = Trust("Board", None, None)
    assert (known.mark(None), known.below) == ("", "")


def test_few_measurements_make_no_interval_and_that_is_said() -> None:
    known = Trust("Board", True, None)
    assert known.mark(known.interval_s(1.0)) == f" ({units.FEW_MEASUREMENTS})"
    assert known.below == units.FEWER_MEASURED.format("Board", 10)


@pytest.mark.parametrize(
    ("name", "compared", "bounded"), [("jetson", False, False), ("hexagon", True, True), ("tesla-t4", True, False)]
)
def test_of_devices_that_ship(name: str, compared: bool, bounded: bool) -> None:
    found = trust.document(catalogue.load(name), 0.01)
    assert found["compared"] == compared
    assert (found["interval_s"] is not None) == bounded
