"""Trainings that meet a loss, or derivatives, that are no finite numbers: noticed where it happens, and told.

One step of Adam with such a derivative makes all that it trains no number for good, and one whose square overflows keeps what it
belongs to from ever moving again. So the step is left out: what is trained stays as it was, and the next windows are tried. After
``IN_A_ROW`` such steps the training ends. Whoever trains decides as ever, on finite numbers, between what it has come to and the
plan that it began with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Graph

IN_A_ROW = 10
"""Steps that are left out one after the other before a training ends."""
LARGEST = 1e18
"""Of a derivative. Adam squares them, and single precision ends at 3.4e38."""

Named = Iterable[tuple[str, Tensor]]
"""What is trained, with the node that it belongs to."""


class Watch:
    """What a loop of a training has met.

    Args:
        graph: the network, for the order of its nodes.
        trained: by node.

    Attributes:
        done: steps so far; ``left_out``: those of them that were left out; ``in_a_row``: the last of them that were; ``first``:
            the first that was, from 1; ``place``: the node where it was noticed, "" where that is not known.
    """

    def __init__(self, graph: Graph, trained: Named) -> None:
        self._order = {node.name: at for at, node in enumerate(graph.nodes)}
        self._trained = list(trained)
        self.done = self.left_out = self.in_a_row = self.first = 0
        self.place = ""

    def step(self, optimizer: torch.optim.Optimizer, loss: float, spoilt: Callable[[], str]) -> None:
        """A step of ``optimizer``, or none where ``loss`` or a derivative is of no use. ``spoilt``: the first node whose tensor
        is not finite in this step, "" for none."""
        self.done += 1
        wrong = [name for name, tensor in self._trained if not _usable(tensor.grad)]
        if math.isfinite(loss) and not wrong:
            self.in_a_row = 0
            optimizer.step()
            return
        self.left_out += 1
        self.in_a_row += 1
        if self.left_out == 1:
            # Derivatives are taken from the output backwards.
            self.first, self.place = self.done, spoilt() or max(wrong, key=self._order.__getitem__, default="")
        optimizer.zero_grad()
        optimizer.step()  # of nothing, so that the rates go on

    @property
    def ended(self) -> bool:
        """Whether there is no use in going on."""
        return self.in_a_row >= IN_A_ROW

    def state(self) -> dict[str, Any]:
        """All that it has met, as JSON."""
        return {name: getattr(self, name) for name in ("done", "left_out", "in_a_row", "first", "place")}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a ``state``."""
        for name, value in state.items():
            setattr(self, name, value)


def _usable(gradient: Tensor | None) -> bool:
    return gradient is None or gradient.numel() == 0 or float(gradient.abs().max()) < LARGEST  # not where it is no number


def finite(loss: float) -> float:
    """A loss by which plans are compared: one that is no number is the worst."""
    return loss if math.isfinite(loss) else math.inf


def told(found: QuantizedGraph, what: str, watches: Sequence[Watch], *, trained: bool, begun: float = 0.0) -> QuantizedGraph:
    """A plan with what a training is to say of itself; as it is where it has nothing to say.

    Args:
        what: was trained. trained: whether the plan is what the training has come to, and not what it began with.
        begun: the loss of the plan that it began with, by which the two were compared.
    """
    said = _sentence(what, watches, trained=trained, begun=begun)
    return replace(found, remarks=(*found.remarks, said)) if said else found


def _sentence(what: str, watches: Sequence[Watch], *, trained: bool, begun: float) -> str:
    left_out, done = (sum(getattr(watch, name) for watch in watches) for name in ("left_out", "done"))
    kept = "what the other steps trained is kept" if trained else "the plan is kept as it was before"
    if left_out == 0:
        if math.isfinite(begun):
            return ""
        kept = "what was trained is kept" if trained else kept
        return f"The plan that the training of {what} begins with has a loss that is not finite; {kept}."
    met = next(watch for watch in watches if watch.left_out)
    before = sum(watch.done for watch in watches[: list(watches).index(met)])
    place = f" at {met.place}" if met.place else ""
    ended = f", ended after {IN_A_ROW} in a row" if any(watch.ended for watch in watches) else ""
    return (
        f"The training of {what} met a loss or derivatives that are not finite in {left_out} of {done} steps, first in step "
        f"{before + met.first}{place}: it left these out{ended}, and {kept}."
    )
