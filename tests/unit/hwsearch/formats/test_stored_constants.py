"""Sizes of weights hold what files hold: masks and biases of attention too, equal ones once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import tflite
from block_networks import SwinBlock
from onnx import numpy_helper
from oracle.vela import Uniform
from random_networks import on_shares, quantize
from torch import Tensor, nn

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.pricing.memory import BIAS_BYTES, SCALE_BYTES
from hwsearch.formats.onnx import write as write_onnx
from hwsearch.formats.tflite import write as write_tflite
from hwsearch.formats.writing import exporters
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload
from searchspaces.tracing.trace import trace

SIDE, SIZE = 4, (12, 16)
TFLITE, ORT = "qcs6490-hexagon-litert", "host"


class TwoShifted(nn.Module):
    """Two blocks of attention in shifted windows: biases of their own, and the same mask."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 1, 3, padding=1)
        self.blocks = nn.ModuleList(SwinBlock(16, SIDE, 2, SIDE // 2) for _ in range(2))
        for norm in (each for each in self.modules() if isinstance(each, nn.LayerNorm)):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        n, c, h, w = y.shape
        tokens = y.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens, (h, w))
        return self.tail(tokens.transpose(1, 2).reshape(n, c, h, w))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return trace(TwoShifted().eval(), 1, "two", 1, size=SIZE)


def table_of(graph: Graph, target: str, bits: int) -> tuple[cost.CostTable, int]:
    """The table of one width on a device, and the bytes of scales in it, which a file has beside its buffers."""
    device = catalogue.load(target)
    workload = exporters.shipped(to_workload(graph, *SIZE), device)
    scales = sum(SCALE_BYTES * workload.tensors[layer.output].channels for layer in workload.layers if layer.weight_count)
    return cost.lower(device, workload, Uniform(workload, bits)), scales


def stored(table: cost.CostTable) -> int:
    return int(cost.estimate(table, np.zeros((1, table.decisions), dtype=np.int8)).weight_bytes[0])


def buffers(file: Path) -> dict[int, tuple[str, int]]:
    """By number of every buffer that is no shape: the name of a tensor that has it, and its bytes."""
    model = tflite.Model.GetRootAsModel(file.read_bytes(), 0)
    graph, found = model.Subgraphs(0), {}
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        size = model.Buffers(tensor.Buffer()).DataLength()
        if size and (tensor.Type() != tflite.TensorType.INT32 or tensor.Name().endswith(b"bias")):
            found[tensor.Buffer()] = (tensor.Name().decode(), size)
    return found


def constants(table: cost.CostTable) -> int:
    return int(table.constant_bytes.sum())


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tflite_file_holds_what_is_priced(graph: Graph, bits: int, tmp_path: Path) -> None:
    quantized = on_shares(quantize(graph, 8, bits, size=SIZE))
    held = buffers(write_tflite.export(quantized, tmp_path / "two.tflite", size=SIZE))
    found = [(name, size) for name, size in held.values() if not name.endswith("/epsilon")]
    table, scales = table_of(graph, TFLITE, bits)
    assert sum(size for name, size in found if "/" in name) == constants(table)
    if bits == 8:  # wider biases are not in the price
        assert sum(size for _, size in found) == stored(table) - scales


def test_an_onnx_file_holds_operands_in_single_precision(graph: Graph, tmp_path: Path) -> None:
    file = write_onnx.export(quantize(graph, 8, 8, size=SIZE), tmp_path / "two.onnx", metadata={})
    values = [numpy_helper.to_array(tensor) for tensor in onnx.load(file).graph.initializer]
    table, _ = table_of(graph, ORT, 8)
    one_factor = BIAS_BYTES  # a single number, which has no axes
    assert sum(x.nbytes for x in values if x.dtype == np.float32 and x.ndim > 2) == constants(table) - one_factor


def test_what_is_read_is_paid_for_by_every_layer(graph: Graph) -> None:
    """Both additions of the mask wait for it, though it is stored once."""
    device = catalogue.load("rk3588")
    workload = to_workload(graph, *SIZE)
    bare = replace(workload, layers=tuple(replace(layer, constants=()) for layer in workload.layers))
    read, without = (cost.lower(device, each, Uniform(each, 8)) for each in (workload, bare))
    rows = [row for row, layer in enumerate(workload.layers) if any(c.elements > 1000 for c in layer.constants)]
    assert [workload.layers[row].constants[0].repeated for row in rows] == [False, True]
    elements = 12 * 16 // SIDE**2 * SIDE**4
    wait_s = elements / device.memory["dram"].bytes_per_s.value
    np.testing.assert_allclose((read.weight_s - without.weight_s)[rows, 0, 0, 0], wait_s)
    assert constants(read) > constants(without)
