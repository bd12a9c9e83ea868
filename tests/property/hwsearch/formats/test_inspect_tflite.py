"""TFLite files read back: what was exported comes back as it was, and a damaged file is a message, never anything else."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from file_fuzzer import Tally
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_networks import float_graph, picture, quantize

from hwmodels.errors import FileError, UncountedError
from hwsearch.formats.reading.readers import inspect
from hwsearch.formats.tflite import write as exported
from hwsearch.formats.tflite.operators import WRITES
from hwsearch.formats.tflite.read import load
from hwsearch.quant.engine import integer

GRAPHS = {name: float_graph(name) for name in ("fsrcnn-relu", "fsrcnn-prelu", "abpn", "ecbsr", "edsr")}
SMALL = exported.to_bytes(quantize(GRAPHS["ecbsr"], 5, 6), {"plan": "plan-03"}, size=(8, 10))
relaxed = settings(phases=(Phase.generate,), deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def on_disk(data: bytes, folder: str) -> Path:
    path = Path(folder, "x.tflite")
    path.write_bytes(data)
    return path


@settings(relaxed, max_examples=20)
@given(data=st.data())
def test_what_was_exported_comes_back(data: st.DataObject) -> None:
    graph = GRAPHS[data.draw(st.sampled_from(sorted(GRAPHS)))]
    weights = {node.name: data.draw(st.integers(2, 8)) for node in graph.convs}
    widths = st.sampled_from([2, 4, 5, 8, 16])
    tensors = {leader: data.draw(widths) for leader in dict.fromkeys(graph.quantizer_groups().values())}
    flavour = data.draw(st.sampled_from(sorted(exported.RULES)))
    q = exported.form(quantize(graph, weights, tensors), exported.RULES[flavour])
    with tempfile.TemporaryDirectory() as folder:
        path = on_disk(exported.to_bytes(q, flavour=flavour, size=(9, 7)), folder)
        again, found = load(path), inspect(path)
    x = picture(graph, 9, 7, seed=3)
    assert torch.equal(integer.run(again, x), integer.run(q, x))
    assert [layer.name for layer in found.layers] == [node.name for node in graph.convs]
    assert all(layer.weight_bits <= weights[layer.name] for layer in found.layers)
    assert found.input_size == (9, 7)


def test_provenance_comes_back(tmp_path: Path) -> None:
    found = inspect(on_disk(SMALL, str(tmp_path)))
    assert found.provenance is not None
    assert found.provenance["plan"] == "plan-03"
    assert "second convolution" in found.remarks[0]


@pytest.mark.parametrize("read", [inspect, load])
def test_damaged_files_are_refused_or_read(read: Callable[[Path], object], tmp_path: Path) -> None:
    """Cut anywhere, or a few bytes changed: the file is read, or the error is one for people."""
    tally = Tally()
    for seed in range(100):
        rng = random.Random(seed)
        damaged = bytearray(SMALL[: rng.randint(0, len(SMALL))] if rng.random() < 0.5 else SMALL)
        for _ in range(rng.randint(0, 6) if damaged else 0):
            damaged[rng.randrange(len(damaged))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
        with tally.judging(FileError, UncountedError):
            read(on_disk(bytes(damaged), str(tmp_path)))
    tally.check()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"\x00\x00\x00\x00TFL3", b"\x00\x00\x00\x00TFL9", "not a TFLite file"),
        (None, b"", "not a TFLite file"),
        (None, b"\x10\x00\x00\x00TFL3", "whole"),
    ],
)
def test_what_is_no_tflite_file(tmp_path: Path, old: bytes | None, new: bytes, message: str) -> None:
    data = new if old is None else SMALL.replace(old[4:], new[4:], 1)
    with pytest.raises(FileError, match=message):
        load(on_disk(data, str(tmp_path)))


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 0.0, -1.0])
def test_scales_that_cannot_be(tmp_path: Path, scale: float) -> None:
    q = quantize(GRAPHS["fsrcnn-relu"])
    writer = exported.Writer(exported.form(q, "xnnpack"), 8, 8, packed=False)
    for node in q.graph.nodes:
        writer.write(node, WRITES)
    writer.file.tensors[3].scale.fill(scale)  # type: ignore[union-attr]
    data = writer.file.serialize([0], [writer.codes[q.graph.output.name]], "", {})
    with pytest.raises(FileError, match="scale"):
        load(on_disk(data, str(tmp_path)))
