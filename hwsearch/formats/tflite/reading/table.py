"""The table of TFLite operators, and what a reader of one sees of its call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwsearch.formats.reading.builder import Map
from hwsearch.formats.reading.operands import Operands
from hwsearch.formats.tflite.tables import StoredOperator, StoredTensor
from searchspaces.ops.reading import OperatorReaders

READS = OperatorReaders("the TFLite reader")
"""TFLite operator -> the function that reads it. A function gets a ``Walk`` and a ``Call``; it returns the value of the call, or
one for each output."""

Value = Map | np.ndarray
"""What depends on the picture, or a constant as the real numbers that it stands for."""


@dataclass(frozen=True, eq=False)
class Call(Operands[np.ndarray]):
    """One operator as it is read: ``inputs`` are values, None where one is left out; ``stored`` the tensors that it reads,
    ``written`` the first that it writes, ``name`` what the node is called."""

    operator: StoredOperator
    inputs: tuple[Value | None, ...]
    stored: tuple[StoredTensor | None, ...]
    written: StoredTensor
    name: str

    @property
    def kind(self) -> str:
        return self.operator.name

    @property
    def options(self) -> Mapping[str, Any]:
        return self.operator.options

    def integers(self, place: int, what: str = "") -> list[int]:
        return [int(number) for number in self.constant(place, what).reshape(-1)]
