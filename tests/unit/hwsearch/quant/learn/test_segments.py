"""Forward passes in segments: the same values and derivatives, each node's tensors where they are read, less kept."""

from __future__ import annotations

import pytest
import torch
from byte_ends import draft_of

from hwsearch.contracts import tiny_calibration
from hwsearch.quant.learn import segments
from hwsearch.quant.learn.polish import polish
from hwsearch.quant.learn.student import FakeQuantized
from hwsearch.quant.learn.together import Student
from searchspaces.ir.graph import Graph
from searchspaces.ir.shapes import shapes
from searchspaces.networks import registry
from searchspaces.tracing.trace import trace


@pytest.fixture(scope="module")
def calibration():
    return tiny_calibration((4, 8), (4, 8), "together")


def values(graph: Graph, part: segments.Segment, shape: tuple[int, ...]) -> int:
    found = shapes(graph, *shape[2:])
    return sum(shape[0] * torch.Size(found[node.name]).numel() for node in part.nodes)


@pytest.mark.parametrize("most", [1, 5_000, 40_000, 10**9])
def test_segments_are_the_network_and_no_larger_than_asked_for(most: int) -> None:
    graph = trace(registry.build("imdn", 2, nf=8, n_blocks=2), 3, (12, 12)).at(12, 12)
    shape, wanted = (2, 3, 12, 12), (graph.output.name, graph.convs[0].name)
    parts = segments.segments(graph, shape, wanted, most)
    assert [node.name for part in parts for node in part.nodes] == [node.name for node in graph.nodes]
    assert all(values(graph, part, shape) <= most or len(part.nodes) == 1 for part in parts)
    known: set[str] = set()
    for part in parts:
        assert known.issuperset(part.reads)
        known |= set(part.leaves)
    assert known.issuperset(wanted)
    assert (len(parts) == 1) == (most == 10**9)


def test_derivatives_are_those_of_a_whole_pass(calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    draft, x, found = draft_of(calibration, 4, 4), torch.rand(2, 1, 12, 12), []
    for most in (10**9, 3_000):
        student = Student(draft)
        monkeypatch.setattr(student, "most_values", most)
        trained = [tensor for layer in student.layers.values() for tensor in layer.trained()]
        trained += [ends.change for ends in student.tensors.values()]
        graph = student.graph.at(12, 12)
        assert (len(segments.segments(graph, tuple(x.shape), (graph.output.name,), most)) > 2) == (most == 3_000)
        y = student(x, graph)
        found.append((y.detach(), *torch.autograd.grad(y.square().sum(), trained)))
    for whole, cut in zip(*found, strict=True):
        torch.testing.assert_close(cut, whole, rtol=1e-5, atol=1e-6)


def test_less_is_kept_for_the_backward_pass(calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    for most in (10**9, 3_000):
        student, held = Student(draft_of(calibration, 4, 4)), []
        monkeypatch.setattr(student, "most_values", most)
        graph = student.graph.at(12, 12)
        with torch.autograd.graph.saved_tensors_hooks(lambda x, held=held: held.append(x.numel()) or x, lambda x: x):
            student(torch.rand(2, 1, 12, 12), graph)
        kept.append(sum(held))
    assert kept[1] < kept[0] / 2


def test_polishing_in_segments_ends_where_it_does_as_a_whole(calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for most in (10**9, 3_000):
        monkeypatch.setattr(FakeQuantized, "most_values", most)
        found.append(polish(draft_of(calibration, 4, 8), steps=5))
    for name, layer in found[0].layers.items():
        assert abs(layer.weight.astype(int) - found[1].layers[name].weight).max() <= 1
