"""Functions of single values in a TFLite file, by kernels that have tables of them: GELU, exponential, reciprocal root, logistic
function, hyperbolic tangent, SiLU (two operators) and slopes.

LOGISTIC and TANH write on one grid alone, as SOFTMAX does: QUANTIZE brings their codes to the plan's, where that is another. A
function of a picture stands where the picture stands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwmodels.errors import FileError
from hwsearch.formats.tflite.operators.table import WRITES
from hwsearch.formats.tflite.writing.file import Options
from hwsearch.formats.tflite.writing.form import NONE
from hwsearch.formats.tflite.writing.writer import Plain, Shape, Write, Writer, kind, offset
from hwsearch.quant.engine.operators import softmax
from hwsearch.quant.engine.operators.grid import Grid
from hwsearch.quant.engine.steps import codes, functions
from searchspaces.ir.graph import Node
from searchspaces.ops.maps.activation import Exp, Gelu, LeakyRelu, Rsqrt, Sigmoid, Silu, Tanh

OTHERWISE = "Export the plan as ONNX (--to onnx)."
NAMES = {"sigmoid": "LOGISTIC"}
"""Operators of TFLite that are not called as ours are."""


def on(writer: Writer, name: str, grid: Grid, shape: Sequence[int]) -> int:
    """A tensor of codes on a grid."""
    return writer.file.tensor(name, shape, grid.kind, scale=grid.scale, zero_point=grid.zero_point)


def operand(writer: Writer, node: Node, name: str, grid: Grid, x: int | None = None, sides: Sequence[int] = ()) -> int:
    """The codes of a tensor on a grid that holds them: of tokens, or those in ``x``, which has ``sides``."""
    fmt, x = writer.qgraph.formats[name], writer.plain(name) if x is None else x
    if (grid.kind, grid.step, grid.zero_point) == (kind(fmt), np.float32(fmt.scale), fmt.zero_point - offset(fmt)):
        return x
    y = on(writer, f"{node.name}/{grid.kind}/{name}", grid, sides or writer.full[name])
    return writer.file.op("QUANTIZE", [x], y, Options("QuantizeOptions"), 2)


def onto(writer: Writer, node: Node, own: Grid, shape: Shape, write: Write) -> int:
    """The node's tensor from an operator that writes on a grid of its own; QUANTIZE where that is not the node's."""
    target = writer.qgraph.formats[node.name]
    wanted = codes.stored(target)
    if (own.kind, own.step, own.zero_point) == (wanted.kind, wanted.step, wanted.zero_point):
        return writer.bounded(node.name, target, shape, write, fusible=False)
    x = write(on(writer, f"{node.name}/own grid", own, in_file(shape)), NONE)
    options = Options("QuantizeOptions")
    return writer.bounded(node.name, target, shape, lambda y, _: writer.file.op("QUANTIZE", [x], y, options, 2), fusible=False)


def in_file(shape: Shape) -> tuple[int, ...]:
    """The sides of a tensor as they stand in the file."""
    return tuple(shape) if isinstance(shape, Plain) else (1, shape[1], shape[2], shape[0])


Curve = Gelu | Exp | Rsqrt | Sigmoid | Silu | Tanh | LeakyRelu


@WRITES.register(Gelu, Exp, Rsqrt, Sigmoid, Silu, Tanh, LeakyRelu)
def _function(writer: Writer, node: Node) -> int:
    name = node.inputs[0]
    assert isinstance(node.op, Curve)
    picture = name in writer.pictures
    shape: Shape = writer.shapes[node.name] if picture else Plain(writer.full[node.name])
    return curve(writer, node, node.op, name, writer.read(name, node) if picture else writer.plain(name), shape)


def curve(writer: Writer, node: Node, op: Curve, name: str, given: int, shape: Shape) -> int:
    """The node's tensor as a function of the tensor ``given``, which has the format of ``name``."""
    source, target = writer.qgraph.formats[name], writer.qgraph.formats[node.name]
    wide = functions.in_sixteen(op, source, target, writer.qgraph.rule)
    if isinstance(op, Rsqrt) and not wide and source.qmin < source.zero_point:
        raise FileError(f"{node.name!r}: TFLite's RSQRT stops at codes below zero, which its input has", "Export it as ONNX.")
    if functions.otherwise(op, source, writer.qgraph.rule, wide=wide):
        raise FileError(
            f"{node.name!r}: LiteRT's fast {op.kind} of 16 bits rounds otherwise than the engine where it reads steps of "
            f"{source.scale:g}, nearly a power of two",
            "Export it for the reference kernels or for microcontrollers (--to tflite-micro), or as ONNX.",
        )
    if isinstance(op, LeakyRelu | Silu) and functions.table(op, source, target, writer.qgraph.rule) is None:
        raise FileError(f"{node.name!r}: no kernel of its runtime computes {op.kind} of {target.bits} bits like this", OTHERWISE)
    x = operand(writer, node, name, functions.read_on(op, source, writer.qgraph.rule, wide=wide), given, in_file(shape))
    options = {
        "gelu": Options("GeluOptions", {"Approximate": getattr(op, "approximate", "") == "tanh"}),
        "exp": Options("ExpOptions"),
        "leaky_relu": Options("LeakyReluOptions", {"Alpha": getattr(op, "slope", 0.0)}),
    }
    own, operator = functions.written_on(op, target, wide=wide), NAMES.get(op.kind, op.kind.upper())
    version = 3 if wide and isinstance(op, Sigmoid | Tanh) else 2
    if isinstance(op, Silu):
        gate_on = softmax.OUTPUTS["int16" if wide else "int8"]
        gate = writer.file.op("LOGISTIC", [x], on(writer, f"{node.name}/gate", gate_on, in_file(shape)), None, 3 if wide else 2)
        fields = Options("MulOptions", {"FusedActivationFunction": NONE})
        return onto(writer, node, own, shape, lambda y, _: writer.file.op("MUL", [x, gate], y, fields, 4 if wide else 2))
    return onto(writer, node, own, shape, lambda y, _: writer.file.op(operator, [x], y, options.get(op.kind), version))
