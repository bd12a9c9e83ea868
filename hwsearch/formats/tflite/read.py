"""TFLite files, ours and those of others: single and half precision, int8, uint8, 16x8, weights in integers alone (hybrid).

``read`` tells what is in a file, and gives the network in floating point. ``load`` gives one in integers, which our engine
executes as LiteRT and TFLite Micro do, and which exporters write again.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np

from hwmodels.errors import FileError, UncountedError
from hwsearch.formats import carried
from hwsearch.formats.reading import sizes
from hwsearch.formats.reading.readers import Inspected, InspectedLayer, usual_range
from hwsearch.formats.reading.widths import filled
from hwsearch.formats.tflite import written
from hwsearch.formats.tflite.compare import check  # noqa: F401  a reader's module offers it
from hwsearch.formats.tflite.integers.convolution import StoredLayer
from hwsearch.formats.tflite.integers.order import in_torch_order
from hwsearch.formats.tflite.integers.walk import Walked, Walker
from hwsearch.formats.tflite.reading import blocks, moves, pictures, pointwise, strided  # noqa: F401  they fill the table
from hwsearch.formats.tflite.reading.door import door, picture
from hwsearch.formats.tflite.reading.layers import real
from hwsearch.formats.tflite.reading.table import READS
from hwsearch.formats.tflite.reading.walk import Walk
from hwsearch.formats.tflite.tables import StoredModel
from hwsearch.formats.tflite.tables import load as load_tables
from hwsearch.formats.tflite.write import FLAVOUR
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import QuantizedGraph
from searchspaces.ir.graph import Node
from searchspaces.ir.simplify import with_shared
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.tracing.formulas import TraceSize

OPERATORS = READS
"""The table, filled by the imports above."""

FLOAT_BITS = 32
WRONG = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    ZeroDivisionError,
    OverflowError,
    struct.error,
    RuntimeError,
    AttributeError,
)
"""What a file whose numbers contradict each other can raise."""


def _walk(path: Path) -> tuple[StoredModel, Walked]:
    model = load_tables(path)
    try:
        walked = Walker(model).run()
        if walked.graph.uncounted:
            return model, walked
        shape = model.tensors[model.input].shape
        graph, layers = in_torch_order(walked.graph, walked.layers, (shape[1], shape[2]))
        graph = replace(graph, nodes=tuple(with_shared(list(graph.nodes))))
        return model, replace(walked, graph=graph, layers=layers)
    except FileError as error:
        raise FileError(f"{path}: {error.message}", error.hint) from None
    except WRONG as error:
        raise FileError(f"{path}: the network cannot be read: {error}", "Its operators contradict each other.") from None


def width(fmt: TensorFormat | None) -> int:
    """Bits that the codes of a format need; 32 for a tensor that is not quantized."""
    if fmt is None:
        return FLOAT_BITS
    return fmt.bits if fmt.is_wide else max(2, int(fmt.qmax - fmt.qmin).bit_length())


def read(path: Path) -> Inspected:
    """Read a TFLite file: ours by its integers, others operator by operator.

    Raises:
        FileError: absent, cut short, not TFLite, or no network from picture to picture.
    """
    model = load_tables(path)
    if model.facts:
        return _carried(path, model) or _ours(path)
    try:
        given = door(model)
    except FileError as error:
        raise FileError(f"{path}: {error.message}", error.hint) from None
    size, taken = given.size, picture(model, given)
    model = replace(model, output=model.outputs[taken])
    constants = {index: real(tensor) for index, tensor in enumerate(model.tensors) if tensor.data is not None}

    def walk(sample: TraceSize) -> tuple[Walk, list[Node]]:
        found = Walk(model, given, constants, sample)
        return found, found.run()

    name = model.description or path.stem
    try:
        graph, walked = sizes.free(name, walk, several=False) if size is None else sizes.fixed(name, walk, size)
    except FileError as error:
        raise FileError(f"{path}: {error.message}", error.hint) from None
    except WRONG as error:
        raise FileError(f"{path}: the network cannot be read: {error}", "Its operators contradict each other.") from None
    assert isinstance(walked, Walk)
    bits = filled(graph, {node: width(fmt) for node, fmt in walked.formats.items()}, walked.unary_of)
    return Inspected(
        path=path,
        format="tflite",
        producer=model.description or "unknown",
        file_bytes=path.stat().st_size,
        layers=tuple(
            _layer(node, walked.layers[node.name], bits[node.name]) for node in graph.convs if node.name in walked.layers
        ),
        graph=graph,
        tensor_bits=bits,
        input_size=size,
        provenance=None,
        remarks=(*model.remarks, *_left_out(model, taken), *filter(None, [walked.pictures.remark])),
        value_range=walked.pictures.value_range(_range(walked.formats.get("input"))),
        of_bytes=walked.pictures,
        taken=taken,
        executable=not graph.uncounted,
        again=None if size is not None else (lambda other: sizes.fixed(name, walk, other)[0]),
        written=written.read,
    )


def _left_out(model: StoredModel, taken: int) -> list[str]:
    """What is said of a file with several outputs."""
    names = [model.tensors[index].name for index in model.outputs]
    if len(names) == 1:
        return []
    left = ", ".join([name for place, name in enumerate(names) if place != taken][:3])
    which = "the first" if taken == 0 else names[taken]
    return [f"{which} of {len(names)} outputs is read; left out: {left}"]


def _range(fmt: TensorFormat | None) -> str:
    """The values that the codes of the input stand for, where they are one of the usual ranges; else empty."""
    if fmt is None:
        return ""
    low, high = ((code - fmt.zero_point) * fmt.scale for code in (0, fmt.grid.last_code))
    return usual_range(low, high)


def _layer(node: Node, stored: StoredLayer, activation_bits: int) -> InspectedLayer:
    depthwise = isinstance(node.op, Conv) and node.op.groups > 1 and node.weights["weight"].shape[1] == 1
    op = "linear" if isinstance(node.op, Linear) else "depthwise" if depthwise else "conv"
    return InspectedLayer(node.name, op, stored.shape, stored.bits, activation_bits, stored.bytes, stored.kind)


def _carried(path: Path, model: StoredModel) -> Inspected | None:
    """A file of ours as the network that it carries; None where it carries none, or has been changed."""
    facts, tensors = dict(model.facts), {tensor.name: tensor for tensor in model.tensors if tensor.data is not None}

    def numbers(name: str) -> np.ndarray:
        found = tensors[name].data
        assert found is not None
        return found

    ours = carried.read(facts.pop(carried.FACT), numbers) if carried.FACT in facts else None
    if ours is None:
        return None
    shape, graph = model.tensors[model.input].shape, ours.network.graph
    bits = {name: fmt.bits for name, fmt in ours.network.formats.items()}

    def stored(layer: str) -> StoredLayer:
        found = tensors[ours.constant_of(layer)]
        return StoredLayer(found.shape, found.kind, ours.bits_of(layer), found.data_bytes)

    return Inspected(
        path=path,
        format="tflite",
        producer=model.description or "unknown",
        file_bytes=path.stat().st_size,
        layers=tuple(_layer(node, stored(node.name), bits[node.name]) for node in graph.convs),
        graph=graph,
        tensor_bits=bits,
        input_size=(shape[1], shape[2]),
        provenance=facts,
        remarks=(facts["notes"],) if "notes" in facts else (),
        executable=True,
        written=written.for_array if model.facts.get(FLAVOUR) == "ethos" else written.written,
        integers=ours.network,
    )


def _ours(path: Path) -> Inspected:
    """A file of ours: widths and structure by its integers. Bounds of its codes are not told from activations, so that it is not
    executed in floating point."""
    model, walked = _walk(path)
    graph, shape = walked.graph, model.tensors[model.input].shape
    bits = {node.name: width(walked.formats.get(node.name)) for node in graph.nodes}
    return Inspected(
        path=path,
        format="tflite",
        producer=model.description or "unknown",
        file_bytes=path.stat().st_size,
        layers=tuple(_layer(node, walked.stored[node.name], bits[node.name]) for node in graph.convs),
        graph=graph,
        tensor_bits=bits,
        input_size=(shape[1], shape[2]) if min(shape[1:3]) > 1 else None,
        provenance=model.facts,
        remarks=(model.facts["notes"],) if "notes" in model.facts else (),
        written=written.read_for_array if model.facts.get(FLAVOUR) == "ethos" else written.read,
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
