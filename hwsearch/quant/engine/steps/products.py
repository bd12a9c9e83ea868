"""Attention: products of two computed tensors, and softmax."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from hwsearch.quant.engine.operators import matmul, qlinear, softmax
from hwsearch.quant.engine.proof import reach
from hwsearch.quant.engine.steps import codes
from hwsearch.quant.engine.steps.table import STEPS, Run, Site, in_floating_point
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.reductions.softmax import Softmax


@STEPS.register(MatMul)
def _matmul(site: Site) -> Run | None:
    """QLinearMatMul or BATCH_MATMUL, by the rule. ONNX Runtime has no product of 16 bits: there the sums are exact and rounded
    once from double precision, as those of its layers beside 16-bit tensors."""
    (first, second), target, op = site.sources, site.target, site.node.op
    assert isinstance(op, MatMul)
    if not codes.integers(first, second, target):
        return None
    if site.rule == "f32":
        return _qlinear(site) if codes.narrow(first, second, target) else _in_double(site)
    wide, library = not codes.narrow(first, second, target), codes.LIBRARIES[site.rule]
    form = codes.widened if wide else codes.stored
    a, b, y = form(first), form(second), form(target)

    def run(xs: list[Tensor]) -> Tensor:
        left, right = codes.codes(xs[0], first, a), codes.codes(xs[1], second, b)
        found = matmul.batch_matmul(left, right, a, b, y, transpose_a=op.transpose_a, transpose_b=op.transpose_b, library=library)
        return codes.carried(found, y, target)

    return run


def _oriented(xs: list[Tensor], op: MatMul) -> tuple[Tensor, Tensor]:
    return xs[0].mT if op.transpose_a else xs[0], xs[1].mT if op.transpose_b else xs[1]


def _qlinear(site: Site) -> Run:
    (first, second), target, op = site.sources, site.target, site.node.op
    assert isinstance(op, MatMul)
    a, b, y = (codes.unsigned(fmt) for fmt in (first, second, target))

    def run(xs: list[Tensor]) -> Tensor:
        left, right = _oriented(xs, op)
        return codes.carried(qlinear.matmul(codes.codes(left, first, a), codes.codes(right, second, b), a, b, y), y, target)

    return run


def _in_double(site: Site) -> Run:
    (first, second), target, op = site.sources, site.target, site.node.op
    assert isinstance(op, MatMul)
    m = float(first.scale) * float(second.scale) / float(target.scale)
    low, high = (bound - target.zero_point for bound in (target.qmin, target.qmax))
    most = reach(first) * reach(second)

    def run(xs: list[Tensor]) -> Tensor:
        left, right = _oriented([first.shifted(xs[0]), second.shifted(xs[1])], op)
        return target.carried(matmul.exact(left, right, most).double().mul_(m).round_().clamp_(low, high))

    return run


@STEPS.register(Softmax)
def _softmax(site: Site) -> Run | None:
    """QLinearSoftmax or SOFTMAX, by the rule. ONNX Runtime has none of 16 bits, and of few entries one that overflows: those are
    floating point."""
    source, target, op = site.sources[0], site.target, site.node.op
    assert isinstance(op, Softmax)
    if not codes.integers(source, target):
        return None
    wide = not codes.narrow(source, target)
    if site.rule == "f32":
        if wide:
            return None
        x, y = codes.unsigned(source), codes.unsigned(target)
        island = in_floating_point(site)

        def qlinear_run(xs: list[Tensor]) -> Tensor:
            if qlinear.softmax_overflows(xs[0].shape[op.axis], y.scale):
                return island(xs)
            return codes.carried(_over(op.axis, codes.codes(xs[0], source, x), lambda v: qlinear.softmax(v, x, y)), y, target)

        return qlinear_run
    grid, library = codes.widened(source) if wide else codes.stored(source), codes.LIBRARIES[site.rule]
    own, wanted = softmax.OUTPUTS[grid.kind], codes.stored(target)

    def run(xs: list[Tensor]) -> Tensor:
        found = _over(op.axis, codes.codes(xs[0], source, grid), lambda v: softmax.softmax(v, grid, library=library))
        return codes.carried(codes.requantized(found, own, wanted), wanted, target)

    return run


def _over(axis: int, x: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A function over the last axis, taken over another."""
    if axis % x.ndim == x.ndim - 1:
        return function(x)
    return np.moveaxis(function(np.ascontiguousarray(np.moveaxis(x, axis, -1))), -1, axis)
