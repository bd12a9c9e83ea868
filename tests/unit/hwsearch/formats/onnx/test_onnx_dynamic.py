"""Files that ONNX Runtime quantized dynamically: their layers are listed, and why their network is not searched is told."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from hwmodels.errors import UncountedError
from hwsearch.formats.onnx import read
from hwsearch.formats.reading import file_network


def test_the_reason_is_one_and_the_layers_are_there(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1), nn.PixelShuffle(2))
    torch.onnx.export(module, (torch.rand(1, 1, 16, 16),), str(tmp_path / "f.onnx"), dynamo=False)
    quantize_dynamic(tmp_path / "f.onnx", tmp_path / "d.onnx", weight_type=QuantType.QUInt8)
    assert any(node.op_type == "ConvInteger" for node in onnx.load(tmp_path / "d.onnx").graph.node)
    found = read.read(tmp_path / "d.onnx")
    assert [(layer.shape, layer.weight_bits) for layer in found.layers] == [((8, 1, 3, 3), 8), ((4, 8, 3, 3), 8)]
    with pytest.raises(UncountedError, match="dynamic quantization: ranges are found anew") as refused:
        file_network.load(tmp_path / "d.onnx")
    assert "broadcast" not in refused.value.message
