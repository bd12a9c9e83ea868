"""What is counted for the layers of a network on a processor, beside the operators of its files."""

from __future__ import annotations

from collections import Counter

import onnxruntime
import pytest
import torch
from torch import nn

from hwmodels.classes.onnxruntime_work import (
    BEGUN,
    COLLIDING,
    COPIED_ROW,
    DECODED,
    ENCODED,
    SECONDS,
    SLOPED,
    Counted,
    Same,
    counted,
)
from hwsearch.boards.runtime import INT8, Subject, integers
from hwsearch.formats.onnx import write
from hwsearch.formats.onnx.codes import CodeWriter
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload
from searchspaces.tracing.trace import trace

SIDE, CHANNELS = 16, 8


class Around(nn.Module):
    """Something between two convolutions."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.head, self.tail = nn.Conv2d(3, CHANNELS, 3, padding=1), nn.Conv2d(CHANNELS, 3, 3, padding=1)
        self.dense, self.norm = nn.Linear(CHANNELS, CHANNELS), nn.LayerNorm(CHANNELS)
        self.wide = nn.Conv2d(CHANNELS, CHANNELS, (5, 3), padding=(2, 1))
        self.groups = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=2)
        self.depthwise = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.head(x)
        match self.name:
            case "product":
                y = y * y.roll(1, 2)
            case "sum":
                y = y + y.roll(1, 2)
            case "mean":
                y = y + y.mean((2, 3), keepdim=True)
            case "slope":
                y = nn.functional.leaky_relu(self.wide(y), 0.1)
            case "depthwise slope":
                y = nn.functional.leaky_relu(self.depthwise(y), 0.1)
            case "dense slope":
                y = nn.functional.leaky_relu(self.dense(y.permute(0, 2, 3, 1)), 0.1).permute(0, 3, 1, 2)
            case "groups":
                y = self.groups(y)
            case "normalization":
                y = self.norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            case "softmax":
                y = y.softmax(-1)
            case "matrices":
                y = y @ y.transpose(-2, -1)
            case "dense":
                y = self.dense(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        found: torch.Tensor = self.tail(y)
        return found


def network(name: str, side: int = SIDE) -> Graph:
    return trace(Around(name).eval(), 3, name, scale=1, size=(side, side))


def work(graph: Graph, codes: bool, side: int = SIDE) -> Counted:
    return counted(Same(to_workload(graph, side, side)), 16.0, not codes, codes)


def elements(graph: Graph, codes: bool, side: int = SIDE) -> dict[str, float]:
    """Sums over the layers of a network, by constant."""
    return dict(zip(SECONDS, work(graph, codes, side).elements.sum(axis=1).tolist(), strict=True))


VIEWS = ("Identity", "Reshape", "Shape", "Concat")
"""Operators of a dense layer that give values other axes, and the sizes of these."""


def operators(graph: Graph, layer: int) -> int:
    """Operators with work to do that the file in integers has for a layer of a network."""
    qgraph = integers(Subject(graph.name, graph, SIDE, SIDE, INT8, ""))
    writer = CodeWriter(qgraph)
    *earlier, wanted = qgraph.graph.nodes[: layer + 2]  # behind the input
    for node in earlier:
        writer.write(node)
    before = len(writer.nodes)
    writer.write(wanted)
    return sum(node.op_type not in VIEWS for node in writer.nodes[before:])


@pytest.mark.parametrize("name", ["product", "sum"])
def test_between_codes_sums_are_integers_and_products_are_not(name: str) -> None:
    """A product has no kernel: its file decodes both operands and encodes the result; ``DECODED`` and ``ENCODED`` count that."""
    graph = network(name)
    model = write.to_model(integers(Subject(name, graph, SIDE, SIDE, INT8, "")))
    ran = Counter(node.op_type for node in model.graph.node)
    assert onnxruntime.InferenceSession(model.SerializeToString()).get_outputs()
    values = CHANNELS * SIDE**2
    if name == "product":
        kinds = ("Cast", "Sub", "Mul", "Div", "Round", "Add", "Clip")
        assert sum(ran[kind] for kind in kinds) == 2 * DECODED + ENCODED
        assert elements(graph, True)["slope_s"] == pytest.approx((2 * DECODED + ENCODED) / SLOPED * values)
        assert elements(graph, True)["elementwise_s"] == 0
    else:
        assert ran["Add"] == 1
        assert elements(graph, True)["slope_s"] == 0
        assert elements(graph, True)["elementwise_s"] == 2 * values
    assert elements(graph, False)["elementwise_s"] == 2 * values


def test_means_of_codes_are_sums_of_doubles() -> None:
    values = CHANNELS * SIDE**2
    assert elements(network("mean"), True)["slope_s"] == 2 * values
    assert elements(network("mean"), False)["slope_s"] == 0


def test_pictures_that_are_moved_around_are_copied_as_if_along_both_axes() -> None:
    assert elements(network("sum"), True)["copy_s"] == 4 * CHANNELS * SIDE**2


def test_rows_that_begin_anew() -> None:
    """Of dense layers and normalizations of codes, which have a row for each pixel; of what is summed in single precision."""
    assert elements(network("dense"), True)["row_s"] == SIDE**2
    assert elements(network("dense"), False)["row_s"] == 0
    assert elements(network("normalization"), True)["row_s"] == SIDE**2
    assert elements(network("normalization"), False)["row_s"] == BEGUN * SIDE**2
    assert elements(network("softmax"), True)["row_s"] == 0
    assert elements(network("softmax"), False)["row_s"] == CHANNELS * SIDE


def test_pairs_of_matrices() -> None:
    assert elements(network("matrices"), True)["matrix_s"] == pytest.approx(CHANNELS)
    assert elements(network("matrices"), False)["matrix_s"] == pytest.approx(CHANNELS)
    assert elements(network("dense"), True)["matrix_s"] == 0


def test_convolutions_that_keep_their_sums_pack_their_patches() -> None:
    """A slope is not fused between codes: the sums are kept, patches are copied row by row and packed, and nothing is padded."""
    graph, values = network("slope"), SIDE**2 * CHANNELS * 15
    assert work(graph, True).sums[1] == values * CHANNELS
    assert not work(graph, False).sums.any()
    assert elements(graph, True)["pack_s"] == pytest.approx(values * (1 + COPIED_ROW / SIDE))
    assert elements(graph, False)["pack_s"] == 0
    assert elements(graph, True)["tap_s"] == 2 * 3 * SIDE**2, "three rows of taps each of head and tail"
    assert elements(graph, True)["output_s"] == 3 * SIDE**2 + CHANNELS * SIDE**2


def test_planes_that_collide_are_packed_for_longer() -> None:
    each = {side: elements(network("slope", side), True, side)["pack_s"] / side**2 for side in (64, 72)}
    rows = {side: 1 + COPIED_ROW / side for side in each}
    assert each[64] / each[72] == pytest.approx((rows[64] + COLLIDING) / rows[72])


def test_of_a_group_each_tap_is_gathered_by_itself() -> None:
    assert elements(network("groups"), True)["tap_s"] == SIDE**2 * (3 + 2 * 9 + 3)


@pytest.mark.parametrize(("name", "layer"), [("slope", 1), ("depthwise slope", 1), ("dense slope", 2), ("product", 2)])
def test_operators_that_run_for_a_layer(name: str, layer: int) -> None:
    graph = network(name)
    assert work(graph, True).calls[layer] == operators(graph, layer)


def test_a_workload_is_counted_once_for_the_same_constants() -> None:
    workload = to_workload(network("sum"), SIDE, SIDE)
    assert counted(Same(workload), 16.0, True, False) is counted(Same(workload), 16.0, True, False)
    assert counted(Same(workload), 16.0, True, False) is not counted(
        Same(to_workload(network("sum"), SIDE, SIDE)), 16.0, True, False
    )
