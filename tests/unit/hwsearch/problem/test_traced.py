"""Graphs kept between commands: the graph that a trace gives, and a new trace wherever something may differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hwsearch.problem import traced
from searchspaces.ir.graph import Graph
from searchspaces.networks import registry
from searchspaces.tracing import trace

SIZE = (32, 32)


class Own(nn.Module):
    """Somebody's class, whose code is in no package of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = nn.functional.pixel_shuffle(self.layer(x), 2)
        return found


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names of the networks that were traced; graphs are kept in a folder of this test."""
    monkeypatch.setenv("HWSEARCH_HOME", str(tmp_path))
    seen: list[str] = []
    real = trace.trace

    def counted(module: nn.Module, channels: int, name: str, **more: Any) -> Graph:
        seen.append(name)
        return real(module, channels, name, **more)

    monkeypatch.setattr(trace, "trace", counted)
    return seen


def same(one: Graph, other: Graph) -> bool:
    """Whether two graphs are equal to the last bit."""
    facts = [
        [(n.name, n.op, n.inputs, [(role, w.dtype, w.shape) for role, w in n.weights.items()]) for n in graph.nodes]
        for graph in (one, other)
    ]
    if facts[0] != facts[1] or (one.name, one.size, one.multiple) != (other.name, other.size, other.multiple):
        return False
    pairs = zip(one.nodes, other.nodes, strict=True)
    return all(torch.equal(a.weights[role], b.weights[role]) for a, b in pairs for role in a.weights)


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return registry.build(name, registry.spec(name).scales[0])


@pytest.mark.parametrize("name", ["fsrcnn", "ecbsr", "mobilesr"])
def test_the_second_time_the_same_graph_is_there(name: str, traces: list[str]) -> None:
    channels = registry.spec(name).channels or 1
    first = traced.traced(build(name), channels, name, otherwise=SIZE)
    second = traced.traced(build(name), channels, name, otherwise=SIZE)
    assert same(first, second)
    assert traces == [name]


def test_another_number_attribute_size_or_name_is_traced_anew(traces: list[str]) -> None:
    def net(padding: int = 1, weight: float = 1.0) -> nn.Module:
        torch.manual_seed(0)
        layer = nn.Conv2d(1, 4, 3, padding=padding)
        with torch.no_grad():
            layer.weight[0, 0, 0, 0] = weight
        return nn.Sequential(layer, nn.Upsample(scale_factor=2))

    traced.traced(net(), 1, "net", otherwise=SIZE)
    for module, name in ((net(padding=2), "net"), (net(weight=1.5), "net"), (net(), "other")):
        before = len(traces)
        traced.traced(module, 1, name, otherwise=SIZE)
        assert len(traces) == before + 1
    traced.traced(net(), 1, "net", otherwise=(64, 64))
    assert len(traces) == 5
    traced.traced(net(), 1, "net", otherwise=SIZE)
    assert len(traces) == 5


def test_code_of_others_and_hooks_are_traced_every_time(traces: list[str], tmp_path: Path) -> None:
    hooked = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2))
    hooked[0].register_forward_hook(lambda module, inputs, output: output * 2)
    for module in (Own(), hooked):
        for _ in range(2):
            traced.traced(module, 1, "net", otherwise=SIZE)
    assert len(traces) == 4
    assert not (tmp_path / "graphs").exists()


def test_a_damaged_file_is_as_good_as_none(traces: list[str], tmp_path: Path) -> None:
    first = traced.traced(build("fsrcnn"), 1, "fsrcnn", otherwise=SIZE)
    (file,) = (tmp_path / "graphs").iterdir()
    content = file.read_bytes()
    for damaged in (b"", content[:-1], content[:40] + b"x" + content[41:]):
        file.write_bytes(damaged)
        assert same(traced.traced(build("fsrcnn"), 1, "fsrcnn", otherwise=SIZE), first)
    assert len(traces) == 4
    assert file.read_bytes() == content


def test_asked_not_to_nothing_is_kept_or_used(traces: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        traced.traced(build("fsrcnn"), 1, "fsrcnn", otherwise=SIZE, keep=False)
    assert len(traces) == 2
    assert not (tmp_path / "graphs").exists()
