"""Codes of one tensor as runtimes store them: integers of a container, a scale and a zero point.

A code ``q`` stands for ``scale * (q - zero_point)``. Arrays of codes come and go in the container's own type; what lies below the
container (a width below 8 bits, a fused ReLU) is nothing but a narrower ``low .. high``, to which every operation clamps last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["int8", "uint8", "int16"]
"""Integer type of the container. TFLite's kernels take the signed ones, ONNX Runtime's the ones of 8 bits."""


@dataclass(frozen=True)
class Grid:
    """How the codes of a tensor are to be read.

    Attributes:
        kind: the container.
        scale: real value of one step; exactly representable in float32.
        zero_point: code of the real value 0; TFLite's 16-bit kernels take 0 only.
        low, high: least and greatest code that may be written; None for the container's own end.
    """

    kind: Kind
    scale: float
    zero_point: int = 0
    low: int | None = None
    high: int | None = None

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """The container as numpy's type."""
        return np.dtype(self.kind)

    @property
    def bounds(self) -> tuple[int, int]:
        """Least and greatest code that may be written."""
        ends = np.iinfo(self.dtype)
        low = int(ends.min) if self.low is None else max(self.low, int(ends.min))
        return low, int(ends.max) if self.high is None else min(self.high, int(ends.max))

    @property
    def wide(self) -> bool:
        """Whether the container has more than 8 bits."""
        return self.dtype.itemsize > 1

    @property
    def step(self) -> np.float32:
        """The scale as files store it."""
        return np.float32(self.scale)

    @property
    def reach(self) -> int:
        """Largest ``|q - zero_point|`` that a stored code can have."""
        ends = np.iinfo(self.dtype)
        return max(int(ends.max) - self.zero_point, self.zero_point - int(ends.min))

    def clamp(self, codes: np.ndarray) -> np.ndarray:
        """Codes of any integer type cut to the bounds, in the container."""
        low, high = self.bounds
        clamped: np.ndarray = np.clip(codes, low, high).astype(self.dtype)
        return clamped

    def encode(self, real: np.ndarray) -> np.ndarray:
        """Real values to codes, to nearest, halves to even."""
        return self.clamp(np.rint(np.asarray(real, np.float64) / float(self.step)) + self.zero_point)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes to real values, float64."""
        real: np.ndarray = (codes.astype(np.int64) - self.zero_point) * float(self.step)
        return real
