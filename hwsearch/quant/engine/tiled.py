"""The integer engine tile by tile, as a device runs a plan that cuts the picture: equal to the whole picture, code for code."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import torch
from torch import Tensor

from hwmodels.tiling.tiling import Tiling
from hwsearch.quant.engine.integer import Engine, decoded
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Node
from searchspaces.ir.tiled import execute_tiled, unpadded


@lru_cache(maxsize=2)
def _engine(qgraph: QuantizedGraph) -> Engine:
    return Engine(dataclasses.replace(qgraph, graph=unpadded(qgraph.graph)))


def run_tiled(qgraph: QuantizedGraph, x: Tensor, tiling: Tiling) -> Tensor:
    """The decoded output ``float32 [1, C, sH, sW]`` for ``x float32 [1, C, H, W]`` in 0..1, computed by tiles of ``tiling``.

    Raises:
        UsageError: the tiling does not fit the picture, or the network sees the whole picture at once.
    """
    engine, formats = _engine(qgraph), qgraph.formats

    def run(node: Node, inputs: list[Tensor]) -> Tensor:
        """Tiles lie in shifted codes, for they are padded with zero; a step takes what the engine carries."""
        carried = [formats[name].carried(value) for name, value in zip(node.inputs, inputs, strict=True)]
        return formats[node.name].shifted(engine.steps[node.name](carried))

    with torch.no_grad(), torch.backends.nnpack.flags(enabled=False):
        codes = formats[qgraph.graph.input.name].shifted(engine.steps[qgraph.graph.input.name]([x.float()]))
        value = execute_tiled(qgraph.graph, codes, tiling, run)
    return decoded(formats[qgraph.graph.output.name].carried(value), qgraph)
