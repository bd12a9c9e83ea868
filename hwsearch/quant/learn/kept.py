"""Trainings that go on where they were stopped: what a loop of Adam has come to, kept on disk now and then.

A loop's whole state is the numbers that it trains, what Adam remembers of each, its rates, and where its random numbers stand.
All of it is written, bit by bit (safetensors, JSON in its metadata; nothing is unpickled), so a training that goes on ends with
the integers of one that was never stopped. Whatever follows a loop is computed again from its end, which is kept, too.

The folder belongs to one training: whoever names it answers for that (``runs.plan_cache`` names it after all that decides).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hwmodels.errors import FileError
from hwsearch.documents.files import replacing
from hwsearch.quant.learn.watched import Watch

Random = torch.Generator | np.random.Generator
EVERY_S = 20.0
"""Seconds between two times that a loop is written down: what a stop costs at most."""
STATE = "hwsearch"
"""The one entry of a file's metadata."""
GENERATOR = "generator"


@dataclass
class Kept:
    """Where the loops of a training leave what they have come to.

    ``folder``: of this training alone; ``earlier_s``: seconds that earlier processes have spent on what was taken from there.
    """

    folder: Path
    every_s: float = EVERY_S
    earlier_s: float = 0.0


@dataclass(frozen=True)
class _Loop:
    """What a loop's state is made of. ``random``: what draws; ``watch``: what it has met."""

    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    random: Random
    watch: Watch

    @property
    def trained(self) -> list[Tensor]:
        return [tensor for group in self.optimizer.param_groups for tensor in group["params"]]

    def write(self, path: Path, done: int, seconds: float) -> None:
        """Raises FileError where that is not possible."""
        tensors: dict[str, Tensor] = {}
        for i, tensor in enumerate(self.trained):
            remembered = self.optimizer.state.get(tensor, {})
            tensors |= {f"{i}.value": tensor.detach(), **{f"{i}.{name}": value for name, value in remembered.items()}}
        drawn: Any = None
        if isinstance(self.random, torch.Generator):
            tensors[GENERATOR] = self.random.get_state()
        else:
            drawn = self.random.bit_generator.state
        rates = [{name: value for name, value in group.items() if name != "params"} for group in self.optimizer.param_groups]
        state = {"done": done, "seconds": seconds, "rates": rates, "schedule": self.schedule.state_dict(), "random": drawn}
        state["met"] = self.watch.state()
        data = save({name: value.contiguous() for name, value in tensors.items()}, metadata={STATE: json.dumps(state)})
        with replacing(path) as temporary:
            temporary.write_bytes(data)

    def read(self, path: Path) -> tuple[int, float]:
        """Go on from a file: the steps that are done, and the seconds that they took. (0, 0) where there is none that fits, and
        nothing is changed then."""
        try:
            with safe_open(path, framework="pt") as file:
                state = json.loads(file.metadata()[STATE])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return 0, 0.0
        fits = len(state["rates"]) == len(self.optimizer.param_groups) and all(
            f"{i}.value" in tensors and tensors[f"{i}.value"].shape == tensor.shape for i, tensor in enumerate(self.trained)
        )
        if not fits:
            return 0, 0.0
        for i, tensor in enumerate(self.trained):
            own = {name.split(".", 1)[1]: value for name, value in tensors.items() if name.startswith(f"{i}.")}
            with torch.no_grad():
                tensor.copy_(own.pop("value"))
            if own:
                self.optimizer.state[tensor] = own
        for group, rates in zip(self.optimizer.param_groups, state["rates"], strict=True):
            group.update(rates)
        self.schedule.load_state_dict(state["schedule"])
        if isinstance(self.random, torch.Generator):
            self.random.set_state(tensors[GENERATOR])
        else:
            self.random.bit_generator.state = state["random"]
        self.watch.restore(state.get("met", {"done": state["done"]}))  # earlier versions wrote nothing of it
        return state["done"], state["seconds"]


def steps(
    kept: Kept | None,
    name: str,
    count: int,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    random: Random,
    watch: Watch,
) -> Iterator[int]:
    """The steps of a loop that are still to be done, ``0..count-1`` where nothing is kept of it; fewer where ``watch`` has seen
    enough.

    Args:
        kept: where it is kept; None: nowhere.
        name: of the loop, among those of its training.
        optimizer: Adam, or another whose memory is tensors alone.
        random: what the loop draws from, and nothing else does.
        watch: by which it takes its steps.
    """
    loop = _Loop(optimizer, schedule, random, watch)
    path = None if kept is None else kept.folder / f"{name}.safetensors"
    done, seconds = (0, 0.0) if path is None else loop.read(path)
    if kept is not None:
        kept.earlier_s += seconds
    written = started = time.monotonic()
    while done < count and not watch.ended:
        yield done
        done += 1
        now = time.monotonic()
        if kept is not None and path is not None and (done == count or watch.ended or now - written >= kept.every_s):
            with suppress(FileError):  # a full disk costs the way back, not the training
                loop.write(path, done, seconds + now - started)
            written = now
