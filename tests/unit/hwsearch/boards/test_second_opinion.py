"""The compiler's table and configuration, without the compiler; with it, a whole file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from file_networks import draw
from random_networks import quantize

from hwmodels.device import catalogue
from hwmodels.errors import UsageError
from hwsearch.boards import vela
from searchspaces.networks.cnn.fsrcnn import FSRCNN
from searchspaces.tracing.trace import trace

TABLE = """Original Operator,NNG Operator,Target,Staging Usage,Op Cycles,NPU,SRAM AC,DRAM AC,Name
Conv2D,Conv2D,NPU,1000,500,400,300,500,a
PReLU,Mul,NPU,1000,50,50,30,0,a/slope
Add,Add,NPU,2000,100,90,100,0,x
"""


def test_operations_of_one_layer_are_added() -> None:
    rows = vela.parse(TABLE, 1e9)
    assert [row.latency_s for row in rows] == [500e-9, 50e-9, 100e-9]
    assert rows[0].memory_s == 500e-9
    pairs = vela.side_by_side([("a", "conv", 6e-7), ("b", "pixel_shuffle", 1e-9)], rows)
    assert [(p.name, p.vela_s, p.vela_ops) for p in pairs] == [
        ("a", pytest.approx(550e-9), "Conv2D+Mul"),
        ("b", None, ""),
        ("x", pytest.approx(100e-9), "Add"),
    ]


def test_the_compiler_gets_the_memories_of_the_device() -> None:
    text = vela.configuration(catalogue.load("ethos-u85-2048"))
    for line in ("core_clock=1e+09", "Sram_ports_used=4", "Sram_clock_scale=1", "Dram_read_latency=500", "Dram_clock_scale=0.75"):
        assert line in text.splitlines()


def test_the_bus_of_a_u55_is_told_by_the_name_of_its_system() -> None:
    """The compiler reads 8 bytes a cycle for names that begin so, else 16."""
    assert vela.configuration(catalogue.load("ethos-u55-128")).startswith("[System_Config.Ethos_U55")
    assert vela.configuration(catalogue.load("ethos-u65-512")).startswith("[System_Config.Ethos_U65")


def test_another_target_is_told() -> None:
    with pytest.raises(UsageError, match="not for jetson"):
        vela.check(catalogue.load("jetson-orin-nano"))


def test_a_missing_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="not installed"):
        vela.check(catalogue.load("ethos-u55-128"))


@pytest.mark.skipif(importlib.util.find_spec("ethosu") is None, reason="needs the extra: vela")
def test_a_file_is_compiled(tmp_path: Path) -> None:
    from hwsearch.formats.tflite import write

    path = write.export(quantize(trace(FSRCNN(), 1, "fsrcnn", 2)), tmp_path / "net.tflite", size=(48, 64))
    rows = vela.compile_file(path, catalogue.load("ethos-u55-128"))
    assert len(rows) >= 5
    assert all(row.latency_s > 0 for row in rows)


@pytest.mark.skipif(importlib.util.find_spec("ethosu") is None, reason="needs the extra: vela")
@pytest.mark.parametrize("bits", [8, 16])
def test_a_file_with_concatenations_is_compared_as_a_whole(bits: int, tmp_path: Path) -> None:
    """Parts are written where they are joined, so that rows of layers have no partner; the sums do."""
    from hwsearch.formats.reading.readers import inspect
    from hwsearch.formats.tflite import write

    path = write.export(quantize(draw("joined", 1), 8, bits), tmp_path / "net.tflite", size=(60, 80))
    price, found = vela.of_file(inspect(path), "ethos-u55-128")
    assert any(pair.vela_s is None and pair.op == "conv" for pair in found.pairs)
    assert found.difference == pytest.approx(0.0, abs=0.02)
    assert found.ours_s + found.beside_s == pytest.approx(sum(layer.latency_s for layer in price.layers))
    assert (found.beside_s > 0) is (bits == 8)  # DEPTH_TO_SPACE is left to the processor, a transpose is not


def test_other_files_and_sizes_are_told(tmp_path: Path) -> None:
    from hwsearch.formats.onnx import write as onnx_write
    from hwsearch.formats.reading.readers import inspect
    from hwsearch.formats.tflite import write

    pytest.importorskip("ethosu")
    quantized = quantize(draw("residual", 1))
    with pytest.raises(UsageError, match="compiles TFLite files"):
        vela.of_file(inspect(onnx_write.export(quantized, tmp_path / "net.onnx")), "ethos-u55-128")
    file = inspect(write.export(quantized, tmp_path / "net.tflite", size=(24, 32)))
    with pytest.raises(UsageError, match="its own size"):
        vela.of_file(file, "ethos-u55-128", (48, 64))
    with pytest.raises(UsageError, match="not for jetson"):
        vela.of_file(file, "jetson-orin-nano")
