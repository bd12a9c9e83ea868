"""The kernels of documented arrays equal their plain twin: blocks, cycles and every term, on networks of all kinds of layers."""

from __future__ import annotations

import numpy as np
import pytest
from cost_twins import random_network
from ethos_twins import ArrayTwin, Cut
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwmodels.classes.ethos.array import array_of, homes_of
from hwmodels.classes.ethos.blocks import CHANNELWISE, COPY, PAIRWISE, POOLING, Blocks, Operation
from hwmodels.classes.ethos.operations import operations
from hwmodels.classes.ethos.search import choose_blocks
from hwmodels.classes.ethos.storage import bricks
from hwmodels.classes.ethos.terms import ALL, HIDDEN, NEVER, NONE, SOME, WAITS, Placement, operation_terms
from hwmodels.device import catalogue

ARRAYS = [name for name in catalogue.names() if (npu := catalogue.load(name).npu) is not None and npu.array is not None]
COPIES = {"hidden": HIDDEN, "waits": WAITS, "never": NEVER}
few = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


def random_operation(name: str, rng: np.random.Generator) -> tuple[Operation, float]:
    """An operation of a random layer at random widths, sometimes a few rows of it, and the bytes of its weights."""
    array = array_of(catalogue.load(name).npu.array)  # type: ignore[union-attr, arg-type]
    while True:
        workload = random_network(rng)
        row = int(rng.integers(len(workload.layers)))
        found = operations(
            workload, row, array, bricks(workload, array.buffers[0] > 0), *(int(rng.choice([1, 2])) for _ in range(2))
        )
        if found:
            part = found[int(rng.integers(len(found)))]
            return part.operation, workload.layers[row].weight_count * part.share * float(rng.uniform(0.1, 1.2))


def as_blocks(cut: Cut) -> Blocks:
    return Blocks(*cut.out, *cut.read, *cut.micro, cut.part)


@pytest.mark.parametrize("name", ARRAYS)
@few
@given(seed=st.integers(0, 2**32 - 1))
def test_blocks_and_terms_equal_the_twin(name: str, seed: int) -> None:
    target, rng = catalogue.load(name), np.random.default_rng(seed)
    assert target.npu is not None
    assert target.npu.array is not None
    array, homes, twin = array_of(target.npu.array), homes_of(target), ArrayTwin(target)
    op, weights = random_operation(name, rng)
    copies = op.kind == COPY
    op = op._replace(kind=POOLING) if copies else op
    cut = twin.blocks(op)
    assert cut is not None
    blocks = choose_blocks(op, array, copies_values=copies)
    if array.buffers[0] > 0 and op.kind in (CHANNELWISE, POOLING, PAIRWISE) and op.spread == 1 and not copies:
        # Cut by area: test_ethos_area compares these with the compiler.
        out, read = (blocks.out_h, blocks.out_w, blocks.out_c), (blocks.in_h, blocks.in_w, blocks.in_c)
        cut = cut._replace(out=out, read=read)
    assert blocks == as_blocks(cut), op
    near = int(rng.choice([NONE, SOME, ALL] if op.inputs > 1 else [NONE, ALL]))
    kept, copy, pace = bool(rng.random() < 0.5), str(rng.choice(list(COPIES))), float(rng.uniform(0.1, 2.0))
    ours = operation_terms(op, as_blocks(cut), array, homes, Placement(near, kept, COPIES[copy]), weights, pace)
    theirs = twin.terms(op, cut, near / ALL, kept, weights, copy, pace)
    assert ours == pytest.approx(tuple(theirs.values()), rel=1e-9), (op, near, kept, weights, copy)
