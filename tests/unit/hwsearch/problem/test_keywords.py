"""Requests in Python's words."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

import hwsearch
from hwmodels.errors import UsageError
from hwsearch.problem import keywords
from hwsearch.problem.request import Request


def test_paths_and_lists_as_people_write_them() -> None:
    found = keywords.request(
        {
            "weights": "w.pth",
            "images": "photos",
            "weight_bits": [4, 8],
            "methods": "mse",
            "input_size": [24, 32],
            "target": Path("b.toml"),
        }
    )
    assert found == Request(
        weights=Path("w.pth"), images=Path("photos"), weight_bits=(4, 8), methods=("mse",), input_size=(24, 32), target="b.toml"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"bugdet": "latency=8ms"}, "no argument 'bugdet'. Did you mean budgets"),
        ({"model": nn.ReLU()}, "model is ReLU, not text"),
        ({"network": nn.ReLU()}, "network is ReLU, not text"),
        ({"target": 3}, "target is int, not text"),
        ({"input_size": "540x960"}, "input_size: Input should be a valid tuple"),
        ({"input_size": (64, 64, 3)}, "input_size: Tuple should have at most 2 items"),
        ({"input_size": 64}, "input_size: Input should be a valid tuple"),
        ({"images": 5}, "images: Input is not a valid path"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
        ({"budget": 3}, "budget 3 is no text"),
        ({"budget": ["latency=8ms", 3]}, "budget 3 is no text"),
        ({"budget": {"latency": "8"}}, "has no unit"),
        ({"methods": 5}, "methods.0: Input should be a valid string"),
        ({"methods": [None]}, "methods.0: Input should be a valid string"),
        ({"input_channels": 5}, "input_channels: Input should be"),
        ({"scale": [2]}, "no number"),
        ({"storage": 5, "study": "x"}, "storage: Input should be a valid string"),
        ({"arguments": 5}, "arguments: Input should be"),
        ({"branches": {"a": 3}}, "branches"),
        ({"methods": "none"}, "no quantization method is called 'none'"),
    ],
)
def test_what_is_wrong_is_told(given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        hwsearch.optimize(**given)  # type: ignore[arg-type]  # what people hand in
