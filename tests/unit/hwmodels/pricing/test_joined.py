"""What a GPU's runtime executes inside of the kernels of matrix products, on an attention drawn by hand."""

from __future__ import annotations

import pytest
from oracle.layer_tables import Drawing

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.facts import number
from hwmodels.numbers import Precision
from hwmodels.pricing.joined import joined
from hwmodels.workload import Contract, Map, Move, Reduce, Workload

TOKENS, WIDTH = 48, 32
ROWS, SQUARE = (WIDTH, TOKENS, 1), (TOKENS, TOKENS, 1)


def attention(shown: bool = False) -> Workload:
    """One head, an output projection, and the addition of what came in; ``shown``: the shares are a result of the network."""
    net = Drawing("attention", WIDTH, TOKENS, 1)

    def linear(name: str, source: int) -> int:
        return net.work(name, Contract(TOKENS * WIDTH**2, WIDTH, form="product"), (source,), ROWS, weight_count=WIDTH**2)

    q, k, v = (linear(name, 0) for name in "qkv")
    q = net.work("turn", Move("transpose"), (net.work("view", Move("view"), (q,), ROWS),), ROWS)
    scores = net.work("scores", Contract(WIDTH * TOKENS**2, WIDTH, form="product", stationary="tensor"), (q, k), SQUARE)
    scaled = net.work("scale", Map("mul"), (scores,), SQUARE)
    shares = net.work("softmax", Reduce(TOKENS, keeps=True, function="function"), (scaled,), SQUARE)
    y = net.work("context", Contract(WIDTH * TOKENS**2, TOKENS, form="product", stationary="tensor"), (shares, v), ROWS)
    if shown:
        net.work("shown", Map("function"), (shares,), SQUARE)
    net.work("sum", Map("add", arity=2), (linear("out", y), 0), ROWS)
    return net.workload()


def left(workload: Workload, products: bool) -> dict[str, tuple[float, float, float]]:
    found = joined(workload, products)
    return {layer.name: (a.item(), b.item(), c.item()) for layer, a, b, c in zip(workload.layers, *found, strict=True)}


def test_an_attention_is_one_kernel_that_keeps_its_scores() -> None:
    found, whole, nothing = left(attention(), True), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
    for name in ("q", "k", "v", "out"):
        assert found[name] == whole
    for name in ("view", "turn", "scale", "softmax"):
        assert found[name] == nothing
    assert found["scores"] == (1.0, 1.0, 0.0)
    assert found["context"] == (0.0, pytest.approx(WIDTH / (TOKENS + WIDTH)), 1.0)
    assert found["sum"] == (0.0, 0.5, 0.0)


def test_what_others_read_is_written() -> None:
    found = left(attention(shown=True), True)
    assert found["softmax"] == found["context"] == (1.0, 1.0, 1.0)
    assert found["scores"] == (1.0, 1.0, 1.0)
    assert found["scale"] == (0.0, 0.0, 0.0)


def test_without_such_a_runtime_views_alone_are_free() -> None:
    found = left(attention(), False)
    assert [name for name, shares in found.items() if shares != (1.0, 1.0, 1.0)] == ["view"]


def test_the_price_has_the_launches_that_are_left() -> None:
    target = catalogue.load("jetson-agx-orin")
    table = cost.uniform_table(target, attention(), Precision.parse("W8A8"))
    launch = number(target, "overhead.layer_s")
    assert table.overhead_s.sum() == pytest.approx(5 * launch)
