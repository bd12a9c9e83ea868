"""Frames of a clip through a TFLite file, one after the other, with the states that a network keeps between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from hwsearch.formats.running.runtime import from_tflite, to_tflite
from hwsearch.formats.tflite.writing.writer import kind
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.shapes import shapes

Frame = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
"""One run of a file: the integers of its inputs to those of its outputs, each ``[1, H, W, C]``, in the file's order."""


def run(executed: QuantizedGraph, x: Tensor, frame: Frame) -> Tensor:
    """The decoded pictures ``[N, C', sH, sW]`` of a clip ``x`` of ``N`` frames, ``float32 [N, C, H, W]`` in 0..1.

    Args:
        executed: the network as the runtime executes it, whose formats the file's inputs and outputs have.
    """
    graph, formats = executed.graph, executed.formats
    states, pictures = _starting(executed, x.shape[2], x.shape[3]), []
    for picture in x.split(1):
        shown, *states = frame([to_tflite(picture, formats[graph.input.name]), *states])
        pictures.append(from_tflite(np.asarray(shown), formats[graph.output.name]))
    return torch.cat(pictures) if len(pictures) > 1 else pictures[0]


def _starting(executed: QuantizedGraph, height: int, width: int) -> list[np.ndarray]:
    """The states with which a clip begins: the codes of zero."""
    states = executed.graph.states
    sides = shapes(executed.graph, height, width) if states else {}
    found = []
    for node in states:
        fmt, (_, channels, rows, columns) = executed.formats[node.name], sides[node.name]
        found.append(np.full((1, rows, columns, channels), fmt.zero_point - fmt.grid.middle, kind(fmt)))
    return found
