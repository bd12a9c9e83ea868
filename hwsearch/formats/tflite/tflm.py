"""TensorFlow Lite Micro on the host: the arithmetic of microcontrollers (rule "gemmlowp"), and how large an arena they need.

The package runs reference kernels: what it computes is what CMSIS-NN computes, its speed says nothing.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
from tflite_micro.python.tflite_micro import runtime
from torch import Tensor

from hwmodels.errors import FileError
from hwsearch.formats.running.runtime import Tolerance
from hwsearch.formats.tflite import clips, write
from hwsearch.formats.tflite.writing.form import form
from hwsearch.quant.network.graph import QuantizedGraph

FIRST_ARENA_BYTES, LARGEST_ARENA_BYTES = 1 << 20, 1 << 31


def interpreter(data: bytes) -> Any:
    """An interpreter with an arena that is large enough; the arena it really needs is what ``arena_bytes`` says.

    Raises:
        FileError: TFLite Micro has no kernel for an operation of the file, or it needs more memory than 2 GiB.
    """
    size, said = FIRST_ARENA_BYTES, ""
    while size < LARGEST_ARENA_BYTES:
        with _stderr() as heard:
            try:
                return runtime.Interpreter.from_bytes(data, arena_size=size)
            except RuntimeError:
                said = heard()
        if not re.search(r"resize buffer|allocat|memory", said, re.IGNORECASE):
            break
        size *= 4
    reason = said.strip().splitlines()[0] if said.strip() else "the arena would exceed 2 GiB"
    raise FileError(f"TensorFlow Lite Micro cannot execute this file: {reason}")


def invoke(made: Any, integers: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run on the integers of the inputs, give those of as many outputs, in the file's order."""
    for place, values in enumerate(integers):
        made.set_input(values, place)
    made.invoke()
    return [np.array(made.get_output(place)) for place in range(len(integers))]


def arena_bytes(made: Any) -> int:
    """Bytes of arena that the last run needed."""
    with _stderr() as heard:
        made.print_allocations()
        said = heard()
    found = re.search(r"Arena allocation total (\d+) bytes", said)
    if found is None:
        raise FileError("TensorFlow Lite Micro did not say how large its arena is", f"It said: {said[:200]!r}")
    return int(found[1])


@contextmanager
def _stderr() -> Iterator[Callable[[], str]]:
    """What the process writes to stderr meanwhile, native code included; yields a function that reads it."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as file:

        def heard() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        os.dup2(file.fileno(), 2)
        try:
            yield heard
        finally:
            os.dup2(before, 2)
            os.close(before)


class MicroPlan:
    """See ``runtime.Runtime``. A file has one picture size; each size that is met gets its own, the last one is kept."""

    instructions: Mapping[str, int] | None = None

    def __init__(self, qgraph: QuantizedGraph) -> None:
        self.executed, self.tolerance = form(qgraph, write.RULES["micro"]), Tolerance()
        self.version = f"tflite-micro {version('tflite-micro')}"
        self.peak_bytes: int | None = None

        @lru_cache(maxsize=1)
        def sized(size: tuple[int, int]) -> Any:
            return interpreter(write.to_bytes(qgraph, flavour="micro", size=size))

        self._sized = sized

    def run(self, x: Tensor) -> Tensor:
        made = self._sized((x.shape[2], x.shape[3]))
        found = clips.run(self.executed, x, lambda integers: invoke(made, integers))
        self.peak_bytes = max(self.peak_bytes or 0, arena_bytes(made))
        return found


def open_plan(qgraph: QuantizedGraph) -> MicroPlan:
    """Make a network ready to run.

    Raises:
        FileError: it cannot be exported to TFLite.
    """
    return MicroPlan(qgraph)
