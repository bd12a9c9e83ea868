"""A module as ``torch.export`` has it at a size, walked to nodes; each size is exported once."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from searchspaces.ir.graph import Node
from searchspaces.tracing import refusals
from searchspaces.tracing.calls.pooling import UNEVEN
from searchspaces.tracing.formulas import TraceSize
from searchspaces.tracing.masked import KnownMasks
from searchspaces.tracing.recurrent import Recurrent, stepped
from searchspaces.tracing.walker import Walker

_ONE_AT_A_TIME = threading.RLock()
"""torch.export keeps what it is doing in variables of its modules: two threads that export at once end each other."""


class Traced:
    """A module, exported once at each size and walked.

    Attributes:
        scale: what it enlarges pictures by, None where that is not asked.
        uneven_at: samples that were pooled in windows which are not all alike.
    """

    def __init__(self, module: nn.Module, channels: int, name: str, scale: int | None) -> None:
        self.module, self.channels, self.name, self.scale = module, channels, name, scale
        self.uneven_at = set[TraceSize]()
        self._walked: dict[TraceSize, tuple[list[Node], list[str]]] = {}

    def at(self, sample: TraceSize) -> tuple[list[Node], list[str]]:
        """The nodes, not simplified, and what could not be expressed.

        Raises:
            FileError: torch.export refuses.
        """
        if sample not in self._walked:
            example = torch.rand(sample.count, self.channels, *sample.shape, generator=torch.Generator().manual_seed(0))
            module = self.module
            if isinstance(module, Recurrent):
                program = _exported(stepped(module), (example, *module.start(example)), self.name)
                walker = Walker(program, tuple(example.shape), module.states)
            else:
                walker = Walker(_exported(module, (example,), self.name), tuple(example.shape))
            self._walked[sample] = walker.run(), walker.uncounted
            if any(f".{UNEVEN}" in node.name for node in walker.nodes):
                self.uneven_at.add(sample)
        return self._walked[sample]


def _exported(module: nn.Module, given: tuple[torch.Tensor, ...], name: str) -> Any:
    try:
        with _ONE_AT_A_TIME, torch.no_grad(), _quiet(), _without_collection(), refusals.own_lines(), KnownMasks(module):
            return torch.export.export(module, given, strict=False)
    except Exception as error:  # whatever the module's own code or the exporter raises
        raise refusals.of_export(error, module, given[0], name) from error


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Without the search for unused objects: an export makes millions that stay, and looking at them took a sixth of its time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own log lines and dumps: what the exporter refuses is in the exception."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
