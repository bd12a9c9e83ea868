"""The export to C: every kernel against our engine, the arena, the packing, the folder, and what is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import c_program
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import float_graph, quantize
from words import fused, make_node

from hwmodels.device.tables import Packing
from hwmodels.errors import FileError, HwsearchError, UsageError
from hwmodels.numbers import FP16, Int
from hwsearch.formats.c import bit_packing, write
from hwsearch.formats.c.arena import ALIGNMENT, Life, lower_bound, place
from hwsearch.formats.c.calls import layers, lowering
from hwsearch.quant.engine import integer
from hwsearch.quant.network import storage
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from searchspaces.ir.graph import Graph, Node

CHANNELS = 8
BYTE = TensorFormat(Int(8), float(np.float32(0.02)), 117)
NARROW = TensorFormat(Int(4), float(np.float32(0.1)), 5, 0, 15)
WORD = TensorFormat(Int(16), float(np.float32(0.0001)), 32768, 0, 65535)


def network(*nodes: Node, formats: dict[str, TensorFormat], bits: int = 8) -> QuantizedGraph:
    """Nodes behind an input "x" of eight channels; convolutions get random integers."""
    rng = np.random.default_rng(bits)
    top, layers = (1 << (bits - 1)) - 1, {}
    for node in nodes:
        if node.op.quantized:
            weight = rng.integers(-top, top + 1, node.weight_shapes["weight"]).astype(np.int8)
            scale = (rng.uniform(0.5, 2, len(weight)) * 0.05 / top).astype(np.float32)
            layers[node.name] = LayerIntegers(bits, weight, scale, rng.integers(-900, 900, len(weight)))
    graph = Graph("net", (make_node("x", "input", (), {"channels": CHANNELS}), *nodes))
    return QuantizedGraph(graph, formats, layers)


def conv(outputs: int = 6, kernel: tuple[int, int] = (3, 3), *, activation: str = "none", **attrs: object) -> Node:
    attrs = {"stride": 1, "padding": (1, 1, 1, 1), "dilation": 1, "groups": 1, "activation": activation} | attrs
    attrs |= {"slope": 0.3} if activation == "leaky_relu" else {}
    groups = int(attrs["groups"])  # type: ignore[call-overload]
    weights = {"slope": torch.linspace(-0.6, 1.4, outputs)} if activation == "prelu" else {}
    weight = torch.zeros((outputs, CHANNELS // groups, *kernel))
    return make_node("y", "conv", ("x",), attrs, weights | {"weight": weight})


def equal(q: QuantizedGraph, folder: Path, size: tuple[int, int] = (6, 7)) -> bool:
    """Whether the compiled export and our engine give the same codes for random codes."""
    source = q.formats["x"]
    codes = np.random.default_rng(0).integers(source.qmin, source.qmax + 1, (CHANNELS, *size))
    x = source.decode(torch.from_numpy(codes).float())[None]
    ours = integer.run_codes(replace(q, rule=write.RULE), x)[q.graph.output.name][0].numpy()
    theirs = c_program.run(c_program.build(q, folder, size), q, codes, ours.shape)
    assert len(np.unique(ours)) > 4, "the test would prove nothing"
    return np.array_equal(ours, theirs)


CONVOLUTIONS = [
    conv(),
    conv(5, (1, 1), padding=(0, 0, 0, 0)),
    conv(5, (5, 1), padding=(0, 0, 2, 2)),
    conv(4, (7, 7), padding=(3, 3, 3, 3)),
    conv(stride=2),
    conv(padding=(0, 1, 2, 0)),
    conv(dilation=2, padding=(2, 2, 2, 2)),
    conv(4, groups=2),
    conv(8, groups=8),
    conv(16, groups=8, stride=2, dilation=2, padding=(2, 2, 1, 1)),
    conv(activation="relu"),
    conv(activation="relu6"),
    conv(activation="leaky_relu"),
    conv(activation="prelu"),
]


@pytest.mark.parametrize("node", CONVOLUTIONS, ids=lambda n: f"{n.weight_shapes['weight']} {n.op.stride} {fused(n)}")
@pytest.mark.parametrize(("source", "target"), [(BYTE, NARROW), (WORD, BYTE), (BYTE, WORD)], ids=["8-4", "16-8", "8-16"])
def test_every_convolution(node: Node, source: TensorFormat, target: TensorFormat, tmp_path: Path) -> None:
    if source.bits > 8:
        source = replace(source, scale=float(np.float32(0.00008)))
    assert equal(network(node, formats={"x": source, "y": target}, bits=5), tmp_path)


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_weight_width(bits: int, tmp_path: Path) -> None:
    assert equal(network(conv(), formats={"x": BYTE, "y": BYTE}, bits=bits), tmp_path)


MOVES = {
    "slice": make_node("y", "slice", ("x",), {"start": 2, "stop": 5}),
    "repeat": make_node("y", "repeat", ("x",), {"times": 3}),
    "shuffle": make_node("y", "pixel_shuffle", ("x",), {"factor": 2}),
    "unshuffle": make_node("y", "pixel_unshuffle", ("x",), {"factor": 2}),
    "resize": make_node("y", "resize", ("x",), {"mode": "nearest", "factor": 3}),
    "concat": make_node("y", "concat", ("x", "x")),
}


@pytest.mark.parametrize("fmt", [BYTE, WORD], ids=["8", "16"])
@pytest.mark.parametrize("name", MOVES)
def test_every_move_and_its_tighter_bounds(name: str, fmt: TensorFormat, tmp_path: Path) -> None:
    span = 60 if fmt.bits <= 8 else 20000
    tight = replace(fmt, qmin=fmt.zero_point - span, qmax=fmt.zero_point + span // 2)
    assert equal(network(MOVES[name], formats={"x": fmt, "y": tight}), tmp_path, (6, 8))


@pytest.mark.parametrize("target", [BYTE, WORD], ids=["8", "16"])
@pytest.mark.parametrize("kind", ["relu", "relu6", "leaky_relu", "sigmoid", "tanh", "clip"])
def test_every_table(kind: str, target: TensorFormat, tmp_path: Path) -> None:
    parameters = {"leaky_relu": {"slope": 0.2}, "clip": {"low": -0.5, "high": 0.7}}
    node = make_node("y", "unary", ("x",), {"kind": kind, **parameters.get(kind, {})})
    assert equal(network(node, formats={"x": BYTE, "y": replace(target, scale=target.scale / 3)}), tmp_path)


@pytest.mark.parametrize("wide", [False, True], ids=["8", "16"])
@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
def test_additions(activation: str, wide: bool, tmp_path: Path) -> None:
    middle = WORD if wide else replace(BYTE, scale=float(np.float32(0.031)), zero_point=90)
    total = make_node("z", "add", ("x", "y"), {"activation": activation})
    source = replace(WORD, scale=float(np.float32(0.00008))) if wide else BYTE
    formats = {"x": source, "y": middle, "z": replace(WORD if wide else BYTE, zero_point=WORD.zero_point if wide else 60)}
    assert equal(network(conv(CHANNELS), total, formats=formats), tmp_path)


@pytest.mark.parametrize("bits", range(2, 9))
def test_packed_fields_are_a_stream_of_bits(bits: int) -> None:
    top = (1 << (bits - 1)) - 1
    rows = np.random.default_rng(bits).integers(-top, top + 1, (5, 27)).astype(np.int8)
    packed = bit_packing.pack(rows, bits)
    assert packed.size == Packing(kind="bits").weight_bytes(rows.size, len(rows), bits)
    for row, stream in zip(rows, packed.reshape(len(rows), -1), strict=True):
        number = int.from_bytes(stream.tobytes(), "little")
        fields = [number >> (bits * i) & ((1 << bits) - 1) for i in range(rows.shape[1])]
        assert [f - (1 << bits) if f > top else f for f in fields] == row.tolist()


def test_four_bits_lie_low_nibble_first() -> None:
    assert bit_packing.pack(np.array([[1, -2, 7]], np.int8), 4).tolist() == [0xE1, 0x07]


LIVES = st.lists(st.tuples(st.integers(1, 500), st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(LIVES)
def test_nothing_alive_at_once_overlaps(drawn: list[tuple[int, int, int]]) -> None:
    lives = [Life(f"t{i}", size, first, first + span) for i, (size, first, span) in enumerate(drawn)]
    offsets, total = place(lives)
    assert lower_bound(lives) <= total <= sum(-(-life.size // ALIGNMENT) * ALIGNMENT for life in lives)
    for i, a in enumerate(lives):
        assert offsets[a.name] % ALIGNMENT == 0
        assert offsets[a.name] + a.size <= total
        for b in lives[:i]:
            apart = offsets[a.name] + a.size <= offsets[b.name] or offsets[b.name] + b.size <= offsets[a.name]
            assert apart or a.last < b.first or b.last < a.first


def test_a_chain_needs_its_largest_pair() -> None:
    lives = [Life(f"t{i}", size, i, i + 1) for i, size in enumerate((80, 160, 240, 80))]
    assert place(lives)[1] == lower_bound(lives) == 400


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plan-01", "plan_01"),
        ("3x netz*/", "net_3x_netz"),
        ("int", "net_int"),
        ("", "network"),
        ("Größe", "gr_e"),
        ("hws", "net_hws"),
    ],
)
def test_names_are_identifiers(name: str, expected: str) -> None:
    assert write.identifier(name) == expected


@pytest.mark.parametrize(("name", "step"), [("unshuffle", 2), ("shuffle", 1)])
def test_the_header_says_where_tiles_begin(name: str, step: int, tmp_path: Path) -> None:
    q = network(MOVES[name], formats={"x": BYTE, "y": BYTE})
    header = (write.export(q, tmp_path / "net", size=(6, 8), metadata={}) / "net.h").read_text()
    assert "tiles overlap" in header
    assert (f"begin at multiples of {step} pixels" in header) == (step > 1)


def test_room_is_made_for_what_the_kernels_say_that_they_take() -> None:
    header = (Path(write.__file__).parent / "source" / "hws.h").read_text()
    limits = {name: int(value) for name, value in re.findall(r"#define (HWS_MAX_\w+) (\d+)", header)}
    assert limits == {"HWS_MAX_PIXELS": layers.MAX_PIXELS, "HWS_MAX_AXES": lowering.MAX_AXES}


def test_the_header_says_what_the_compiler_finds(tmp_path: Path) -> None:
    compiler, nm = c_program.compiler(), shutil.which("nm")
    if nm is None:
        pytest.skip("NOT RUN: no nm (install binutils)")
    q = quantize(float_graph("edsr"), 3, 8)
    facts = {"plan": "p */ \\\n#error 1", "target": "stm32"}
    folder = write.export(q, tmp_path / "net", size=(10, 12), metadata=facts)
    source = next(path for path in folder.glob("*.c") if not path.name.startswith("hws"))
    header = source.with_suffix(".h").read_text()
    assert storage.digest(q) in header
    said = {key: int(value) for key, value in re.findall(r"#define \w+?_(ARENA_BYTES|FLASH_BYTES) (\d+)", header)}
    subprocess.run([compiler, "-std=c99", "-c", str(source), "-o", str(tmp_path / "net.o")], check=True)
    symbols = subprocess.run([nm, "-S", str(tmp_path / "net.o")], capture_output=True, text=True, check=True).stdout
    sizes = {line.split()[3]: int(line.split()[1], 16) for line in symbols.splitlines() if len(line.split()) == 4}
    assert sizes["arena"] == said["ARENA_BYTES"]
    arrays = [f"{step.identifier}_{array.name}" for step in write.lower(q, 10, 12).steps for array in step.constants]
    assert sum(sizes[name] for name in arrays) == said["FLASH_BYTES"]


def test_an_export_replaces_an_export_and_nothing_else(tmp_path: Path) -> None:
    q = network(conv(), formats={"x": BYTE, "y": BYTE})
    folder = write.export(q, tmp_path / "net", size=(4, 4))
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    write.export(q, folder, size=(5, 4))
    assert (folder / "net.h").read_bytes() != first["net.h"]
    (folder / "main.c").write_text("mine")
    with pytest.raises(UsageError, match=r"main\.c"):
        write.export(q, folder, size=(4, 4))
    with pytest.raises(UsageError, match="is a file"):
        write.export(q, folder / "main.c", size=(4, 4))
    assert (folder / "main.c").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def _broken(q: QuantizedGraph, **fields: object) -> QuantizedGraph:
    return replace(q, layers={"y": replace(q.layers["y"], **fields)})


GOOD = network(conv(), formats={"x": BYTE, "y": BYTE})
BAD: list[tuple[QuantizedGraph, tuple[int, int], type[HwsearchError], str]] = [
    (quantize(float_graph("vdsr"), 8, 16, wide=FP16), (8, 8), UsageError, "half precision"),
    (_broken(GOOD, scale=np.full(6, np.nan, np.float32)), (8, 8), FileError, "scale"),
    (_broken(GOOD, scale=np.zeros(6, np.float32)), (8, 8), FileError, "scale"),
    (_broken(GOOD, bias=np.full(6, 2**31 - 1)), (8, 8), FileError, "overflow"),
    (_broken(GOOD, scale=np.full(6, 1e9, np.float32)), (8, 8), FileError, "overflow"),
    (replace(GOOD, formats={"x": BYTE, "y": replace(BYTE, qmax=300)}), (8, 8), FileError, "300"),
    (GOOD, (0, 8), UsageError, "0x8"),
    (GOOD, (60000, 60000), UsageError, "smaller tile"),
]


@pytest.mark.parametrize(("q", "size", "error", "said"), BAD, ids=[f"{b[3]} {b[1]}" for b in BAD])
def test_what_cannot_be_exported_says_so(
    q: QuantizedGraph, size: tuple[int, int], error: type[HwsearchError], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        write.export(q, tmp_path / "net", size=size)
    assert list(tmp_path.iterdir()) == []
