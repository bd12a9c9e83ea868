"""Softmax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hwmodels.workload import POINT, Reduce, Window, Work
from searchspaces.ops.base import Op, Roles, Shape


@dataclass(frozen=True)
class Softmax(Op):
    """``exp(x - max)`` over its sum, along ``axis``."""

    kind: ClassVar[str] = "softmax"

    axis: int = -1

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return torch.softmax(inputs[0], dim=self.axis)

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        return Reduce(inputs[0][self.axis], keeps=True, function="function")

    def window(self, weights: Roles) -> Window | None:
        return POINT if self.axis == 1 else None
