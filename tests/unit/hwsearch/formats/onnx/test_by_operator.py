"""A network that enlarges what a float island tips is proven operator by operator; one with another number in it is not."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from block_networks import LayerNorm2d
from onnx import numpy_helper
from torch import Tensor, nn

from hwmodels.errors import MismatchError
from hwsearch.formats.onnx import by_operator, ort, write
from hwsearch.formats.running.runtime import Apart, CodesDifferError, Looked, Tolerance, compare, judge
from hwsearch.plans import verify
from hwsearch.quant.calibrate import calibrate
from hwsearch.quant.engine import integer
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from searchspaces.data.pictures import Pair
from searchspaces.ir.graph import execute
from searchspaces.ir.lower import to_workload
from searchspaces.space import build_space
from searchspaces.tasks.image import SuperResolution
from searchspaces.tasks.task import Signature
from searchspaces.tracing.trace import trace

SIDE = 40


class Edges(nn.Module):
    """The mixed derivative of a smooth, normalized picture: a thousandth of it."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(1, width, 3), LayerNorm2d(width)
        self.edges = nn.Conv2d(width, width, 2, groups=width, bias=False)
        self.edges.weight.data.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
        self.last = nn.Conv2d(width, 1, 4, padding=3)
        self.last.weight.data.mul_(150)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.edges(self.norm(self.first(x))))


def smooth() -> Tensor:
    along = torch.linspace(0, 3, SIDE)
    return (0.5 + 0.2 * (along.cos()[:, None] + (2 * along).sin()[None]))[None, None]


@cache
def wide() -> QuantizedGraph:
    graph = trace(Edges().eval(), 1, "edges", 1)
    space = build_space(to_workload(graph, SIDE, SIDE), (8,), (16,))
    return calibrate(graph, [smooth()], space, method="minmax").quantized(space.uniform(8, 16))


def with_another_bias(q: QuantizedGraph, name: str) -> QuantizedGraph:
    layer = q.layers[name]
    assert isinstance(layer, LayerIntegers)
    return replace(q, layers={**q.layers, name: replace(layer, bias=layer.bias + (1 << 15))})


def test_codes_that_tip_and_are_enlarged_are_told_from_a_fault(tmp_path: Path) -> None:
    q, x = wide(), smooth()
    path = write.export(q, tmp_path / "edges.onnx")
    different, beyond, total = compare(ort.run_onnx(path)(x), integer.run(q, x), q.formats[q.graph.output.name])
    assert beyond > ort.BEYOND_ONE_IN_TOKENS * total
    assert by_operator.look(q, path, x).agree
    with pytest.raises(MismatchError, match="codes differ"):
        judge(ort.tolerance(q), different, beyond, total, x)  # without its file nobody can tell
    pairs = [Pair("edges", x, (255 * x[0, 0]).round().numpy())]
    measured = verify.prove(q, path, pairs, SuperResolution(Signature(1, 1)), lambda x: execute(q.graph, x))
    assert measured.mismatched_codes == different
    with pytest.raises(MismatchError, match="codes differ"):
        verify.prove(with_another_bias(q, "edges"), path, pairs, SuperResolution(Signature(1, 1)), lambda x: execute(q.graph, x))


@pytest.mark.parametrize("name", ["first", "edges", "last"])
def test_another_number_is_found_wherever_it_is(name: str) -> None:
    q = wide()
    file = write.to_model(q).SerializeToString()
    apart = by_operator.look(with_another_bias(q, name), file, smooth()).apart
    assert apart is not None
    assert (apart.name, apart.kind) == (name, "conv, int16 to int16")
    assert apart.differing > 0.9 * apart.codes
    assert apart.largest > 10


def test_another_grid_of_the_picture_is_found() -> None:
    """Whatever the picture becomes: the layers behind it may agree on codes that are not those of the picture."""
    q = wide()
    model = write.to_model(q)
    first = next(node for node in model.graph.node if "input" in node.input)
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == first.input[1])
    scale.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(scale) * 1.01).astype(np.float32), scale.name))
    apart = by_operator.look(q, model.SerializeToString(), smooth()).apart
    assert apart is not None
    assert apart.name == "input"


def test_parts_of_a_network_are_looked_at_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    q = wide()
    file = write.to_model(q).SerializeToString()
    monkeypatch.setattr(by_operator, "MOST_BYTES", 1)
    assert by_operator.look(q, file, smooth()).agree
    two = with_another_bias(with_another_bias(q, "last"), "edges")
    apart = by_operator.look(two, file, smooth()).apart
    assert apart is not None
    assert apart.name == "edges"  # the first of both


def test_the_picture_decides_only_where_too_much_differs() -> None:
    asked: list[Tensor] = []
    apart = Apart("edges", "conv", 3, 10, 2)

    def operators(x: Tensor) -> Looked:
        asked.append(x)
        return Looked(told=True, apart=apart if len(asked) == 1 else None)

    tolerance = Tolerance(1.0, 0.1, "", operators, spread=True)
    judge(tolerance, 10, 1, 10, smooth())
    assert not asked
    with pytest.raises(CodesDifferError, match=r"edges \(conv\): 3 of 10 codes, by up to 2") as refused:
        judge(tolerance, 10, 2, 10, smooth())
    assert refused.value.apart == apart
    judge(tolerance, 10, 2, 10, smooth())
    with pytest.raises(CodesDifferError, match="no operator differs by itself"):  # in integers nothing spreads
        judge(replace(tolerance, spread=False), 10, 2, 10, smooth())


def test_what_cannot_be_looked_at_excuses_nothing() -> None:
    with pytest.raises(CodesDifferError) as refused:
        judge(Tolerance(1.0, 0.1, "", lambda x: Looked(told=False), spread=True), 10, 2, 10, smooth())
    assert "operator" not in str(refused.value)


class Plain(nn.Module):
    """Two convolutions, all integers at 8 bits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x).relu())


def test_in_integers_the_fault_is_sought_beyond_the_corner() -> None:
    """A weight that only matters where the picture is bright, and the corner is dark."""
    graph = trace(Plain().eval(), 1, "plain", 1)
    x = torch.zeros(1, 1, 80, 80)
    x[:, :, 70:, 70:] = torch.rand(10, 10, generator=torch.Generator().manual_seed(0))
    space = build_space(to_workload(graph, 80, 80), (8,), (8,))
    q = calibrate(graph, [x], space, method="minmax").quantized(space.uniform(8, 8))
    layer = q.layers["one"]
    assert isinstance(layer, LayerIntegers)
    weight = layer.weight.copy()
    weight[0] = -weight[0]
    other = replace(q, layers={**q.layers, "one": replace(layer, weight=weight)})
    file = write.to_model(q).SerializeToString()
    assert by_operator.look(other, file, x).agree
    tolerance = ort.tolerance(other, file)
    with pytest.raises(CodesDifferError) as refused:
        judge(tolerance, *compare(ort.run_onnx(file)(x), integer.run(other, x), q.formats[q.graph.output.name]), x)
    assert refused.value.apart is not None
    assert refused.value.apart.name == "one"
