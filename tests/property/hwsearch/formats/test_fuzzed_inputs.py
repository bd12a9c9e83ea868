"""Fuzzed device files and weights: refused with a reason, or read and usable; never another exception.

``tests/bench/damaged_files.py`` runs as many as wanted.
"""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import file_fuzzer
import numpy as np
import pytest
import torch

from hwmodels.device import reader
from hwmodels.errors import FileError, HwsearchError
from hwsearch.plans import pricing
from hwsearch.problem.pose import Request
from searchspaces.networks.registry import build, load

BATCHES = 6


def price(path: Path) -> None:
    """Everything that a device file promises, used once."""
    device = reader.load(str(path))
    bits = f"W{device.weight_formats[-1].bits}A{device.tensor_formats[-1].bits}"
    found = pricing.estimate(Request(network="espcn", target=str(path), input_size=(24, 32)), bits)
    assert np.isfinite(found.latency_s)
    assert found.latency_s >= 0
    assert found.weight_bytes > 0


@pytest.mark.parametrize("batch", range(BATCHES))
def test_device_files(batch: int, tmp_path: Path) -> None:
    files = sorted(reader.FOLDER.glob("*.toml"))
    path = tmp_path / "board.toml"
    for seed in range(25):
        path.write_bytes(file_fuzzer.damaged_device(files, random.Random(1000 * batch + seed)))
        with contextlib.suppress(HwsearchError):
            price(path)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_weights(batch: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = build("espcn")
    state = dict(whole.state_dict())
    for seed in range(40):
        ending, data = file_fuzzer.damaged_weights(state, random.Random(1000 * batch + seed))
        path = tmp_path / f"w{ending}"
        path.write_bytes(data)
        try:
            network = load("espcn", weights=path)
        except FileError as error:
            assert error.message  # noqa: PT017 (a refusal is one of the two right answers)
            continue
        for key, value in network.module.state_dict().items():
            assert value.shape == state[key].shape
            assert torch.isfinite(value).all()
