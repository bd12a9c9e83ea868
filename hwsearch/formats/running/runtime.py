"""What every runtime offers, and how its output is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import MismatchError
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import QuantizedGraph

Run = Callable[[Tensor], Tensor]
"""A network as a function: ``float32 [1, C, H, W]`` in 0..1 to the decoded output ``float32 [1, C, sH, sW]``."""


@dataclass(frozen=True)
class Apart:
    """An operator whose codes differ from the engine's although both read the same: its name and kind, how many of its ``codes``
    differ on a picture, and the largest distance."""

    name: str
    kind: str
    differing: int
    codes: int
    largest: int

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}): {self.differing:,} of {self.codes:,} codes, by up to {self.largest:,}"


@dataclass(frozen=True)
class Looked:
    """What every operator by itself has shown, on the codes that the runtime has before it. ``told``: it could be looked at;
    ``apart``: the first, in order of execution, that is not what the engine computes."""

    told: bool
    apart: Apart | None = None

    @property
    def agree(self) -> bool:
        """Whether all of them are known to be what the engine computes."""
        return self.told and self.apart is None


class CodesDifferError(MismatchError):
    """Two runs of the same integers differ; ``apart``: the first operator that does by itself, where it was found."""

    def __init__(self, message: str, hint: str = "", apart: Apart | None = None) -> None:
        super().__init__(message, hint)
        self.apart = apart


@dataclass(frozen=True)
class Tolerance:
    """How far a runtime's output codes may lie from the engine's: shares of all codes that may differ at all, and by more than
    one, and the reason. The default is that every code is equal.

    ``operators`` looks at every operator by itself on a picture: it finds the one at fault where too much differs. Where
    differences ``spread``, as behind islands of floating point, more than these shares may differ if all operators agree by
    themselves, since a deep network enlarges a code of difference.
    """

    differing: float = 0.0
    beyond_one: float = 0.0
    reason: str = "Every layer runs in integers, so they should be equal. Please report this with the plan and your CPU."
    operators: Callable[[Tensor], Looked] | None = field(default=None, compare=False)
    spread: bool = False


class Runtime(Protocol):
    """A quantized network made ready to run.

    Attributes:
        version: who runs, such as "onnxruntime 1.31.1".
        executed: the network as this runtime executes it; under its rule our engine must give the same codes.
        tolerance: how far they may differ.
        peak_bytes: working memory that the last run needed, as the runtime reports it; None where it does not.
        instructions: executed so far, by layer in execution order; None where they are not counted.
    """

    version: str
    executed: QuantizedGraph
    tolerance: Tolerance
    peak_bytes: int | None
    instructions: Mapping[str, int] | None

    def run(self, x: Tensor) -> Tensor:
        """``float32 [1, C, H, W]`` in 0..1 to the decoded output ``float32 [1, C', sH, sW]``."""


def codes(y: Tensor, fmt: TensorFormat) -> Tensor:
    """Codes of a decoded output; for an output in half precision, steps of 1/255."""
    if fmt.is_float:
        return (y.double() * 255).round().long()
    return (y.double() / fmt.scale).round().long() + fmt.zero_point


def compare(a: Tensor, b: Tensor, fmt: TensorFormat) -> tuple[int, int, int]:
    """How many codes of two decoded outputs differ, how many of them by more than 1, and how many there are."""
    distance = (codes(a, fmt) - codes(b, fmt)).abs()
    return int((distance > 0).sum()), int((distance > 1).sum()), distance.numel()


def judge(tolerance: Tolerance, different: int, beyond: int, total: int, picture: Tensor | None = None) -> None:
    """Raise ``CodesDifferError`` where two runs differ more than the tolerance allows and what differs may not have spread from
    operators that all agree by themselves; these are looked at on ``picture``, one of those that were run."""
    if different <= tolerance.differing * total and beyond <= tolerance.beyond_one * total:
        return
    looked = Looked(told=False)
    if picture is not None and tolerance.operators is not None:
        looked = tolerance.operators(picture)
    if tolerance.spread and looked.agree:
        return
    said = f"{different} of {total} output codes differ between the exported file and the integer engine, {beyond} by more than 1"
    if looked.apart is not None:
        said += f"; the first operator that differs by itself, on the same codes before it: {looked.apart}"
    elif looked.agree:
        said += "; no operator differs by itself, on the same codes before it"
    raise CodesDifferError(said, tolerance.reason, looked.apart)


def to_tflite(x: Tensor, fmt: TensorFormat) -> np.ndarray:
    """A picture ``[1, C, H, W]`` as the integers ``[1, H, W, C]`` of a TFLite input."""
    wide = fmt.is_wide
    shifted = fmt.encode(x.float()).numpy().transpose(0, 2, 3, 1) - fmt.grid.middle
    return np.ascontiguousarray(shifted, dtype=np.int16 if wide else np.int8)


def from_tflite(y: np.ndarray, fmt: TensorFormat) -> Tensor:
    """The integers ``[1, H, W, C]`` of a TFLite output as real values ``[1, C, H, W]``; those of another rank as they stand."""
    values = fmt.decode(torch.from_numpy(y.astype(np.float32) + fmt.grid.middle))
    return values.permute(0, 3, 1, 2).contiguous() if y.ndim == 4 else values
