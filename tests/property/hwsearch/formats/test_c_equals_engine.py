"""Any plan that C can hold gives the codes that our engine gives: hypothesis draws a width for every layer and every tensor."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import c_program
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from random_networks import float_graph, quantize

from hwmodels.errors import FileError
from hwsearch.formats.c import write
from hwsearch.quant.engine import integer
from searchspaces.ir.graph import Graph

NETWORKS = ("fsrcnn-relu", "fsrcnn-prelu", "abpn", "ecbsr", "edsr")


@lru_cache
def graph_of(name: str) -> Graph:
    return float_graph(name, seed=len(name))


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_random_mixed_plans_are_equal_code_for_code(name: str, data: st.DataObject) -> None:
    graph = graph_of(name)
    weights = {node.name: data.draw(st.integers(2, 8), label=node.name) for node in graph.convs}
    groups = sorted(set(graph.quantizer_groups().values()))
    widths = {group: data.draw(st.sampled_from((2, 3, 4, 6, 8, 8, 16)), label=group) for group in groups}
    q = quantize(graph, weights, widths, symmetric=data.draw(st.booleans(), label="symmetric"))
    height, width = (data.draw(st.integers(1, 9)) for _ in range(2))
    source = q.formats[graph.input.name]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    codes = rng.integers(source.qmin, source.qmax + 1, (graph.channels, height, width))
    x = source.decode(torch.from_numpy(codes).float())[None]
    ours = integer.run_codes(replace(q, rule=write.RULE), x)[graph.output.name][0].numpy()
    with tempfile.TemporaryDirectory() as folder:
        try:
            executable = c_program.build(q, Path(folder), (height, width))
        except FileError as refusal:  # a plan that C cannot hold, and says so
            if "overflow" not in str(refusal):
                raise
            reject()
        assert np.array_equal(c_program.run(executable, q, codes, ours.shape), ours)
