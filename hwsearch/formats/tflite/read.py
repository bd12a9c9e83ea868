"""TFLite files, ours and those of others: 8-bit, 16x8 and floating-point networks of convolutions.

``read`` tells what is in a file. ``load`` gives the network in integers, which our engine executes as LiteRT and TFLite Micro do,
and which exporters write again.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

from hwmodels.errors import FileError, UncountedError
from hwsearch.formats.readers import Inspected, InspectedLayer
from hwsearch.formats.tflite.read_order import in_torch_order
from hwsearch.formats.tflite.tables import StoredModel
from hwsearch.formats.tflite.tables import load as load_tables
from hwsearch.formats.tflite.walk import Walked, Walker
from hwsearch.quant.formats import TensorFormat
from hwsearch.quant.graph import QuantizedGraph
from searchspaces.ops.conv import Conv

FLOAT_BITS = 32


def _walk(path: Path) -> tuple[StoredModel, Walked]:
    model = load_tables(path)
    try:
        walked = Walker(model).run()
        if walked.graph.uncounted:
            return model, walked
        graph, layers = in_torch_order(walked.graph, walked.layers)
        return model, replace(walked, graph=graph, layers=layers)
    except FileError as error:
        raise FileError(f"{path}: {error.message}", error.hint) from None
    except (ValueError, TypeError, KeyError, IndexError, ZeroDivisionError, OverflowError, struct.error, RuntimeError) as error:
        raise FileError(f"{path}: the network cannot be read: {error}", "Its operators contradict each other.") from None


def width(fmt: TensorFormat | None) -> int:
    """Bits that the codes of a format need; 32 for a tensor that is not quantized."""
    if fmt is None:
        return FLOAT_BITS
    return fmt.bits if fmt.is_wide else max(2, int(fmt.qmax - fmt.qmin).bit_length())


def read(path: Path) -> Inspected:
    """Read a TFLite file.

    Raises:
        FileError: absent, cut short, not TFLite, or no network from picture to picture.
    """
    model, walked = _walk(path)
    graph, shape = walked.graph, model.tensors[model.input].shape
    bits = {node.name: width(walked.formats.get(node.name)) for node in graph.nodes}
    layers = []
    for node in graph.convs:
        stored = walked.stored[node.name]
        op = "depthwise" if isinstance(node.op, Conv) and node.op.groups > 1 and node.weights["weight"].shape[1] == 1 else "conv"
        layers.append(InspectedLayer(node.name, op, stored.shape, stored.bits, bits[node.name], stored.bytes, stored.kind))
    return Inspected(
        path=path,
        format="tflite",
        producer=model.description or "unknown",
        file_bytes=path.stat().st_size,
        layers=tuple(layers),
        graph=graph,
        tensor_bits=bits,
        input_size=(shape[1], shape[2]) if min(shape[1:3]) > 1 else None,
        provenance=model.facts or None,
        remarks=(model.facts["notes"],) if "notes" in model.facts else (),
    )


def load(path: Path, rule: str | None = None) -> QuantizedGraph:
    """The network of a TFLite file in integers. Scales are the file's: a picture goes in as the real numbers that its input scale
    stands for, often 0..255.

    Args:
        rule: requantization rule; by default the one that the file names, or else "gemmlowp", that of the reference kernels.
    Raises:
        FileError: absent, cut short, not TFLite, or not in integers throughout.
        UncountedError: operators that the canonical graph cannot express; all are named.
    """
    model, walked = _walk(path)
    graph = walked.graph
    if graph.uncounted:
        raise UncountedError(list(graph.uncounted), "Only 8-bit and 16x8 networks of convolutions, additions and moves are read.")
    missing = [node.name for node in graph.nodes if node.name not in walked.formats]
    missing += [node.name for node in graph.convs if node.name not in walked.layers]
    if missing:
        raise FileError(
            f"{path}: {', '.join(missing[:3])}: not in integers", "Only networks in integers throughout are executed."
        )
    formats = {node.name: walked.formats[node.name] for node in graph.nodes}
    layers = {node.name: walked.layers[node.name] for node in graph.convs}
    return QuantizedGraph(graph, formats, layers, rule or model.facts.get("requantization", "gemmlowp"))
