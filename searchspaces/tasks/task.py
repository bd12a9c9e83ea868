"""What a network is for, and what quality means there: samples, state between the inputs of one sample, an error that adds up,
and a quality with a name and a unit.

A sample is one input, or a sequence of them (``Task.sequences``): the frames of a clip, behind one another on the first axis. A
network with state between frames hands it from one to the next and begins every sample anew, with zeros; whatever executes a
network (in floating point, simulated, in integers, by a runtime) does so by itself (``searchspaces.ir.graph.through_time``), so a
task only says what its sequences are and how their outputs are judged.

Quality is told in decibels of an error power, ``10 log10(reference / error)``, so that a search knows one thing about every
task: noise of independent choices adds to the error that the floating-point network already makes, and a loss is a ratio of the
two errors. What the error is taken of, and against what, is the task's business; nobody else knows the shape of an output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from searchspaces.data.pictures import InputKind
from searchspaces.data.scale import Scale

Network = Callable[[Tensor], Tensor]
"""A network as tasks see it: one input, a batch of one, to its output; or the inputs of a sequence to theirs."""


@dataclass(frozen=True)
class Quality:
    """What is measured: its name and its unit. More is better."""

    name: str
    unit: str


@dataclass(frozen=True)
class Signature:
    """What a network takes: ``scale`` of its output, ``channels`` of its input, whether pictures come enlarged, and the size
    ``(height, width)`` that inputs are brought to where a task must choose one. ``only``: the one size that it takes at all,
    None: any whose sides are multiples of ``multiple``."""

    scale: Scale
    channels: int
    input_kind: InputKind = "low"
    size: tuple[int, int] = (224, 224)
    only: tuple[int, int] | None = None
    multiple: int = 1


class Sample(Protocol):
    """One input: ``low``, a batch of one as the network receives it, or a sequence of N, and ``high``, what is right there, in
    the task's unit."""

    @property
    def name(self) -> str: ...
    @property
    def low(self) -> Tensor: ...
    @property
    def high(self) -> np.ndarray: ...


class Samples(NamedTuple):
    """Disjoint samples for the three uses: ranges are set on the first, plans compared on the second, results measured on the
    third. ``sources``: names of what the calibration was cut from."""

    calibration: list[Any]
    sources: list[str]
    search: list[Any]
    evaluation: list[Any]


class Figures(NamedTuple):
    """The task's ``quality`` and its ``second`` figure of one output."""

    quality: float
    second: float


class Task(ABC):
    """One kind of use. A task's file holds one class, called ``TASK``; it is found by its place in this folder.

    Attributes:
        name, summary: as it is listed and chosen.
        quality: what searches trade against cost, in dB; ``second``: what is told beside it.
        baseline_name: what a network must beat to be of use at all; empty where nothing simpler does the job.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    quality: ClassVar[Quality]
    second: ClassVar[Quality]
    enlarges: ClassVar[bool] = True
    """Whether the output is a picture of ``scale`` times the size of the input, with as many channels."""

    sequences: ClassVar[bool] = False
    """Whether a sample is a sequence, through which a network with state is run in order."""

    unit: ClassVar[float] = 1.0
    """How much a change of 1 in one value of the output changes in ``view``."""

    def __init__(self, contract: Signature) -> None:
        self.contract = contract

    @property
    def baseline_name(self) -> str:
        return ""

    @property
    def border(self) -> int:
        """Pixels at the rim of a picture that do not count."""
        return 0

    @abstractmethod
    def samples(self, source: Path | None, seed: int, network: Network) -> Samples:
        """The samples in ``source`` (None: what ships with the package) in their three roles.

        Args:
            network: in floating point, for tasks whose right answer is its own.
        Raises:
            FileError: ``source`` cannot be used.
        """

    def smallest_input(self, source: Path | None) -> tuple[int, int] | None:
        """Height and width that every input in ``source`` has at least, told without reading them; None where nothing tells.

        Raises:
            FileError: ``source`` cannot be used.
        """
        return None

    @abstractmethod
    def error(self, output: Tensor, sample: Sample) -> float:
        """Error power of an output as it is used, rounded and cut like there."""

    @abstractmethod
    def quality_of(self, error: float, sample: Sample) -> float:
        """``quality`` of an output with that error power, in its unit."""

    @abstractmethod
    def figures(self, output: Tensor, sample: Sample) -> Figures:
        """Both figures of one output."""

    @abstractmethod
    def view(self, output: Tensor) -> Tensor:
        """The output as quality sees it, differentiable, of any shape; mean squares of its changes are error power."""

    @abstractmethod
    def limited(self, output: Tensor) -> Tensor:
        """The output in the range that its user sees, differentiable inside it."""

    @abstractmethod
    def displayed(self, output: Tensor) -> Tensor:
        """The output as its user sees it: ``limited``, and rounded if that happens anyway."""

    @abstractmethod
    def target(self, sample: Sample) -> Tensor:
        """What ``view`` of the output should be."""

    def fitted(self, samples: Sequence[Any]) -> list[Any]:
        """The samples in sizes that the network takes, where its contract names any.

        Raises:
            FileError: one is too small.
        """
        return list(samples)

    @abstractmethod
    def windows(self, samples: Sequence[Any], values: float) -> list[Any]:
        """Fewer or smaller samples, of about ``values`` input positions in all; at least one."""

    @abstractmethod
    def patches(self, samples: Sequence[Any], seed: int) -> list[Any]:
        """A few small cuts of samples for a first look at a plan; empty where samples cannot be cut."""

    def baseline(self, sample: Sample) -> Figures | None:
        """What the simplest method reaches on a sample; None where there is none."""
        return None

    def picture(self, output: Tensor) -> np.ndarray | None:
        """The output as a picture ``[H, W]`` or ``[H, W, 3]`` in 0..255; None where it is none."""
        return None

    def simplest(self, sample: Sample) -> np.ndarray | None:
        """The picture behind ``baseline``."""
        return None
