"""How an arena is written down: a runtime's lowering appends buffers, steps and tables in order of execution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hwmodels.pricing.arena import Arena, When
from hwmodels.pricing.placement import NONE, Buffers

if TYPE_CHECKING:
    from hwmodels.workload import Workload


@dataclass
class Builder:
    """Collects what a runtime's arena holds, operator by operator in order of execution.

    ``choices``: the most choices that any decision has. A size or condition is a ``When``, or a number that holds always.
    """

    choices: int
    time: int = -1
    names: list[str] = field(default_factory=list)
    step_layer: list[int] = field(default_factory=list)
    _sizes: list[When] = field(default_factory=list)
    _uses: list[tuple[int, int, When]] = field(default_factory=list)
    _tables: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def always(self, value: float) -> When:
        return When(NONE, NONE, np.full((self.choices, self.choices), value))

    def buffer(self, name: str, size_bytes: When) -> int:
        """A buffer, in use at no step yet."""
        self.names.append(name)
        self._sizes.append(size_bytes)
        return len(self.names) - 1

    def step(self, layer: int) -> None:
        """The next step begins, of a layer."""
        self.time += 1
        self.step_layer.append(layer)

    def use(self, buffers: Sequence[int], on: When | None = None, time: int | None = None) -> None:
        """Buffers are in use at the present step (or at ``time``), where ``on`` is not zero."""
        for buffer in buffers:
            self._uses.append((buffer, self.time if time is None else time, on or self.always(1)))

    def table(self, size_bytes: When) -> None:
        """Bytes that the runtime takes beside the buffers."""
        at = size_bytes.first, size_bytes.second
        self._tables[at] = self._tables.get(at, np.zeros_like(size_bytes.value)) + size_bytes.value

    def lines(self, workload: Workload, size_bytes: Callable[[int, int], When]) -> None:
        """What a tile holds beside its own tensors (see ``Workload.held``): a part that always lies there, and one that does for
        some of the layers. ``size_bytes(tensor, pixels)``."""
        held = workload.held
        for row in sorted({tensor for tensors in held for tensor in tensors}):
            pixels = np.maximum([tensors.get(row, 0) for tensors in held], 0)[np.array(self.step_layer)]
            name = f"{workload.tensors[row].name}/rows"
            for size, steps in ((pixels.min(), pixels >= 0), (pixels.max() - pixels.min(), pixels > pixels.min())):
                if size > 0:
                    buffer = self.buffer(name, size_bytes(row, int(size)))
                    for step in np.flatnonzero(steps):
                        self.use([buffer], time=int(step))

    def build(
        self, *, alignment: int, fixed_bytes: int, planning_bytes: int = 0, later_first: bool = False, tables: str = "runtime"
    ) -> Arena:
        """The arena. Buffers of equal size are placed in the order in which they were added, or, ``later_first``, in reverse."""
        order = list(range(len(self.names)))[:: -1 if later_first else 1]
        order = [b for b in order if np.any(self._sizes[b].value > 0)]
        row = {b: i for i, b in enumerate(order)}
        uses = [use for use in self._uses if use[0] in row and np.any(use[2].value)]
        sizes, on = [self._sizes[b] for b in order], [use[2] for use in uses]
        buffers = Buffers(
            *_stacked(sizes, self.choices, np.float64),
            np.array([row[use[0]] for use in uses], dtype=np.int64),
            np.array([use[1] for use in uses], dtype=np.int64),
            *_stacked(on, self.choices, np.bool_),
            *_stacked([When(*at, value) for at, value in self._tables.items()], self.choices, np.float64),
        )
        layers = np.array(self.step_layer, dtype=np.int64)
        return Arena(tuple(self.names[b] for b in order), buffers, layers, alignment, fixed_bytes, planning_bytes, tables)


def _stacked(values: Sequence[When], choices: int, kind: type) -> tuple[np.ndarray, np.ndarray]:
    """The decisions ``int64[N, 2]`` and the values ``kind[N, C, C]``."""
    at = np.array([(value.first, value.second) for value in values], dtype=np.int64).reshape(len(values), 2)
    stacked: np.ndarray = np.array([value.value for value in values], dtype=kind).reshape(len(values), choices, choices)
    return at, np.ascontiguousarray(stacked)
