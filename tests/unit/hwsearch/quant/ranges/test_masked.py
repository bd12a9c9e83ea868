"""Scores that masks put far away: grids do not reach for them, and integers lose nothing by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.ranges.masked import NOTHING
from hwsearch.quant.ranges.spreads import extremes
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ir.lower import to_workload
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.input import Input
from searchspaces.ops.maps.activation import Relu
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.moves.move import Permute, Reshape
from searchspaces.ops.reductions.softmax import Softmax
from searchspaces.space import build_space

CHANNELS = 4
LEAST_DB = {8: 30, 16: 50}
"""Of signal to noise, by the width of tensors; were ranges to reach as far as masks do: 21 dB and 53 dB, or 2 dB and 19 dB."""
SIDE = 4
"""Pixels of a picture's sides; its pixels are the places of attention."""


def attention(far: float, *, read_elsewhere: bool = False) -> Graph:
    """Every pixel looks at half of the pixels: the others get ``far`` added to their scores, behind which are two views."""
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(CHANNELS, CHANNELS, 1, 1, generator=random)
    hidden = (torch.rand(SIDE**2, SIDE**2, generator=random) > 0.5).fill_diagonal_(False)
    nodes = [
        Node("x", Input(CHANNELS)),
        Node("conv", Conv(), ("x",), {"weight": weight, "bias": torch.zeros(CHANNELS)}),
        Node("rows", Reshape((1, CHANNELS, SIDE**2)), ("conv",)),
        Node("tokens", Permute((0, 2, 1)), ("rows",)),
        Node("scores", MatMul(transpose_b=True), ("tokens", "tokens")),
        Node("masked", Add(), ("scores",), {"other": torch.zeros(SIDE**2, SIDE**2).masked_fill(hidden, far)}),
        Node("apart", Reshape((1, 1, SIDE**2, SIDE**2)), ("masked",)),
        Node("together", Reshape((1, SIDE**2, SIDE**2)), ("apart",)),
        Node("weights", Softmax(), ("together",)),
    ]
    if read_elsewhere:
        nodes += [Node("relu", Relu(), ("masked",)), Node("both", MatMul(), ("relu", "weights"))]
    return Graph("attention", tuple(nodes), size=(SIDE, SIDE))


def pictures(count: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    return [torch.rand(1, CHANNELS, SIDE, SIDE, generator=random) for _ in range(count)]


def test_ranges_end_where_a_softmax_gives_nothing() -> None:
    """By hand: the largest score of every row, the smallest of them, less the logarithm of twice 65535."""
    graph, crops = attention(-100.0), pictures(3)
    seen: list[Tensor] = []
    for crop in crops:
        execute(graph, crop, lambda node, y: seen.append(y) if node.name == "masked" else None)
    lowest = min(float(row.max()) for y in seen for row in y[0]) - np.log(131070)
    found = extremes(graph, crops)
    for name in ("masked", "apart", "together"):
        assert float(found[name].low.min()) == pytest.approx(lowest, abs=1e-5)
        assert float(found[name].high.max()) == pytest.approx(max(float(y.max()) for y in seen))
    assert float(found["scores"].low.min()) > -NOTHING


def test_what_others_read_keeps_its_range() -> None:
    assert float(extremes(attention(-100.0, read_elsewhere=True), pictures(2))["masked"].low.min()) < -90


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("far", [-100.0, -1e4])
def test_a_mask_costs_integers_nothing(far: float, bits: int) -> None:
    """How far away the mask puts scores does not matter, and hidden places stay hidden."""
    graph, crops = attention(far), pictures(4)
    space = build_space(to_workload(graph, SIDE, SIDE), (8,), (8, 16))
    plan = space.plan(dict.fromkeys(space.layer_names, 8), dict.fromkeys(space.group_names, bits))
    q = calibrate(graph, crops, space, method="minmax").quantized(plan)
    (*_, x) = pictures(5)
    real = execute(graph, x)
    error = (integer.run(q, x) - real).square().mean()
    assert 10 * torch.log10(real.square().mean() / error) > LEAST_DB[bits]
