"""Trainings that are stopped in their middle go on, and end with the integers of one that never stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import byte_ends
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from hwsearch.contracts import tiny_calibration
from hwsearch.quant.learn import bounds, polish, together
from hwsearch.quant.learn.distillation import FULL, Distillation, Phase
from hwsearch.quant.learn.features import of_directions
from hwsearch.quant.learn.kept import STATE, Kept
from hwsearch.quant.method import Draft, Progress
from hwsearch.quant.network.graph import QuantizedGraph
from hwsearch.quant.network.storage import digest

Training = Callable[[Draft, Progress], QuantizedGraph]
TOGETHER = together.Hyperparameters(24, weights=0.01, scales=1e-3, biases=0.2, ends=2e-3)
DISTILLATION = Distillation(
    (Phase("tensors", 12, 5e-2, 1e-2), Phase("increments", 12, 2e-2, 1e-3)), 0.0, of_directions, 2, rank=FULL
)
MODULES = Distillation(
    (Phase("modules", 12, 2e-2, 1e-3), Phase("all", 12, 2e-2, 1e-3)), 0.0, of_directions, 2, rank=2, added=("scales",)
)
TRAININGS: dict[str, Training] = {
    "bounds": lambda draft, progress: bounds.train(draft, DISTILLATION, 0, progress),
    "modules": lambda draft, progress: bounds.train(draft, MODULES, 0, progress),
    "polish": lambda draft, progress: polish.polish(draft, steps=24, progress=progress),
    "together": lambda draft, progress: together.train(draft, TOGETHER, 0, progress),
}


def four_bits() -> Draft:
    """Four bits but for the pictures at both ends: there is much to train."""
    return byte_ends.draft_of(tiny_calibration((4, 8), (4, 8), "minmax"), 4, 4)


class Stopped(Exception):
    pass


def counting(stop_at: int | None = None) -> tuple[list[float], Progress]:
    """The shares of the work that were told, and what is told them; it stops the training at one of them."""
    told: list[float] = []

    def progress(what: str, share: float) -> None:
        told.append(share)
        if len(told) == stop_at:
            raise Stopped

    return told, progress


@pytest.mark.parametrize("stop_at", [1, 9, 17, 23])
@pytest.mark.parametrize("name", TRAININGS)
def test_a_stopped_training_goes_on_to_the_same_integers(name: str, stop_at: int, tmp_path: Path) -> None:
    train, draft = TRAININGS[name], four_bits()
    told, progress = counting()
    whole = train(draft, progress)
    assert len(told) == 24
    assert digest(whole) != digest(draft.quantized)
    with pytest.raises(Stopped):
        train(replace(draft, kept=Kept(tmp_path, every_s=0)), counting(stop_at)[1])
    kept, (told, progress) = Kept(tmp_path, every_s=0), counting()
    found = train(replace(four_bits(), kept=kept), progress)
    assert len(told) == 24 - stop_at + 1  # the step that was stopped is done again
    assert told[-1] == pytest.approx(1.0)
    assert digest(found) == digest(whole)
    assert (kept.earlier_s > 0) == (stop_at > 1)


def test_a_finished_loop_is_not_done_again(tmp_path: Path) -> None:
    draft = replace(four_bits(), kept=Kept(tmp_path))
    first = TRAININGS["together"](draft, counting()[1])
    told, progress = counting()
    assert digest(TRAININGS["together"](draft, progress)) == digest(first)
    assert not told


def test_a_training_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """Its file tells nothing of losses that were not finite."""
    with pytest.raises(Stopped):
        TRAININGS["polish"](replace(four_bits(), kept=Kept(tmp_path, every_s=0)), counting(9)[1])
    file = tmp_path / "polish.safetensors"
    with safe_open(file, framework="pt") as kept:
        state = json.loads(kept.metadata()[STATE])
        tensors = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118  # no mapping
    del state["met"]
    save_file(tensors, file, {STATE: json.dumps(state)})
    told, progress = counting()
    found = TRAININGS["polish"](replace(four_bits(), kept=Kept(tmp_path)), progress)
    assert len(told) == 24 - 9 + 1
    assert digest(found) == digest(TRAININGS["polish"](four_bits(), counting()[1]))


@pytest.mark.parametrize("damage", [b"", b"\0" * 64, None])
def test_a_damaged_file_counts_as_none(damage: bytes | None, tmp_path: Path) -> None:
    """None: a file of another training, with other numbers in it."""
    draft = replace(four_bits(), kept=Kept(tmp_path, every_s=0))
    whole = TRAININGS["polish"](draft, counting()[1])
    if damage is None:
        TRAININGS["together"](draft, counting()[1])
        (tmp_path / "together.safetensors").replace(tmp_path / "polish.safetensors")
    else:
        (tmp_path / "polish.safetensors").write_bytes(damage)
    told, progress = counting()
    assert digest(TRAININGS["polish"](draft, progress)) == digest(whole)
    assert len(told) == 24


FOLDERS = (str(Path(__file__).parent), str(Path(byte_ends.__file__).parent))
"""Of this file, and of what tests share."""
KILLED = """
import sys, time
sys.path[:0] = sys.argv[2:]
from dataclasses import replace
from pathlib import Path
from test_kept import TRAININGS, Kept, four_bits
TRAININGS["together"](replace(four_bits(), kept=Kept(Path(sys.argv[1]), every_s=0)), lambda what, share: time.sleep(0.2))
"""


def test_a_killed_process_leaves_a_training_that_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "together.safetensors"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), *FOLDERS])
    until = time.monotonic() + 120
    while not file.is_file() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    with safe_open(file, framework="numpy") as kept:
        assert kept.metadata()["hwsearch"]
    told, progress = counting()
    found = TRAININGS["together"](replace(four_bits(), kept=Kept(tmp_path)), progress)
    assert 0 < len(told) < 24
    assert digest(found) == digest(TRAININGS["together"](four_bits(), counting()[1]))
