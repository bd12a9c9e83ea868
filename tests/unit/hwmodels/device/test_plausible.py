"""Numbers in another unit are told when a device file is checked; no device that ships is doubted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwmodels.device import catalogue, reader
from hwmodels.device.plausible import unlikely
from hwsearch.cli import main

BOARD = reader.shipped_text("stm32h743")


@pytest.mark.parametrize("name", sorted({catalogue.load(name).name for name in catalogue.names()}))
def test_devices_that_ship_are_likely(name: str) -> None:
    assert unlikely(catalogue.load(name)) == []


def changed(line: str, new: str) -> str:
    (old,) = [one for one in BOARD.splitlines() if one.startswith(line)]
    return BOARD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed("clock_hz", "clock_hz = 480"), "mcu.clock_hz is 480 Hz, below 100 kHz"),
        (
            changed("peak_activation_bytes", "peak_activation_bytes = 1e9"),
            "limits.peak_activation_bytes is 953.7 MiB, and the memories",
        ),
        (
            "\n".join(line for line in BOARD.splitlines() if not line.startswith(("weight_bytes", "peak_activation_bytes"))),
            "every network fits",
        ),
    ],
)
def test_another_unit_is_told(tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "board.toml"
    file.write_text(text)
    assert main(["devices", "check", str(file), "--json"]) == 0
    (doubt,) = json.loads(capsys.readouterr().out)["unlikely"]
    assert said in doubt
    assert main(["devices", "check", str(file)]) == 0
    assert "Unlikely: " in capsys.readouterr().out
