"""What the C keeps in flash beside weights: as much as is priced, and equal constants once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from called import Called
from random_networks import quantize
from torch import Tensor

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.numbers import Precision
from hwsearch.formats.c import write
from searchspaces.ir.lower import to_workload
from searchspaces.tracing.trace import trace

SIZE = (8, 6)
PRICED = ("table", "other", "mask", "slope")
"""Names of constants that are priced with an operation that has no weights."""
NUMBERS = torch.linspace(0.1, 1, 6)
MASK = torch.arange(6) % 2 == 0
OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "bound": lambda x: (x - 0.5).clamp(-0.25, 0.25),
    "magnitude": lambda x: (x - x.flip(2)).abs(),
    "opposite": lambda x: -(x - x.flip(2)),
    "logistic": torch.sigmoid,
    "gated": F.silu,
    "tangent": torch.tanh,
    "gelu": F.gelu,
    "exponential": torch.exp,
    "elu": lambda x: F.elu(x - x.flip(2)),
    "root": torch.sqrt,
    "mish": F.mish,
    "sum with numbers": lambda x: x.flip(2) + NUMBERS,
    "product with numbers": lambda x: x.flip(2) * NUMBERS,
    "sum with numbers and a slope": lambda x: F.leaky_relu(x.flip(2) - NUMBERS, 0.1),
    "smaller one": lambda x: torch.minimum(x, NUMBERS),
    "numbers less a picture": lambda x: NUMBERS - x,
    "quotient": lambda x: NUMBERS / (x.flip(2) + 0.5),
    "chosen by a mask": lambda x: torch.where(MASK, x, x.flip(2)),
    "chosen by a mask, else numbers": lambda x: torch.where(MASK, x, NUMBERS),
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", OPERATIONS)
def test_tables_and_numbers_are_priced_as_they_are_stored(name: str, bits: int) -> None:
    q = quantize(trace(Called(OPERATIONS[name]).eval(), 4, "one", size=SIZE), 8, bits, size=SIZE)
    held = [constant for step in write.lower(q, *SIZE).steps for constant in step.constants if constant.name in PRICED]
    stored = sum(constant.values.size * write.type_bytes(constant.kind) for constant in held)
    table = cost.uniform_table(catalogue.load("stm32h743"), to_workload(q.graph, *SIZE), Precision.integers(8, bits))
    assert stored == int(table.constant_bytes.sum())


def test_equal_constants_stand_once() -> None:
    """A mask that two operations read, and where their moves take every code from."""

    def twice(x: Tensor) -> Tensor:
        chosen = torch.where(MASK, x.flip(2), x)
        return torch.where(MASK, chosen.flip(2), chosen)

    q = quantize(trace(Called(twice).eval(), 4, "twice", size=SIZE), 8, 8, size=SIZE)
    constants = [constant for step in write.lower(q, *SIZE).steps for constant in step.constants]
    assert [constant.values.size for constant in constants if constant.name == "mask"] == [6]
    contents = [(constant.kind, constant.values.astype(np.float64).tobytes()) for constant in constants]
    assert len(contents) == len(set(contents)) > 1
