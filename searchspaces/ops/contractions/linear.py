"""The fully connected layer: every vector along the last axis times one matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from hwmodels.workload import Contract, Finish, Window, Work
from searchspaces.ops.base import Op, Roles, Shape, elements
from searchspaces.ops.maps.activation import Activation, activate


@dataclass(frozen=True)
class Linear(Op):
    """``x [..., I]`` times the transpose of weight ``[O, I]``, plus bias ``[O]`` if there is one, activated."""

    kind: ClassVar[str] = "linear"
    needs: ClassVar[tuple[str, ...]] = ("weight",)
    takes: ClassVar[tuple[str, ...]] = ("bias",)
    quantized: ClassVar[str] = "weight"
    channel_axis: ClassVar[int | None] = -1

    activation: Activation | None = None

    def shape(self, inputs: Sequence[Shape], weights: Roles) -> Shape:
        outputs, inner = weights["weight"]
        if inputs[0][-1] != inner:
            raise ValueError(f"a matrix for vectors of {inner} reads vectors of {inputs[0][-1]}")
        return (*inputs[0][:-1], outputs)

    def run(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        return activate(F.linear(inputs[0], weights["weight"], weights.get("bias")), self.activation, weights)

    def work(self, inputs: Sequence[Shape], output: Shape, weights: Roles) -> Work:
        inner = weights["weight"][1]
        return Contract(macs=elements(output) * inner, depth=inner, form="product")

    def window(self, weights: Roles) -> Window | None:
        return None

    @property
    def finish(self) -> Finish:
        return "none" if self.activation is None else self.activation.function
