"""The task that tells what quality means, and its samples for calibration, search and evaluation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hwmodels.errors import FileError, UsageError
from hwmodels.parts.elsewhere import advice, given
from hwsearch.problem.request import Request
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.tasks import registry as tasks
from searchspaces.tasks.task import Samples, Signature, Task
from searchspaces.tracing.recurrent import Recurrent

QUICK_CROPS = 4
"""A quick run calibrates on every fourth crop: for the built-in network its chosen plan loses 0.144 dB where all crops give
0.150."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Disjoint samples of a task for its three uses; ``crops`` are those of the calibration, for pictures patches of them."""

    crops: list[Any]
    calibration: list[str]
    search: list[Any]
    evaluation: list[Any]
    task: Task

    @property
    def sha256(self) -> str:
        """Of all pixels that are used, and for what."""
        digest = hashlib.sha256()
        for pairs in (self.crops, self.search, self.evaluation):
            digest.update(len(pairs).to_bytes(8, "little"))
            for pair in pairs:
                digest.update(pair.low.numpy().tobytes())
                digest.update(pair.high.tobytes())
        return digest.hexdigest()


def choose_task(request: Request, network: LoadedNetwork) -> Task:
    """What quality means for this network: what was asked for, or what its samples show."""
    size = request.input_size or network.size or Signature.size
    contract = Signature(network.scale, network.channels, network.input_kind, size, network.only, network.multiple)
    return tasks.choose(request.task or network.task or None, request.images, contract)


def choose_pictures(request: Request, network: LoadedNetwork) -> Pictures:
    """Samples for calibration, search and evaluation, disjoint: the shipped photos, or the user's; in sizes that the network of
    a problem takes.

    Raises:
        FileError: they cannot be used, are smaller than the one size that the network takes, or the task gives no samples.
    """
    task = choose_task(request, network)
    if isinstance(network.module, Recurrent) and not task.sequences:
        raise UsageError(
            f"{network.name} keeps state between the frames of a video, and samples of the task {task.name} are single pictures",
            f"Ask for --task {' or '.join(name for name, other in tasks.known().items() if other.sequences)}.",
        )
    found = _looked_at(task.samples(request.images, request.seed, network.module), task)
    step = max(1, min(QUICK_CROPS, len(found.calibration) // 2)) if request.quick else 1  # calibration needs two
    crops = found.calibration[::step]
    return Pictures(task.fitted(crops), found.sources, task.fitted(found.search), task.fitted(found.evaluation), task)


def _looked_at(samples: Samples, task: Task) -> Samples:
    """What a task, which may be somebody else's, gave. Raises FileError where a role has no samples, or inputs that are none."""
    name, check = f"the task {task.name}", "check_task"
    given(samples, Samples, name, check)
    for role in ("calibration", "search", "evaluation"):
        found = getattr(samples, role)
        if not found:
            raise FileError(f"{name} gave no samples for the {role}", advice(check))
        for sample in found:
            given(sample.low, Tensor, f"the input (`low`) of a sample for the {role} of {name}", check)
    return samples
