"""Layer normalization: one operator with integers outside and single precision inside, as runtimes and NPUs have it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hwsearch.quant.engine.operators.layer_norm import island
from hwsearch.quant.engine.steps import codes
from hwsearch.quant.engine.steps.table import STEPS, Run, Site
from searchspaces.ops.reductions.norm import LayerNorm

AWAY = ("gemmlowp", "reference")
"""Rules of the runtimes whose QUANTIZE rounds halves away from zero."""


@STEPS.register(LayerNorm)
def _layer_norm(site: Site) -> Run | None:
    """Over one axis, in a fixed order of roundings: the same on every machine, and that of TFLite's reference kernels, whose
    halves go away from zero. ONNX Runtime adds in another order, which changes a code in some thousand by one."""
    source, target, op = site.sources[0], site.target, site.node.op
    assert isinstance(op, LayerNorm)
    if len(op.axes) != 1 or not codes.integers(source, target):
        return None
    x, y, axis = codes.stored(source), codes.stored(target), op.axes[0]
    weight, bias = (site.node.weights.get(role) for role in ("weight", "bias"))

    def run(xs: list[Tensor]) -> Tensor:
        rows = xs[0].movedim(axis, -1)
        channels = rows.shape[-1]
        gamma = np.ones(channels, np.float32) if weight is None else weight.numpy().reshape(-1)
        beta = np.zeros(channels, np.float32) if bias is None else bias.numpy().reshape(-1)
        found = island(codes.codes(rows, source, x), x, y, gamma, beta, op.eps, away=site.rule in AWAY)
        return torch.movedim(codes.carried(found, y, target), -1, axis)

    return run
