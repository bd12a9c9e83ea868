"""Nothing is missing silently: every operator x (engine, simulation, each rule, each exporter, each reader) is there, or says why
not; and what is there is true."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from called import Called
from operator_samples import CHANNELS, SAMPLES
from random_networks import quantize

from hwmodels.errors import UsageError
from hwmodels.parts import plugins
from hwsearch.formats.onnx.float_network import to_float_model
from hwsearch.formats.onnx.write import to_model
from hwsearch.formats.reading import readers
from hwsearch.formats.reading.readers import READERS
from hwsearch.formats.support import matrix, tables
from hwsearch.formats.writing.exporters import EXPORTERS
from hwsearch.quant.engine import integer
from hwsearch.quant.engine.simulate import Prepared, prepare, simulate
from hwsearch.quant.engine.steps import exact
from hwsearch.quant.network import storage
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Node, execute
from searchspaces.ops.registry import operators

SILENT = 12
"""A reason has at least as many characters."""


@pytest.mark.parametrize("column", list(tables()))
def test_every_operator_is_there_or_says_why_not(column: str) -> None:
    table = tables()[column]
    for kind, cls in operators().items():
        there, reason = table.get(cls) is not None, table.reason(cls)
        assert there != bool(reason), f"{column}: {kind}"
        assert there or len(reason or "") > SILENT, f"{column}: {kind}: {reason!r}"
    assert {kind for kind, row in matrix().items() if not row[column]} == {k for k, c in operators().items() if table.get(c)}


def quantized(kind: str, bits: int = 8) -> QuantizedGraph:
    return quantize(SAMPLES[kind](), activation_bits=bits)


def picture() -> torch.Tensor:
    return torch.randint(0, 256, (1, CHANNELS, 8, 12), generator=torch.Generator().manual_seed(3)) / 255


@pytest.mark.parametrize("kind", SAMPLES)
def test_engine_and_simulation_agree(kind: str) -> None:
    """Both execute every operator; where a code differs, it is by rounding: never by more than one."""
    q = quantized(kind)
    ours = integer.run(q, picture())

    def prepared(node: Node) -> Prepared:
        return prepare(node, q.layers[node.name], q.formats[node.inputs[0]], q.formats[node.name])

    fast = simulate(q.graph, q.formats, prepared, picture())
    step = q.formats[q.graph.output.name].scale
    assert ours.shape == fast.shape
    assert (ours - fast).abs().max() <= 1.01 * step
    assert len(ours.unique()) > 1


@pytest.mark.parametrize("kind", SAMPLES)
def test_onnx_file_has_the_codes_of_the_engine(kind: str) -> None:
    q = quantized(kind)
    session = onnxruntime.InferenceSession(to_model(q).SerializeToString(), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"input": picture().numpy()})[0]
    ours, step = integer.run(q, picture()).numpy(), q.formats[q.graph.output.name].scale
    codes = np.rint(np.abs(ours - theirs) / step)
    assert codes.max() <= (0 if all(exact(n.op) for n in q.graph.nodes) else 1)


@pytest.mark.parametrize("kind", SAMPLES)
def test_integers_are_stored(kind: str, tmp_path: Path) -> None:
    q = quantized(kind)
    again = storage.load(tmp_path / "q", storage.save(q, tmp_path / "q"))
    assert [n.op for n in again.graph.nodes] == [n.op for n in q.graph.nodes]
    assert storage.digest(again) == storage.digest(q)
    assert torch.equal(integer.run(again, picture()), integer.run(q, picture()))


def test_every_registered_part_has_a_column() -> None:
    columns = set(tables())
    assert columns >= {f"read {name}" for name in READERS} | {f"export {name}" for name in EXPORTERS}
    assert {"read exported", "read onnx", "read tflite"} <= columns


PLUGIN = """
from hwsearch.formats.reading.readers import ReaderInfo
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.reading import OperatorReaders

READS = OperatorReaders("the reader of mine")


@READS.register("Convolution", becomes=(Conv,))
def _conv(walk, call):
    return walk.put(call)


READERS = (
    ReaderInfo("mine", "with a table", (".mine",), reads=print, table=READS),
    ReaderInfo("other", "without one", (".other",), reads=print),
)
"""


def test_the_reader_of_a_plugin_has_a_column(tmp_path: Path) -> None:
    (tmp_path / "readers.py").write_text(PLUGIN)
    plugins.use([tmp_path / "readers.py"])
    try:
        rows = matrix()
    finally:
        plugins.use([])
    assert rows["conv"]["read mine"] == ""
    assert rows["linear"]["read mine"].startswith("no operator of such a file becomes it")
    assert {row["read other"] for row in rows.values()} == {"the reader does not say which operators it reads"}
    assert "read mine" not in tables()


READ_AS = {"rsqrt": "reciprocal", "affine": "conv", "sub": "add", "div": "conv", "group_norm": "instance_norm"}
"""What a sample is read as where our file has it in other words: the reader claims the operator for other spellings of it."""


@pytest.mark.parametrize("kind", [k for k in SAMPLES if tables()["read onnx"].get(operators()[k])])
def test_the_onnx_reader_finds_what_it_says(kind: str, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(to_float_model(SAMPLES[kind]()).SerializeToString())
    found = readers.inspect(tmp_path / "net.onnx").graph
    assert READ_AS.get(kind, kind) in [n.op.kind for n in found.nodes]


PLACES = torch.tensor([2, 0, 0, 3, 1])
SPELLED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sqrt": lambda x: (x + 0.5).sqrt(),
    "sub": lambda x: x - x.mean((2, 3), keepdim=True),
    "div": lambda x: x / (x.flip(2) + 0.5),
    "gather": lambda x: x.index_select(1, PLACES),
    "std": lambda x: x.std((2, 3), keepdim=True),
    "var": lambda x: x.var((2, 3), keepdim=True),
}
"""As people write them, where our own execution of the sample computes them in other words."""
TRACED_AS = {"affine": "conv"}
"""What is joined with a layer, or becomes one where there is none."""


@pytest.mark.parametrize("kind", [k for k in SAMPLES if tables()["read exported"].get(operators()[k])])
def test_the_reader_of_programs_finds_what_it_says(kind: str, tmp_path: Path) -> None:
    function = SPELLED.get(kind, partial(execute, SAMPLES[kind]()))
    torch.export.save(torch.export.export(Called(function).eval(), (picture(),)), tmp_path / "net.pt2")
    found = readers.inspect(tmp_path / "net.pt2").graph
    assert TRACED_AS.get(kind, kind) in [n.op.kind for n in found.nodes]
    assert not found.uncounted


@pytest.mark.parametrize(("name", "kind"), [("c", "grid_sample"), ("tflite", "group_norm"), ("tflite-micro", "group_norm")])
def test_an_export_is_refused_with_the_reasons(name: str, kind: str, tmp_path: Path) -> None:
    q = quantized(kind)
    with pytest.raises(UsageError, match=f"has no {kind}[a-z ]*: "):
        EXPORTERS[name](q, tmp_path / "out")
    assert not (tmp_path / "out").exists()
