"""What is counted for the layers of a network on a processor, beside the operators of its files."""

from __future__ import annotations

from collections import Counter

import onnxruntime
import pytest
import torch
from torch import nn

from hwmodels.classes.onnxruntime_work import DECODED, ENCODED, SECONDS, Same, counted
from hwsearch.boards.runtime import INT8, Subject, integers
from hwsearch.formats.onnx import write
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
        self.dense = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.head(x)
        match self.name:
            case "product":
                y = y * y.roll(1, 2)
            case "sum":
                y = y + y.roll(1, 2)
            case "mean":
                y = y + y.mean((2, 3), keepdim=True)
            case "dense":
                y = self.dense(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        found: torch.Tensor = self.tail(y)
        return found


def network(name: str) -> Graph:
    return trace(Around(name).eval(), 3, name, scale=1, size=(SIDE, SIDE))


def elements(graph: Graph, codes: bool) -> dict[str, float]:
    """Sums over the layers of a network, by constant."""
    found = counted(Same(to_workload(graph, SIDE, SIDE)), 16.0, not codes, codes).elements.sum(axis=1)
    return dict(zip(SECONDS, found.tolist(), strict=True))


@pytest.mark.parametrize("name", ["product", "sum"])
def test_between_codes_sums_are_integers_and_products_are_not(name: str, tmp_path: object) -> None:
    """A product has no kernel: its file decodes both operands and encodes the result; ``DECODED`` and ``ENCODED`` count that."""
    graph = network(name)
    model = write.to_model(integers(Subject(name, graph, SIDE, SIDE, INT8, "")))
    ran = Counter(node.op_type for node in model.graph.node)
    assert onnxruntime.InferenceSession(model.SerializeToString()).get_outputs()
    values = CHANNELS * SIDE**2
    if name == "product":
        kinds = ("Cast", "Sub", "Mul", "Div", "Round", "Add", "Clip")
        assert sum(ran[kind] for kind in kinds) == 2 * DECODED + ENCODED
        assert elements(graph, True)["slope_s"] == pytest.approx(1.2 * values)
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


def test_pictures_that_are_moved_around_are_copied_twice_along_each_axis() -> None:
    assert elements(network("sum"), True)["copy_s"] == 4 * CHANNELS * SIDE**2


def test_rows_of_a_dense_layer() -> None:
    assert elements(network("dense"), True)["row_s"] == SIDE**2


def test_a_workload_is_counted_once_for_the_same_constants() -> None:
    workload = to_workload(network("sum"), SIDE, SIDE)
    assert counted(Same(workload), 16.0, True, False) is counted(Same(workload), 16.0, True, False)
    assert counted(Same(workload), 16.0, True, False) is not counted(
        Same(to_workload(network("sum"), SIDE, SIDE)), 16.0, True, False
    )
