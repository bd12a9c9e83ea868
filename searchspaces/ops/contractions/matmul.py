"""The product of two tensors that are both computed: attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hwmodels.workload import Contract, Window, Work
from searchspaces.ops.base import Op, Roles, Shape, elements


@dataclass(frozen=True)
class MatMul(Op):
    """``a [..., M, K]`` times ``b [..., K, N]``; leading axes are broadcast. ``transpose_a``, ``transpose_b``: the last two axes
    of an operand are exchanged before."""

    kind: ClassVar[str] = "matmul"
    arity: ClassVar[tuple[int, int | None]] = (2, 2)
    channel_axis: ClassVar[int | None] = -1

    transpose_a: bool = False
    transpose_b: bool = False

    def _oriented(self, inputs: Sequence[Shape]) -> tuple[Shape, Shape]:
        turned = [
            (*shape[:-2], shape[-1], shape[-2]) if turn else shape
            for shape, turn in zip(inputs, (self.transpose_a, self.transpose_b), strict=True)
        ]
        return turned[0], turned[1]

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        a, b = self._oriented(inputs)
        if a[-1] != b[-2]:
            raise ValueError(f"matrices {list(a)} and {list(b)} do not fit")
        return (*torch.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        a, b = inputs
        return torch.matmul(a.mT if self.transpose_a else a, b.mT if self.transpose_b else b)

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        depth = self._oriented(inputs)[0][-1]
        macs = elements(output) * depth
        scattered = self.transpose_a, not self.transpose_b
        return Contract(macs, depth, form="product", stationary="tensor", scattered=scattered)

    def window(self, weights: Roles) -> Window | None:
        return None
