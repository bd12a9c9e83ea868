"""Operators of tokens in a TFLite file, whose arithmetic is that of the integer engine.

A picture stands channels-last in the file. Tensors of tokens, of any rank, keep the order of axes that the network has; TRANSPOSE
leads from one to the other, where an operator of pictures reads what one of tokens wrote.

* A linear layer is a CONV_2D of 1x1, its vectors taken for pixels: kernels of FULLY_CONNECTED round in several ways.
* BATCH_MATMUL, SOFTMAX, GELU and the like exist between int8 tensors and between int16 tensors. Where a plan mixes them, 8-bit
  tensors stand in int16 ones (see ``engine.steps.codes``), and QUANTIZE moves between the two.
* Layer normalization is a float island: DEQUANTIZE, its steps in single precision in the engine's order, QUANTIZE. The reference
  kernels and TensorFlow Lite Micro give the engine's codes, all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwmodels.errors import FileError
from hwsearch.formats.tflite.operators.convolutions import convolution
from hwsearch.formats.tflite.operators.functions import in_file, onto, operand
from hwsearch.formats.tflite.operators.pictures import OTHERWISE, add, move
from hwsearch.formats.tflite.operators.table import WRITES
from hwsearch.formats.tflite.writing.copies import Copy, reshaped, sliced, transposed
from hwsearch.formats.tflite.writing.file import Options
from hwsearch.formats.tflite.writing.form import NONE
from hwsearch.formats.tflite.writing.writer import Plain, Shape, Write, Writer, over_channels, widened
from hwsearch.quant.engine.operators import softmax
from hwsearch.quant.engine.steps import Site, as_conv, codes
from hwsearch.quant.engine.steps.pointwise import multiplies
from hwsearch.quant.network.formats import TensorFormat
from searchspaces.ir.graph import Node
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.contractions.matmul import MatMul
from searchspaces.ops.maps.elementwise import Add, Mul
from searchspaces.ops.moves.move import Permute, Reshape, Slice
from searchspaces.ops.reductions.norm import LayerNorm
from searchspaces.ops.reductions.softmax import Softmax


def _target(writer: Writer, node: Node) -> tuple[TensorFormat, Plain]:
    return writer.qgraph.formats[node.name], Plain(writer.full[node.name])


def _written(writer: Writer, node: Node, wide: bool, write: Write) -> int:
    """The node's tensor from an operator between tensors of one container."""
    target, shape = _target(writer, node)
    if wide and not target.is_wide:
        return writer.narrowed(node.name, target, shape, write)
    return writer.bounded(node.name, target, shape, write, fusible=False)


def _source(writer: Writer, node: Node) -> int:
    """What a node reads that moves codes."""
    writer.check_moved(node)
    return writer.plain(node.inputs[0])


def _moved(writer: Writer, node: Node, copy: Copy) -> int:
    target, shape = _target(writer, node)
    return writer.bounded(node.name, target, shape, lambda y, _: copy(y), fusible=False)


@WRITES.register(Reshape)
def _reshape(writer: Writer, node: Node) -> int:
    return _moved(writer, node, reshaped(writer.file, f"{node.name}/shape", _source(writer, node), writer.full[node.name]))


MICRO_AXES = 5
"""Axes of the largest tensor that TensorFlow Lite Micro transposes (``transpose_common.cc``)."""


MICRO_TERMS = 7
"""Axes of the largest tensors that TensorFlow Lite Micro adds and multiplies: with eight its codes were others than LiteRT's."""


def _check_terms(writer: Writer, node: Node) -> None:
    if writer.qgraph.rule == "gemmlowp" and len(writer.full[node.name]) > MICRO_TERMS:
        reason = f"TensorFlow Lite Micro computes wrongly with tensors of more than {MICRO_TERMS} axes"
        raise FileError(f"{node.name!r}: {reason}", "Export it as TFLite.")


@WRITES.register(Permute)
def _permute(writer: Writer, node: Node) -> int:
    assert isinstance(node.op, Permute)
    if writer.qgraph.rule == "gemmlowp" and len(node.op.axes) > MICRO_AXES:
        raise FileError(f"{node.name!r}: TensorFlow Lite Micro exchanges no more than {MICRO_AXES} axes", "Export it as TFLite.")
    return _moved(writer, node, transposed(writer.file, f"{node.name}/axes", _source(writer, node), node.op.axes))


def slice_tokens(writer: Writer, node: Node) -> int:
    """A part along any axis."""
    assert isinstance(node.op, Slice)
    source, shape = writer.full[node.inputs[0]], writer.full[node.name]
    axis = node.op.axis % len(source)
    start, _, step = slice(int(node.op.start), int(node.op.stop), node.op.step).indices(source[axis])
    if step != 1:
        raise FileError(f"{node.name!r}: this exporter has slices of neighbours only", "Export it as ONNX.")
    begin = [start if place == axis else 0 for place in range(len(source))]
    return _moved(writer, node, sliced(writer.file, node.name, _source(writer, node), begin, shape))


@WRITES.register(Linear)
def _linear(writer: Writer, node: Node) -> int:
    source, pixels = node.inputs[0], f"{node.name}/pixels"
    *_, inner = writer.full[source]
    count = int(np.prod(writer.full[source])) // inner
    flat = as_conv(node)
    fmt = writer.qgraph.formats[source]
    rows = reshaped(writer.file, f"{node.name}/as pixels", writer.plain(source), (1, count, 1, inner))
    writer.alias(pixels, rows(writer.tensor(pixels, fmt, (inner, count, 1))), fmt, inner, count)
    target, full = _target(writer, node)
    # A tensor of four axes might be a picture; its vectors are pixels here.
    known, outputs = (writer.shapes[node.name], writer.orders[node.name]), full[-1]
    writer.shapes[node.name], writer.orders[node.name] = (outputs, count, 1), np.arange(outputs)
    y = convolution(writer, Node(node.name, flat.op, (pixels,), flat.weights))
    writer.shapes[node.name], writer.orders[node.name] = known
    back = reshaped(writer.file, f"{node.name}/as tokens", y, full)
    return back(writer.tensor(f"{node.name}/tokens", target, full))


@WRITES.register(MatMul)
def _matmul(writer: Writer, node: Node) -> int:
    assert isinstance(node.op, MatMul)
    formats = [writer.qgraph.formats[name] for name in (*node.inputs, node.name)]
    wide = not codes.narrow(*formats)
    form = codes.widened if wide else codes.stored
    sides = [operand(writer, node, name, form(fmt)) for name, fmt in zip(node.inputs, formats, strict=False)]
    options = Options("BatchMatMulOptions", {"AdjX": node.op.transpose_a, "AdjY": node.op.transpose_b})
    return _written(writer, node, wide, lambda y, _: writer.file.op("BATCH_MATMUL", sides, y, options, 3 if wide else 2))


@WRITES.register(Softmax)
def _softmax(writer: Writer, node: Node) -> int:
    assert isinstance(node.op, Softmax)
    source, (target, shape) = writer.qgraph.formats[node.inputs[0]], _target(writer, node)
    if node.op.axis % len(shape) != len(shape) - 1:
        raise FileError(f"{node.name!r}: TFLite's SOFTMAX is over the last axis")
    wide = not codes.narrow(source, target)
    x = operand(writer, node, node.inputs[0], codes.widened(source) if wide else codes.stored(source))
    own, options = softmax.OUTPUTS["int16" if wide else "int8"], Options("SoftmaxOptions", {"Beta": 1.0})
    return onto(
        writer,
        node,
        own,
        Plain(writer.full[node.name]),
        lambda y, _: writer.file.op("SOFTMAX", [x], y, options, 3 if wide else 2),
    )


def _constant(writer: Writer, node: Node, *formats: TensorFormat) -> tuple[int, TensorFormat]:
    values = node.weights["other"]
    fmt = codes.constant(values, *formats)
    integers = codes.of_values(values, fmt, codes.stored(fmt))
    grid = codes.stored(fmt)
    return (
        writer.file.tensor(f"{node.name}/other", integers.shape, grid.kind, scale=grid.scale, zero_point=0, data=integers),
        fmt,
    )


@WRITES.register(Mul)
def _multiply(writer: Writer, node: Node) -> int:
    _check_terms(writer, node)
    source, (target, _) = writer.qgraph.formats[node.inputs[0]], _target(writer, node)
    formats = [writer.qgraph.formats[name] for name in node.inputs]
    if not multiplies(Site(node, formats, writer.qgraph.formats[node.name], None, writer.qgraph.rule)):
        raise FileError(f"{node.name!r}: its products can overflow the 32 bits in which TFLite rescales them")
    if "other" not in node.weights:
        return _product(writer, node)
    wide = not codes.narrow(source, target)
    x = operand(writer, node, node.inputs[0], codes.widened(source) if wide else codes.stored(source))
    other, _ = _constant(writer, node, source, target)
    options = Options("MulOptions", {"FusedActivationFunction": NONE})
    return _written(writer, node, wide, lambda y, _: writer.file.op("MUL", [x, other], y, options, 4 if wide else 2))


def _product(writer: Writer, node: Node) -> int:
    """Two tensors, which broadcast: two pictures as they stand in the file, others with the axes of the network."""
    formats = [writer.qgraph.formats[name] for name in (*node.inputs, node.name)]
    target, wide = formats[-1], not codes.narrow(*formats)
    pictures = all(name in writer.pictures for name in node.inputs)
    sides = []
    for name, fmt in zip(node.inputs, formats, strict=False):
        x = writer.read(name, node) if pictures else writer.plain(name)
        shape: Shape = writer.shapes[name] if pictures else Plain(writer.full[name])
        sides.append(writer.quantize(x, f"{node.name}/wide/{name}", widened(fmt), shape) if wide and not fmt.is_wide else x)
    own: Shape = writer.shapes[node.name] if pictures else Plain(writer.full[node.name])
    options = Options("MulOptions", {"FusedActivationFunction": NONE})

    def write(z: int, _: int) -> int:
        return writer.file.op("MUL", sides, z, options, 4 if wide else 2)

    if wide and not target.is_wide:
        return writer.narrowed(node.name, target, own, write)
    return writer.bounded(node.name, target, own, write, fusible=False)


def add_tokens(writer: Writer, node: Node) -> int:
    """Two tensors of tokens, or one and a constant."""
    assert isinstance(node.op, Add)
    _check_terms(writer, node)
    formats = [writer.qgraph.formats[name] for name in (*node.inputs, node.name)]
    if node.op.activation is not None:
        raise FileError(f"{node.name!r}: TFLite's addition has no fused {node.op.activation.kind}", OTHERWISE)
    wide = not codes.narrow(*formats)
    form = codes.widened if wide else codes.stored
    terms = [operand(writer, node, name, form(fmt)) for name, fmt in zip(node.inputs, formats, strict=False)]
    if "other" in node.weights:
        terms.append(_constant(writer, node, *formats)[0])
    options = Options("AddOptions", {"FusedActivationFunction": NONE, "PotScaleInt16": False})
    return _written(writer, node, wide, lambda y, _: writer.file.op("ADD", terms, y, options, 3 if wide else 2))


@WRITES.register(LayerNorm)
def _layer_norm(writer: Writer, node: Node) -> int:
    """In single precision, step by step in the engine's order; over the channels of a picture where it stands."""
    assert isinstance(node.op, LayerNorm)
    target, full = writer.qgraph.formats[node.name], writer.full[node.name]
    picture = over_channels(node.op, full)
    own: Shape = writer.shapes[node.name] if picture else Plain(full)
    shape = in_file(own)
    if not picture and node.op.axes not in ((-1,), (len(full) - 1,)):
        raise FileError(
            f"{node.name!r}: this exporter has normalization over channels or the last axis only", "Export it as ONNX."
        )
    file, column, fields = writer.file, Plain((*shape[:-1], 1)), {"FusedActivationFunction": NONE}
    axis = writer.constant(f"{node.name}/axis", np.array([len(shape) - 1], np.int32))

    def step(operator: str, name: str, inputs: list[int], at: Sequence[int], options: Options | None = None) -> int:
        return file.op(operator, inputs, file.tensor(f"{node.name}/{name}", at, "float32"), options)

    def real(name: str, values: np.ndarray) -> int:
        return file.tensor(f"{node.name}/{name}", values.shape, "float32", data=values.astype(np.float32))

    over = Options("ReducerOptions", {"KeepDims": True})
    given = writer.read(node.inputs[0], node) if picture else writer.plain(node.inputs[0])
    x = step("DEQUANTIZE", "real", [given], shape, Options("DequantizeOptions"))
    mean = step("MEAN", "mean", [x, axis], column, over)
    centred = step("SUB", "centred", [x, mean], shape, Options("SubOptions", fields))
    square = step("MUL", "square", [centred, centred], shape, Options("MulOptions", fields))
    variance = step("MEAN", "variance", [square, axis], column, over)
    shifted = step("ADD", "shifted", [variance, real("epsilon", np.array([node.op.eps]))], column, Options("AddOptions", fields))
    root = step("RSQRT", "root", [shifted], column)
    y = step("MUL", "normal", [centred, root], shape, Options("MulOptions", fields))
    if "weight" in node.weights:
        y = step("MUL", "scaled", [y, real("weight", node.weights["weight"].numpy())], shape, Options("MulOptions", fields))
    if "bias" in node.weights:
        y = step("ADD", "moved", [y, real("bias", node.weights["bias"].numpy())], shape, Options("AddOptions", fields))
    options = Options("QuantizeOptions")
    return writer.bounded(node.name, target, own, lambda z, _: file.op("QUANTIZE", [y], z, options, 2), fusible=False)


@WRITES.register(Add)
def _add(writer: Writer, node: Node) -> int:
    if "other" not in node.weights and all(name in writer.pictures for name in node.inputs):
        return add(writer, node)
    return add_tokens(writer, node)


@WRITES.register(Slice)
def _slice(writer: Writer, node: Node) -> int:
    return move(writer, node) if node.inputs[0] in writer.pictures else slice_tokens(writer, node)
