"""ONNX files that ONNX Runtime executes in integers, code for code as the integer engine does.

How each operation is written, and which trap of which runtime that avoids, stands in ``codes``. The file needs no session
option. Whoever quantizes on top of it or runs it elsewhere should read ``notes(qgraph)``, which is also stored in the file's
metadata under "notes".
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from onnx import TensorProto

from hwmodels.errors import FileError, MismatchError
from hwsearch.documents.files import write_bytes
from hwsearch.formats import carried
from hwsearch.formats.onnx.codes import CodeWriter
from hwsearch.formats.onnx.writer import digest
from hwsearch.formats.writing.check import check
from hwsearch.quant.engine.integer import adds_in_integers
from hwsearch.quant.engine.kernels.int8_kernel import saturates
from hwsearch.quant.engine.steps import island
from hwsearch.quant.network.graph import LayerIntegers, QuantizedGraph
from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.moves.resize import Resize

FLOAT_CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose")
INTEGER_CONVOLUTIONS = ("QLinearConv", "ConvInteger")


def notes(qgraph: QuantizedGraph) -> list[str]:
    """What a person should know who runs the exported file: plain sentences, none when there is nothing to say."""
    graph, formats = qgraph.graph, qgraph.formats
    said = []
    wide = [n.name for n in graph.convs if formats[n.inputs[0]].is_wide_integer]
    unsafe = [
        n.name
        for n in graph.convs
        if isinstance(layer := qgraph.layers[n.name], LayerIntegers) and saturates(layer, formats[n.inputs[0]])
    ]
    if unsafe:
        said.append(
            f"{len(unsafe)} layers carry uint8 weights with zero point 128, because int8 weights of that size saturate on "
            "x86 CPUs without VNNI. If a tool turns them into int8, set session.x64quantprecision=1 in ONNX Runtime there."
        )
    if qgraph.float_layers:
        said.append("Layers in half precision, not integers: " + ", ".join(qgraph.float_layers) + ".")
    if wide:
        said.append(
            "Layers with a 16-bit input run as two 8-bit convolutions here, slower than on the target: " + ", ".join(wide) + "."
        )
    if any(isinstance(n.op, Add) and adds_in_integers(n, [formats[i] for i in (*n.inputs, n.name)]) for n in graph.nodes):
        said.append(
            "Additions are QLinearAdd; kernels without fused multiply-add may differ by one code in about 1 of a million."
        )
    islands = [n for n in graph.nodes if island(n.op, *(formats[name] for name in (*n.inputs, n.name)))]
    if islands:
        named = ", ".join(f"{n.name} ({n.op.kind})" for n in islands)
        said.append(f"Float islands between integer tensors, for which ONNX Runtime has no integers: {named}.")
    if any(isinstance(n.op, Resize) and n.op.mode != "nearest" for n in graph.nodes):
        said.append("Interpolation runs in single precision; another runtime may differ by one code.")
    return said


def written(qgraph: QuantizedGraph) -> CodeWriter:
    """The nodes and constants of the network's file, and where each tensor's codes stand in it.

    Raises:
        FileError: see ``check``.
    """
    check(qgraph, tables=True)
    writer = CodeWriter(qgraph)
    for node in qgraph.graph.nodes:
        writer.write(node)
    final, fmt = qgraph.graph.output.name, qgraph.formats[qgraph.graph.output.name]
    if fmt.is_float:
        writer.op("Cast", [writer.codes[final]], "output", to=int(TensorProto.FLOAT))
    elif fmt.is_wide:
        writer.op("Identity", [writer.load(final)], "output")
    else:
        writer.op("DequantizeLinear", [writer.codes[final], *writer.grid(fmt)], "output")
    return writer


def to_model(qgraph: QuantizedGraph, metadata: Mapping[str, Any] | None = None) -> onnx.ModelProto:
    """The network as an ONNX model in memory, checked by ``onnx.checker``.

    Raises:
        FileError: see ``check``.
    """
    writer = written(qgraph)
    facts = {
        "requantization": qgraph.rule,
        carried.FACT: carried.text(qgraph, writer.places(), digest(writer.nodes)),
        **(metadata or {}),
    }
    if said := notes(qgraph):
        facts["notes"] = " ".join(said)
    return writer.model(qgraph.graph, facts, versions=writer.versions)


def export(qgraph: QuantizedGraph, path: str | Path, *, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write the network to ``path``, whole or not at all.

    Args:
        metadata: provenance to store in the file (plan hash, network, target, ...); values are written as text.
    Raises:
        FileError: the network has values that make no correct file (see ``check``), or ``path`` cannot be written.
    """
    return write_bytes(Path(path), to_model(qgraph, metadata).SerializeToString())


def session(
    path: str | Path | bytes, *, threads: int = 0, foreign: bool = False, optimized: str | Path | None = None, flush: bool = False
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, set up so that integers stay exact.

    Args:
        threads: 0 leaves the choice to ONNX Runtime.
        foreign: the file may hold what our exporter avoids. Full-range int8 weights: have ONNX Runtime turn them into uint8
            (slower, but exact on x86 without VNNI). Zeros in front of max pooling: keep it from taking them for the pooling's
            own padding, which is none of its values.
        flush: take subnormal numbers for zero, which processors compute with many times more slowly.
        optimized: where to write the graph as it is really executed.
    Raises:
        FileError: not there, or not a model that this ONNX Runtime can run.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    if foreign:
        options.add_session_config_entry("session.x64quantprecision", "1")
    if flush:
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    try:
        model = path if isinstance(path, bytes) else str(path)
        left_out = ["Pad_Fusion"] if foreign else []
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=left_out)
    except Exception as error:  # onnxruntime raises many unrelated classes for one thing: this file does not load
        shown = "the model" if isinstance(path, bytes) else str(path)
        raise FileError(f"{shown}: ONNX Runtime cannot load it: {str(error).splitlines()[0]}") from None


def integer_ops(path: str | Path | bytes) -> Counter[str]:
    """How often each operation occurs in the graph that ONNX Runtime really executes."""
    with tempfile.TemporaryDirectory() as folder:
        optimized = os.path.join(folder, "optimized.onnx")
        session(path, threads=1, optimized=optimized)
        graph = onnx.load(optimized, load_external_data=False).graph
    return Counter(node.op_type for node in graph.node)


def assert_integer(qgraph: QuantizedGraph, path: str | Path | bytes) -> Counter[str]:
    """Check that ONNX Runtime executes every integer layer in integers.

    Returns:
        The counted operations.
    Raises:
        MismatchError: more convolutions run in floating point than the plan has half-precision layers.
    """
    counts = integer_ops(path)
    floats = sum(counts[op] for op in FLOAT_CONVOLUTIONS)
    integers = sum(counts[op] for op in INTEGER_CONVOLUTIONS)
    wide = sum(1 for n in qgraph.graph.convs if n.name not in qgraph.float_layers and qgraph.formats[n.inputs[0]].is_wide_integer)
    expected = len(qgraph.graph.convs) - len(qgraph.float_layers)
    if floats > len(qgraph.float_layers) or integers != expected + wide:
        raise MismatchError(
            f"ONNX Runtime runs {floats} convolutions in floating point and {integers} in integers; "
            f"the plan has {len(qgraph.float_layers)} and {expected + wide} (a 16-bit input counts twice)",
            "Executed operations: " + ", ".join(f"{k} {v}" for k, v in sorted(counts.items())),
        )
    return counts
