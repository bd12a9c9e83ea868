"""Low-rank branches: the function stays, what is left has a smaller range, and what cannot have one is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hwmodels.errors import UsageError
from searchspaces.ir import branches
from searchspaces.ir.graph import Graph, conv_of, execute
from searchspaces.ir.lower import to_workload
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.maps.activation import Relu
from searchspaces.ops.maps.elementwise import Add
from searchspaces.tracing.trace import trace


class Net(nn.Module):
    """Convolutions of all kinds, one behind the other, and a linear layer on the channels of a pixel."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.wide = nn.Conv2d(3, 12, 3, padding=1)
        self.narrow = nn.Conv2d(12, 8, 3, padding=1)
        self.strided = nn.Conv2d(8, 6, 3, stride=2, padding=1, bias=False)
        self.dilated = nn.Conv2d(6, 6, 3, padding=2, dilation=2)
        self.linear = nn.Linear(6, 16)
        self.groups = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.up = nn.ConvTranspose2d(16, 12, 2, stride=2)
        self.again = nn.Conv2d(12, 12, 3, padding=1)
        self.steep = nn.Conv2d(12, 12, 3, padding=1)
        self.slopes = nn.PReLU(12)
        self.tail = nn.Conv2d(12, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.narrow(torch.relu(self.wide(x))))
        x = self.dilated(self.strided(x))
        x = self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.up(torch.relu(self.depthwise(self.groups(x))))
        x = self.again(torch.relu(self.again(x)))
        return nn.functional.pixel_shuffle(self.tail(self.slopes(self.steep(x))), 2)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return trace(Net().eval(), 3, "net")


RANKS = {"wide": 2, "narrow": 3, "strided": 2, "dilated": 1, "linear": 3, "up": 4, "tail": 2}


def test_layers_in_groups_with_slopes_or_of_shared_weights_are_no_candidates(graph: Graph) -> None:
    found = branches.candidates(graph)
    assert set(found) == set(RANKS)
    for name, rank in found.items():
        weight = graph[name].weights["weight"].numel()
        assert branches.factors(graph[name], rank).numbers <= weight


@pytest.mark.parametrize("name", RANKS)
def test_the_function_stays(graph: Graph, name: str) -> None:
    _check_function(graph, {name: RANKS[name]})


def test_the_function_stays_with_branches_everywhere(graph: Graph) -> None:
    _check_function(graph, RANKS)


def _check_function(graph: Graph, ranks: dict[str, int]) -> None:
    x = torch.rand(2, 3, 14, 18, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = execute(graph, x), execute(branches.branched(graph, ranks), x)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < 1e-5 * max(float(expected.abs().max()), 1.0)


def test_the_parts_of_a_branch(graph: Graph) -> None:
    found = branches.branched(graph, {"wide": 2, "narrow": 3})
    assert len(found.nodes) == len(graph.nodes) + 6
    names = [node.name for node in found.nodes]
    assert names.index("wide.down") < names.index("wide") < names.index("wide.up") < names.index("wide.sum")
    down, main, up, both = (found[name] for name in ("wide.down", "wide", "wide.up", "wide.sum"))
    assert down.weight_shapes == {"weight": (2, 3, 3, 3)}
    assert up.weight_shapes == {"weight": (12, 2, 1, 1)}
    assert main.activation is None
    assert isinstance(both.op, Add)
    assert both.op.activation == Relu()
    assert torch.equal(main.weights["bias"], graph["wide"].weights["bias"])
    assert both.inputs == ("wide", "wide.up")
    # 12 inputs, 8 outputs: with the kernel behind the few channels there are fewer numbers.
    assert found["narrow.down"].weight_shapes == {"weight": (3, 12, 1, 1)}
    assert found["narrow.up"].weight_shapes == {"weight": (8, 3, 3, 3)}
    assert conv_of(found["narrow.down"]).padding == (0, 0, 0, 0)
    assert conv_of(found["narrow.up"]).padding == (1, 1, 1, 1)
    assert found["narrow"].inputs == ("wide.sum",)


def test_a_stride_is_taken_at_once(graph: Graph) -> None:
    found = branches.branched(graph, {"strided": 2})
    assert conv_of(found["strided.down"]).strides == (2, 2)
    assert conv_of(found["strided.up"]).strides == (1, 1)


def test_a_linear_layer_has_linear_parts(graph: Graph) -> None:
    found = branches.branched(graph, {"linear": 3})
    assert {type(found[f"linear.{part}"].op) for part in ("down", "up")} == {Linear}
    assert found["linear.down"].weight_shapes == {"weight": (3, 6)}
    assert found["linear.up"].weight_shapes == {"weight": (16, 3)}


def test_what_a_branch_takes_are_the_largest_singular_values(graph: Graph) -> None:
    own = graph["tail"].weights["weight"].flatten(1).numpy()
    left = branches.beside(graph["tail"], 2).flatten(1).numpy()
    before, after = (np.linalg.svd(matrix, compute_uv=False) for matrix in (own, left))
    assert after[:-2] == pytest.approx(before[2:], rel=1e-4)
    assert after[-2:] == pytest.approx(np.zeros(2), abs=1e-5)


def test_macs_are_those_of_all_parts(graph: Graph) -> None:
    before, after = (to_workload(one, 16, 16).macs for one in (graph, branches.branched(graph, {"wide": 2})))
    assert after - before == 16 * 16 * (2 * 3 * 9 + 12 * 2)


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        ({"groups": 1}, "cannot have a low-rank branch"),
        ({"depthwise": 1}, "cannot have a low-rank branch"),
        ({"again": 1}, "cannot have a low-rank branch"),
        ({"steep": 1}, "cannot have a low-rank branch"),
        ({"nowhere": 1}, "no layer 'nowhere'"),
        ({"tail": 99}, "would hold as much"),
    ],
)
def test_what_cannot_be_is_refused(graph: Graph, ranks: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        branches.branched(graph, ranks)


def test_a_layer_of_the_name_of_a_part_is_refused() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(4, 4, 3, padding=1)
            self.body.add_module("up", nn.Conv2d(4, 4, 3, padding=1))

        def forward(self, x: Tensor) -> Tensor:
            up: Tensor = self.body.up(self.body(x.repeat(1, 4, 1, 1)))
            return nn.functional.pixel_shuffle(up, 2)

    with pytest.raises(UsageError, match=r"has a layer 'body\.up' already"):
        branches.branched(trace(Named().eval(), 1, "named"), {"body": 1})


def test_texts_are_read_and_written() -> None:
    assert branches.read(["a.b=4", "c=2"]) == {"a.b": 4, "c": 2}
    assert branches.written({"a.b": 4}) == ("a.b=4",)
    for text in ("a", "a=", "=4", "a=0", "a=x", "auto"):
        with pytest.raises(UsageError, match="not LAYER=RANK"):
            branches.read([text])
    with pytest.raises(UsageError, match="two ranks"):
        branches.read(["a=1", "a=2"])


def test_no_branch_changes_nothing(graph: Graph) -> None:
    assert branches.branched(graph, {}) is graph
