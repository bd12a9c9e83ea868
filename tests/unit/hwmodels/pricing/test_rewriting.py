"""Rewritten workloads are linked, and everything belongs to a layer of the network."""

from __future__ import annotations

from words import make_layer

from hwmodels.pricing.rewriting import followed, rewrite
from hwmodels.workload import Map, Piece, Tensor, Workload


def small() -> Workload:
    layers = (make_layer("a", "conv", (0,), 1, 900, 9, 1, (3, 3)), make_layer("b", "conv", (1,), 2, 900, 9, 1, (3, 3)))
    tensors = tuple(Tensor(name, 1, 10, 10, i - 1, (i,) if i < 2 else (), 0) for i, name in enumerate(("x", "a", "b")))
    return Workload("small", layers, tensors, ("all",))


def twice(workload: Workload, row: int) -> tuple[Piece, ...]:
    layer = workload.layers[row]
    if not layer.weight_count:
        return ()
    side = Piece(layer.work, (0,), (1, 10, 10), weighs=True)
    return side, side, Piece(Map("compare", 2), (-2, -1), (1, 10, 10))


def test_pieces_are_linked() -> None:
    found = rewrite(small(), twice)
    assert found.owner == (0, 0, 0, 1, 1, 1)
    assert found.workload.macs == 2 * small().macs
    for row, layer in enumerate(found.workload.layers):
        assert found.workload.tensors[layer.output].producer == row
        assert all(row in found.workload.tensors[i].readers for i in layer.inputs)
    assert [tensor.name for tensor in found.workload.tensors[:3]] == ["x", "a", "b"]
    assert [layer.name for layer in found.workload.layers] == ["a/0", "a/1", "a", "b/0", "b/1", "b"]
    last = found.workload.layers[-1]
    assert [found.workload.tensors[i].name for i in last.inputs] == ["b/0", "b/1"]


def test_rewritings_follow_each_other() -> None:
    first = rewrite(small(), lambda workload, row: twice(workload, row) if row == 1 else ())
    second = followed(first, lambda workload, row: twice(workload, row) if workload.layers[row].name == "b/0" else ())
    assert second.owner == (0, 1, 1, 1, 1, 1)
    assert second.workload.macs == 4 * 900
