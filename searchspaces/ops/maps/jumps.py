"""Functions of one value that jump: comparisons, signs, rounding. Their derivative is zero wherever it exists.

A comparison gives 1 or 0, which every number format holds exactly, so that what a network chooses by the values of a picture is
arithmetic: ``m a + (1 - m) b``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from searchspaces.ops.maps.activation import Activation

Relation = Literal[">", ">=", "<", "<=", "==", "!="]
OPPOSITE: Mapping[Relation, Relation] = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "==": "!=", "!=": "=="}
"""What holds where a relation does not."""
MIRRORED: Mapping[Relation, Relation] = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}
"""The relation of b to a, by that of a to b."""
_COMPARE: Mapping[Relation, Callable[[Tensor, float], Tensor]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


@dataclass(frozen=True)
class Comparison(Activation):
    """1 where ``x`` has the relation to ``limit``, 0 elsewhere."""

    kind: ClassVar[str] = "comparison"

    relation: Relation
    limit: float = 0.0

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return _COMPARE[self.relation](x, self.limit).to(x.dtype)


@dataclass(frozen=True)
class Sign(Activation):
    """1, 0 or -1."""

    kind: ClassVar[str] = "sign"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return torch.sign(x)


_ROUND: Mapping[str, Callable[[Tensor], Tensor]] = {"floor": torch.floor, "ceil": torch.ceil, "even": torch.round}


@dataclass(frozen=True)
class Round(Activation):
    """A whole number: the next one below ("floor") or above ("ceil"), or the nearest, of two as near the even one ("even")."""

    kind: ClassVar[str] = "round"

    to: Literal["floor", "ceil", "even"] = "even"

    def of(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return _ROUND[self.to](x)
