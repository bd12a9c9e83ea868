"""Budgets as people write them."""

from __future__ import annotations

import pytest

from hwmodels.errors import UsageError
from hwsearch.problem import budgets


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("latency=8ms", "latency", 0.008),
        ("latency=33 ms", "latency", 0.033),
        ("latency=0.01s", "latency", 0.01),
        ("latency=250µs", "latency", 250e-6),
        ("latency=250us", "latency", 250e-6),
        ("memory=512KiB", "memory", 524288.0),
        ("memory=512kib", "memory", 524288.0),
        ("memory=1MB", "memory", 1e6),
        ("weights = 1.5 MiB", "weights", 1572864.0),
        ("loss=0.3dB", "loss", 0.3),
        ("loss=0dB", "loss", 0.0),
        ("energy=2mJ", "energy", 0.002),
        ("latency=1e-3s", "latency", 0.001),
        ("mean_bits=4", "mean_bits", 4.0),
        ("mean_bits=4.5 bits", "mean_bits", 4.5),
        ("bitops=12G", "bitops", 12e9),
        ("bitops=12000000000", "bitops", 12e9),
        ("bitops=1.2t", "bitops", 1.2e12),
    ],
)
def test_units_become_si(text: str, key: str, value: float) -> None:
    assert budgets.parse([text]) == {key: pytest.approx(value, rel=1e-12)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency=8", "has no unit"),
        ("latency=8MB", "does not measure latency"),
        ("memory=8ms", "does not measure memory"),
        ("loss=0.3", "dB"),
        ("loss=-0.1dB", "more than floating point gives"),
        ("energy=2MJ", "does not measure energy"),
        ("loss=3%", "is not a number and a unit"),
        ("latency=0,3ms", "is not a number and a unit"),
        ("latency=fast", "is not a number and a unit"),
        ("latency=-8ms", "can never be met"),
        ("latency=0ms", "can never be met"),
        ("latency=1e999s", "can never be met"),
        ("latncy=8ms", "latency"),
        ("bitop=8G", "bitops"),
        ("bitops=8GB", "does not measure bitops"),
        ("mean_bits=4dB", "does not measure mean_bits"),
        ("mean_bits=0", "can never be met"),
        ("latency", "is not a budget"),
        ("latency=", "is not a budget"),
        ("", "is not a budget"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        budgets.parse([text])
    assert refused.value.hint


def test_an_objective_has_one_budget() -> None:
    with pytest.raises(UsageError, match="twice"):
        budgets.parse(["latency=8ms", "latency=9ms"])


def test_short_options_are_budgets() -> None:
    assert budgets.read(["latency=8ms"], 4.5, "12G") == {"latency": 0.008, "mean_bits": 4.5, "bitops": 12e9}
    assert budgets.read(None) == {}
    with pytest.raises(UsageError, match="twice"):
        budgets.read(["mean_bits=4"], 5)
    with pytest.raises(UsageError, match="can never be met"):
        budgets.read(None, -1)
