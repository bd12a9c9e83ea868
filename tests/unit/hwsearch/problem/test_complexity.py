"""Ranks of branches by what layers read: the rule by hand, complexities against their definitions, and requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from low_rank_network import NETWORK
from recurrent_networks import recalling
from small_job import answer, laid_out

from hwmodels.errors import UsageError
from hwsearch.documents.progress import Silent
from hwsearch.problem import complexity
from hwsearch.problem.complexity import Complexities, complexities
from hwsearch.problem.request import Request
from hwsearch.quality.proxies import PROXIES
from hwsearch.search import ranking
from searchspaces.ir import branches
from searchspaces.ir.graph import execute
from searchspaces.networks.cnn.edsr import EDSR
from searchspaces.tracing.trace import trace


def test_the_published_rule_by_hand() -> None:
    """Six samples. Layer a is always in the upper quartile of both, b in the lower of both, c in neither, d in one of each."""
    spatial, temporal = np.tile([9.0, 1.0, 5.0, 9.0], (6, 1)), np.tile([8.0, 2.0, 4.0, 2.0], (6, 1))
    # 16 + 6 = 22 is nearest to 24; 16 - 6 is cut at 16.
    assert Complexities(("a", "b", "c", "d"), spatial, temporal).ranks() == {"a": 24, "b": 16, "c": 16, "d": 16}
    many = Complexities(("a", "b"), np.tile([2.0, 1.0], (100, 1)), np.tile([2.0, 1.0], (100, 1)))
    assert many.ranks() == {"a": 64, "b": 16}
    eleven = Complexities(("a", "b"), np.tile([2.0, 1.0], (12, 1)), np.zeros((12, 2)))  # 28 goes up, and the spatial one decides
    assert eleven.ranks() == {"a": 32, "b": 16}


def test_the_spatial_complexity_is_the_deviation_over_places() -> None:
    graph = trace(EDSR(scale=2, n_feats=8, n_blocks=1).eval(), 3, "edsr")
    names = [node.name for node in graph.convs]
    crops = [torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    found = complexities(graph, crops, names)
    assert not found.temporal.any()
    for s, picture in enumerate(crops):
        seen: dict[str, np.ndarray] = {}

        def keep(node, value, seen=seen) -> None:
            seen[node.name] = value.numpy()

        with torch.no_grad():
            execute(graph, picture, keep)
        wanted = [seen[graph[name].inputs[0]].std(axis=(2, 3)).mean() for name in names]
        np.testing.assert_allclose(found.spatial[s], wanted, rtol=1e-5)


def test_the_temporal_complexity_is_the_change_between_frames() -> None:
    graph = trace(recalling(), 1, "recalling")
    clip = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    names = [node.name for node in graph.convs]
    found = complexities(graph, [clip, clip[:1].expand(3, -1, -1, -1)], names)
    of_frames = (clip[1:] - clip[:-1]).square().mean()
    first = next(i for i, name in enumerate(names) if graph[name].inputs[0] == graph.input.name)
    assert found.temporal[0, first] == pytest.approx(float(of_frames), rel=1e-5)
    assert found.temporal[1, first] == 0  # the same frame three times
    recalled = next(i for i, name in enumerate(names) if graph[name].inputs[0] in graph.remembered)
    assert found.temporal[1, recalled] > 0  # nothing is recalled at first, then something


def test_a_request_gets_its_branches_named(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    said: list[str] = []

    class Heard(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    request = Request(model=f"{tmp_path / 'net.py'}:Net", scale=2, input_size=(8, 8), branches=("complexity",))
    found = complexity.settled(request, Heard())
    # Of copy, head, body and tail the first and the last have none. 48x9 numbers are as many as those of rank 7, whose half is 3.
    assert branches.read(found.branches) == {"head": 3, "body": 16}
    assert "one frame at a time" in said[0]
    assert said[1].endswith("head=3, body=16")
    assert complexity.settled(found, Heard()) is found
    for wrong in ({"branches": ("complexity", "body=2")}, {"scope": "body"}):
        with pytest.raises(UsageError, match="branches"):
            complexity.settled(Request(**{**vars(request), **wrong}), Silent())


def test_commands_take_them_and_name_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out(tmp_path, NETWORK)
    monkeypatch.setattr(ranking, "PROXIES", {"sqnr": PROXIES["sqnr"]})
    model = ["--model", f"{tmp_path / 'net.py'}:Net"]
    words = [*model, "--scale", "2", "--input", "8x8", "--task", "fidelity", "--images", str(tmp_path / "photos")]
    words += ["--branches", "complexity"]
    on_one, ranks = ["--target", "bitserial-npu"], {"head": 3, "body": 16}
    for compared in (
        ["methods", "compare", *on_one, "--method", "mse", "--bits", "8/8"],
        ["proxies", "compare", "--probes", "10"],
    ):
        assert answer(capsys, *compared, *words)["branches"] == ranks
    run, several = str(tmp_path / "run"), str(tmp_path / "several")
    few = ["--evaluations", "8", "--probes", "4", "--weight-bits", "4,8", "--activation-bits", "8", "--quick"]
    assert _branches(answer(capsys, "optimize", *words, *few, *on_one, "--out", run)) == ranks
    answer(capsys, "optimize", "--resume", run, *model)  # which decides nothing anew
    found = answer(capsys, "optimize", *words, *few, *on_one, "--target", "stm32h743", "--out", several)
    assert [_branches(own) for own in found["targets"].values()] == [ranks, ranks]
    answer(capsys, "optimize", "--resume", several, *model)


def _branches(document: dict[str, Any]) -> dict[str, int]:
    """Those that all plans of a front have."""
    (alike,) = {tuple(plan["branches"].items()) for plan in document["front"]}
    return dict(alike)
