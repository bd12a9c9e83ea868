"""Constants where a product or a concatenation needs a tensor: traced to the module's numbers, and run in integers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from random_networks import quantize
from torch import Tensor, nn

from hwsearch.formats.onnx import read
from hwsearch.quant.engine import integer
from searchspaces.ir.graph import execute
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.tracing.trace import trace


class Tokens(nn.Module):
    """Rows of a picture as sets of tokens, what ``change`` makes of them, a last layer."""

    def __init__(self, change: Callable[[Tokens, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1)
        self.matrices, self.queries = nn.Parameter(torch.randn(6, 8, 8)), nn.Parameter(torch.randn(1, 4, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        rows = self.first(x)[0].permute(1, 2, 0)
        found: Tensor = self.last(self.change(self, rows).permute(2, 0, 1)[None])
        return found


def matrix_each(net: Tokens, rows: Tensor) -> Tensor:
    return rows @ net.matrices


def matrix_each_first(net: Tokens, rows: Tensor) -> Tensor:
    return (net.matrices @ rows.transpose(1, 2)).transpose(1, 2)


def one_for_all(net: Tokens, rows: Tensor) -> Tensor:
    return torch.bmm(rows, net.matrices[:1].expand(len(rows), -1, -1))


def one_becomes_several(net: Tokens, rows: Tensor) -> Tensor:
    """The constant has more matrices than what it is multiplied with."""
    return rows + (rows[:1] @ net.matrices[:1].expand(len(rows), -1, -1))


def learned_queries(net: Tokens, rows: Tensor) -> Tensor:
    """Tokens of the picture gathered by queries that are learned, and given back: a bias for keys stands behind these."""
    gathered = net.attention(net.queries.expand(len(rows), -1, -1), rows, rows, need_weights=False)[0]
    return rows + net.attention(rows, gathered, gathered, need_weights=False)[0]


def behind_rows(net: Tokens, rows: Tensor) -> Tensor:
    return torch.cat((rows, net.matrices[:2, :, :]), 0)[: len(rows)] + torch.cat((net.matrices[:2], rows), 0)[2:]


class Heads(nn.Module):
    """A matrix for each of two heads, of pictures of any size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1)
        self.matrices = nn.Parameter(torch.randn(2, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        n, c, h, w = y.shape
        heads = y.reshape(n, 2, 4, h * w).transpose(2, 3) @ self.matrices
        found: Tensor = self.last(heads.transpose(2, 3).reshape(n, c, h, w))
        return found


def test_a_matrix_for_each_head_is_the_same_for_all_pictures(tmp_path: Path) -> None:
    module, x, file = Heads().eval(), torch.rand(3, 3, 8, 8), tmp_path / "heads.onnx"
    graphs = [trace(module, 3, "heads")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x[:1],), str(file), opset_version=18, dynamo=False)
    graphs.append(read.read(file).graph)
    for graph in graphs:
        with torch.no_grad():
            torch.testing.assert_close(execute(graph, x), module(x), rtol=1e-5, atol=1e-5)


CHANGES = {
    matrix_each: MatMul,
    matrix_each_first: MatMul,
    one_for_all: Linear,
    one_becomes_several: MatMul,
    learned_queries: MatMul,
    behind_rows: None,
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_same_numbers(change: Callable[[Tokens, Tensor], Tensor]) -> None:
    module, x = Tokens(change).eval(), torch.rand(1, 3, 6, 8)
    graph = trace(module, 3, "tokens", size=(6, 8))
    assert not graph.uncounted
    kind = CHANGES[change]
    assert kind is None or any(isinstance(node.op, kind) for node in graph.nodes)
    with torch.no_grad():
        wanted = module(x)
        torch.testing.assert_close(execute(graph, x), wanted, rtol=1e-5, atol=1e-5)
        quantized = integer.run(quantize(graph, 8, 16, size=(6, 8)), x)
    assert float((quantized - wanted).square().mean().sqrt()) < 0.1 * float(wanted.std())
