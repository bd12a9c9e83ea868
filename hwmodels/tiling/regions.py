"""Which pixels of every tensor a tile needs: interval arithmetic along one axis of the picture, exact for any network of windows.

An output pixel ``o`` of a layer that strides by ``s`` (or enlarges by ``f``) stands at pixel ``p = (o // f) * s`` of its input
and sees ``p - before .. p + after`` (``Layer.window``); what lies outside of the tensor is padding and is not needed. Rows and
columns do not depend on each other, so a tile is the product of two intervals.

Two ways to cut an axis into pieces:

- *recompute*: every piece of the output asks its way back to the input (``recompute``). Neighbouring pieces overlap in every
  tensor but the last, and compute the overlap twice.
- *keep*: the input comes in piece by piece, every layer computes all that it can (``keep``), and of every tensor the rows that
  somebody will need again are kept: line buffers. Nothing is computed twice. Deep layers lag behind by the receptive field, so
  there are a few more steps than pieces, and branches that join wait for each other in kept rows.

Arrays are ``int64[tensors, pieces]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from hwmodels.errors import UsageError
from hwmodels.workload import Layer, Move, Workload

ROWS, COLUMNS = "rows", "columns"
N = TypeVar("N", int, np.ndarray)


@dataclass(frozen=True)
class View:
    """How an output pixel of a layer sees its inputs along one axis."""

    stride: int
    factor: int
    before: int
    after: int

    def first(self, begin: N) -> N:
        """First input pixel that outputs from ``begin`` on see; negative in the padding."""
        return begin // self.factor * self.stride - self.before

    def stop(self, end: N) -> N:
        """Behind the last input pixel that outputs before ``end`` see; beyond the tensor's end in the padding."""
        return (end - 1) // self.factor * self.stride + self.after + 1

    def computable(self, available: np.ndarray) -> np.ndarray:
        """Outputs that can be computed once the first ``available`` input pixels are there; may be negative."""
        return ((available - self.after - 1) // self.stride + 1) * self.factor


class Pieces(NamedTuple):
    """An axis in pieces, ``int64[tensors, pieces]`` each.

    Attributes:
        begin, end: the interval of every tensor that a piece computes (of the network's input: that it takes in).
        kept: of every tensor, pixels before ``begin`` that the piece finds in line buffers.
    """

    begin: np.ndarray
    end: np.ndarray
    kept: np.ndarray


def sizes(workload: Workload, axis: str) -> np.ndarray:
    """Pixels of every tensor along ``axis``, ``int64[tensors]``."""
    return np.array([t.height if axis == ROWS else t.width for t in workload.tensors], dtype=np.int64)


def view(workload: Workload, layer: Layer, axis: str) -> View:
    """How ``layer`` sees its first input along ``axis``; every input of a layer with several has the size of its output."""
    length = sizes(workload, axis)
    read, written = int(length[layer.inputs[0]]), int(length[layer.output])
    stride, factor = layer.stride, 1
    if layer.moves("shuffle", "resize"):
        stride, factor = max(1, read // written), max(1, written // read)
    assert layer.window is not None, "check_local comes first"
    left, right, top, bottom = layer.window
    before, after = (top, bottom) if axis == ROWS else (left, right)
    return View(stride, factor, before, after)


def check_local(workload: Workload) -> None:
    """Raise UsageError when a layer sees the whole picture, so that no tile can be computed on its own."""
    everything = next((layer for layer in workload.layers if layer.window is None), None)
    if everything is not None:
        what = "takes its mean over the whole picture" if everything.reduces else "sees the whole picture"
        if isinstance(everything.work, Move):
            what = "rearranges the picture, which is not done tile by tile"
        if everything.moves("resize"):
            what = "resizes by a fraction, with corners aligned or antialiased, which is not done tile by tile"
        raise UsageError(f"{workload.name} cannot be cut into tiles: {everything.name} {what}", "Leave --tile out.")


def boundaries(workload: Workload, axis: str, piece: int) -> np.ndarray:
    """Where the output is cut when the input is cut every ``piece`` pixels, ends included: ``int64[pieces + 1]``."""
    length = sizes(workload, axis)
    source, target = int(length[_input(workload)]), int(length[workload.layers[-1].output])
    cuts = np.append(np.arange(0, source, piece), source)
    return np.unique(cuts * target // source)


def recompute(workload: Workload, axis: str, piece: int) -> Pieces:
    """Pieces of ``piece`` input pixels, each computed on its own; see the module's text."""
    length = sizes(workload, axis)
    cuts = boundaries(workload, axis, piece)
    shape = (len(length), len(cuts) - 1)
    begin, end = np.full(shape, np.iinfo(np.int64).max), np.full(shape, -1, dtype=np.int64)
    begin[workload.layers[-1].output], end[workload.layers[-1].output] = cuts[:-1], cuts[1:]
    for layer in reversed(workload.layers):
        seen = view(workload, layer, axis)
        for source in layer.inputs:
            # A window that lies in the padding alone still has a pixel: nothing is empty.
            last = length[source] - 1
            begin[source] = np.minimum(begin[source], np.clip(seen.first(begin[layer.output]), 0, last))
            end[source] = np.maximum(end[source], np.clip(seen.stop(end[layer.output]), 1, last + 1))
    return Pieces(begin, end, np.zeros(shape, dtype=np.int64))


def keep(workload: Workload, axis: str, piece: int) -> Pieces:
    """Steps that take in ``piece`` input pixels each, until the output is complete; see the module's text."""
    length = sizes(workload, axis)
    source, target = _input(workload), workload.layers[-1].output
    steps = -(-int(length[source]) // piece)
    while (lag := int(length[target] - _available(workload, axis, steps, piece)[target, -1])) > 0:
        steps += max(1, int(lag * length[source] // (length[target] * piece)))
    done = np.clip(_available(workload, axis, steps, piece), 0, length[:, None])
    needed = np.repeat(length[:, None], steps, axis=1)
    for layer in workload.layers:
        finished = done[layer.output] == length[layer.output]
        first = view(workload, layer, axis).first(done[layer.output])
        for tensor in layer.inputs:
            needed[tensor] = np.minimum(needed[tensor], np.where(finished, length[tensor], np.maximum(first, 0)))
    left = np.maximum(done - needed, 0)
    left[target] = 0
    start = np.zeros((len(length), 1), dtype=np.int64)
    return Pieces(np.hstack([start, done[:, :-1]]), done, np.hstack([start, left[:, :-1]]))


def _available(workload: Workload, axis: str, steps: int, piece: int) -> np.ndarray:
    """Pixels of every tensor that are there after each step, as if the picture went on beyond its end (its padding does)."""
    there = np.zeros((len(workload.tensors), steps), dtype=np.int64)
    there[_input(workload)] = np.arange(1, steps + 1) * piece
    for layer in workload.layers:
        ready = np.min([there[i] for i in layer.inputs], axis=0)
        there[layer.output] = view(workload, layer, axis).computable(ready)
    return there


def _input(workload: Workload) -> int:
    return next(i for i, tensor in enumerate(workload.tensors) if tensor.producer < 0)
