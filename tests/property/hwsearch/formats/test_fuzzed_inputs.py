"""Fuzzed device files and weights: refused with a reason, or read and usable; never another exception.

``tests/bench/damaged_files.py`` runs as many as wanted.
"""

from __future__ import annotations

import random
from pathlib import Path

import file_fuzzer
import numpy as np
import torch

from hwmodels.device import reader
from hwmodels.errors import FileError, HwsearchError
from hwsearch.plans import pricing
from hwsearch.problem.request import Request
from searchspaces.networks.registry import build, load


def price(path: Path) -> None:
    """Everything that a device file promises, used once."""
    device = reader.load(str(path))
    bits = f"W{device.weight_formats[-1].bits}A{device.tensor_formats[-1].bits}"
    found = pricing.estimate(Request(network="espcn", target=str(path), input_size=(24, 32)), bits)
    assert np.isfinite(found.latency_s)
    assert found.latency_s >= 0
    assert found.weight_bytes > 0


def test_device_files(tmp_path: Path) -> None:
    files = sorted(reader.FOLDER.glob("*.toml"))
    path, tally = tmp_path / "board.toml", file_fuzzer.Tally()
    for seed in range(150):
        path.write_bytes(file_fuzzer.damaged_device(files, random.Random(seed)))
        with tally.judging(HwsearchError):
            price(path)
    tally.check()


def test_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = build("espcn")
    state, tally = dict(whole.state_dict()), file_fuzzer.Tally()
    for seed in range(240):
        ending, data = file_fuzzer.damaged_weights(state, random.Random(seed))
        path = tmp_path / f"w{ending}"
        path.write_bytes(data)
        with tally.judging(FileError):
            network = load("espcn", weights=path)
            for key, value in network.module.state_dict().items():
                assert value.shape == state[key].shape
                assert torch.isfinite(value).all()
    tally.check()
