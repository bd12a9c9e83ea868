"""ONNX files, ours and those of others: floating point, QLinearConv and QDQ graphs, QONNX, ConvInteger; opset 9 to 23.

Only the structure and the constants are read; nothing in the file is executed. Weights in a second file are read where they
lie in the folder of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import inliner
from torch import Tensor

from hwmodels.errors import FileError
from hwsearch.formats import carried
from hwsearch.formats.onnx import ort
from hwsearch.formats.onnx.reading import (  # noqa: F401  they fill the table
    byte_pictures,
    choices,
    compositions,
    functions,
    fused,
    moves,
    pictures,
    pointwise,
    products,
    reductions,
    resizing,
    scatter,
    windows,
)
from hwsearch.formats.onnx.reading.constants import Found, constant, found
from hwsearch.formats.onnx.reading.external import bring_in
from hwsearch.formats.onnx.reading.folding import Folder
from hwsearch.formats.onnx.reading.table import READS, Branch, parsed
from hwsearch.formats.onnx.reading.walk import Walk, spells_out
from hwsearch.formats.onnx.write import session
from hwsearch.formats.onnx.writer import digest
from hwsearch.formats.reading import sizes
from hwsearch.formats.reading.agreement import agree, same_codes
from hwsearch.formats.reading.builder import Map
from hwsearch.formats.reading.byte_pictures import BytePictures
from hwsearch.formats.reading.readers import Inspected, InspectedLayer
from hwsearch.formats.reading.widths import filled
from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.contractions.conv import Conv
from searchspaces.ops.contractions.linear import Linear
from searchspaces.tracing.formulas import TraceSize

OPERATORS = READS
"""The table, filled by the imports above."""

OLDEST, NEWEST = 9, onnx.defs.onnx_opset_version()
"""Operator sets that are read. Tested with 9 to 23."""
BLOCKED = "com.microsoft.nchwc"
"""Operators of ONNX Runtime whose channels stand in blocks of as many as a register of the CPU holds."""
WRONG = (ValueError, TypeError, KeyError, IndexError, RuntimeError, ZeroDivisionError, OverflowError, AttributeError, MemoryError)
"""What a file whose numbers contradict each other can raise."""


@dataclass(frozen=True)
class Door:
    """The input of a file: its name, channels, whether they are the last axis, height and width where they are fixed, whether
    it takes several pictures at once, and the conversions from and to bytes that were left out."""

    name: str
    channels: int
    last: bool
    size: tuple[int, int] | None
    several: bool
    converted: BytePictures


DYNAMIC = "dynamic quantization: ranges are found anew for every picture; give the network that the file was made from"
"""Why a network of such a file is not searched."""


def read(path: Path) -> Inspected:
    """Read an ONNX file.

    Raises:
        FileError: no ONNX model, cut short, of an operator set that is not read, no network from picture to picture, or weights
            outside its folder.
    """
    model, outside = _model(path)
    if (ours := _carried(path, model, outside)) is not None:
        return ours
    try:
        taken, given = byte_pictures.left_out(model.graph)
        branch = parsed(model.graph)
        door = _door(model.graph, branch, BytePictures(taken, given=False))
        opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
        folder = Folder([(entry.domain, entry.version) for entry in model.opset_import])
        notation = spells_out(model.graph)

        def walk(sample: TraceSize) -> tuple[Walk, list[Node]]:
            one = Walk(door.channels, sample, opset, folder, notation=notation)
            one.values[door.name] = one.door(last=door.last)
            one.read(branch)
            outputs = [value.name for value in model.graph.output]
            one.taken = _picture(one, outputs, door)
            if not outputs or outputs[one.taken] not in one.values:
                raise ValueError("it has no output that anything computes")
            return one, one.result(one.values[outputs[one.taken]], last=door.last)

        name = model.graph.name or path.stem
        if door.size is not None:
            graph, walked = sizes.fixed(name, walk, door.size)
        else:
            graph, walked = sizes.free(name, walk, several=door.several)
    except WRONG as error:
        raise FileError(
            f"{path}: the model cannot be read: {_said(error)}", "It should map one picture [N, C, H, W] to another."
        ) from None
    assert isinstance(walked, Walk)
    door = replace(door, converted=BytePictures(taken, given[walked.taken]))
    again = None if door.size is not None else (lambda size: sizes.fixed(name, walk, size)[0])
    return replace(_inspected(path, model, graph, walked, door, outside), again=again)


def _carried(path: Path, model: onnx.ModelProto, outside: int) -> Inspected | None:
    """A file of ours as the network that it carries; None for others, and where it has been changed."""
    facts = {prop.key: prop.value for prop in model.metadata_props}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    ends = [value.name for value in (*model.graph.input, *model.graph.output)]
    if carried.FACT not in facts or ends != ["input", "output"]:
        return None
    ours = carried.read(facts.pop(carried.FACT), lambda name: constant(tensors[name]).real, digest(model.graph.node))
    if ours is None:
        return None
    graph, bits = ours.network.graph, {name: fmt.bits for name, fmt in ours.network.formats.items()}
    layers = (_layer(node, _found(ours, node.name, tensors), bits[node.name]) for node in graph.convs)
    return Inspected(
        path=path,
        format="onnx",
        producer=f"{model.producer_name} {model.producer_version}",
        file_bytes=path.stat().st_size + outside,
        layers=tuple(layers),
        graph=graph,
        tensor_bits=bits,
        input_size=graph.size,
        provenance=facts,
        remarks=(facts["notes"],) if "notes" in facts else (),
        executable=True,
        integers=ours.network,
    )


def _found(ours: carried.Carried, layer: str, tensors: Mapping[str, onnx.TensorProto]) -> Found:
    return replace(found(constant(tensors[ours.constant_of(layer)]), False), bits=ours.bits_of(layer))


def _said(error: BaseException) -> str:
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _model(path: Path) -> tuple[onnx.ModelProto, int]:
    """The model, with what it has in other files; and the bytes that those took."""
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise FileError(f"{path}: not an ONNX model, or cut short: {error}", "Export it again.") from None
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    if model.graph.node and opset is not None and not OLDEST <= opset <= NEWEST:
        raise FileError(
            f"{path}: written for operator set {opset}; {OLDEST} to {NEWEST} are read",
            "Convert it: onnx.version_converter.convert_version(model, 17).",
        )
    if any(node.domain == BLOCKED for node in model.graph.node):
        raise FileError(
            f"{path}: ONNX Runtime has optimized it, and its weights are laid out for one kind of CPU ({BLOCKED})",
            "Give the file that it was made from, or optimize with ORT_ENABLE_EXTENDED instead of ORT_ENABLE_ALL.",
        )
    outside = bring_in(model, path)
    if model.functions:
        try:
            model = inliner.inline_local_functions(model)
        except (RuntimeError, ValueError) as error:
            raise FileError(f"{path}: its functions cannot be put in place: {error}") from None
    return model, outside


def _door(graph: onnx.GraphProto, branch: Branch, converted: BytePictures) -> Door:
    pictures_in = [value for value in graph.input if value.name not in branch.constants]
    if len(pictures_in) != 1:
        names = ", ".join(value.name for value in pictures_in[:4])
        state = "; what a network keeps between frames is searched as a module (`Recurrent`, see CONTRIBUTING.md)"
        said = f"it has {len(pictures_in)} inputs{f' ({names})' if names else ''}, not one picture"
        raise ValueError(said + (state if len(pictures_in) > 1 else ""))
    given = pictures_in[0]
    sides = [side.dim_value for side in given.type.tensor_type.shape.dim]
    if len(sides) != 4:
        raise ValueError(f"its input {given.name!r} has {len(sides)} axes and is not a picture [N, C, H, W]")
    turned = {
        tuple(node.attrs.get("perm", ()))
        for node in branch.nodes
        if node.proto.op_type == "Transpose" and given.name in node.proto.input
    }
    usual = (1, 3, 4)
    last = (0, 3, 1, 2) in turned or (sides[3] in usual and sides[1] not in usual)
    channels = sides[3] if last else sides[1]
    height, width = sides[1:3] if last else sides[2:4]
    if channels < 1:
        raise ValueError("its input is not a picture [N, C, H, W] of known channels")
    if sides[0] > 1:
        raise ValueError(f"it takes {sides[0]} pictures at once; export it for one, or for any number")
    if (height > 0) != (width > 0):
        raise ValueError("one side of its pictures is fixed, the other is not: export it with both fixed, or none")
    size = (height, width) if height > 0 and width > 0 else None
    return Door(given.name, channels, last, size, sides[0] < 1, converted)


def _picture(walk: Walk, outputs: Sequence[str], door: Door) -> int:
    """Which output is the picture: of those with as many channels as go in the largest, the first where there is none."""
    found, largest = 0, 0
    for place, name in enumerate(outputs):
        value = walk.values.get(name)
        if not isinstance(value, Map) or len(value.axes) != 4:
            continue
        shape = walk.shape(value)
        sides = shape[2:] if shape[1] == door.channels else shape[1:3] if door.last and shape[3] == door.channels else (0,)
        if np.prod(sides) > largest:
            found, largest = place, int(np.prod(sides))
    return found


def _inspected(path: Path, model: onnx.ModelProto, graph: Graph, walk: Walk, door: Door, outside: int) -> Inspected:
    bits = filled(graph, walk.widths, walk.unary_of)
    facts = {prop.key: prop.value for prop in model.metadata_props}
    ours = "hwsearch_version" in facts
    remarks = [facts["notes"]] if ours and "notes" in facts else []
    dynamic = next((node for node in model.graph.node if node.op_type == "DynamicQuantizeLinear"), None)
    if dynamic is not None and graph.uncounted:  # what is said of its scales only follows from it
        graph = replace(graph, uncounted=(f"{dynamic.op_type} {dynamic.name}: {DYNAMIC}",))
    if door.converted.remark:
        remarks.append(door.converted.remark)
    if len(model.graph.output) > 1:
        names = [value.name for value in model.graph.output]
        left = ", ".join([name for place, name in enumerate(names) if place != walk.taken][:3])
        which = "the first" if walk.taken == 0 else names[walk.taken]
        remarks.append(f"{which} of {len(names)} outputs is read; left out: {left}")
    return Inspected(
        path=path,
        format="onnx",
        producer=f"{model.producer_name} {model.producer_version}".strip() or "unknown",
        file_bytes=path.stat().st_size + outside,
        layers=tuple(_layer(node, walk.layers[node.name], bits[node.name]) for node in graph.convs if node.name in walk.layers),
        graph=graph,
        tensor_bits=bits,
        input_size=door.size,
        provenance=facts if ours else None,
        remarks=tuple(remarks),
        value_range=door.converted.value_range(walk.input_range()),
        of_bytes=door.converted,
        taken=walk.taken,
        executable=not walk.spelled and not graph.uncounted,
    )


def _layer(node: Node, stored: Found, activation_bits: int) -> InspectedLayer:
    depthwise = isinstance(node.op, Conv) and node.op.groups > 1 and node.weights["weight"].shape[1] == 1
    op = "linear" if isinstance(node.op, Linear) else "depthwise" if depthwise else "conv"
    op = "conv_transpose" if stored.transposed else op
    return InspectedLayer(node.name, op, stored.shape, stored.bits, activation_bits, stored.bytes, stored.stored_as)


def check(found: Inspected, size: tuple[int, int]) -> None:
    """Compare what was read with ONNX Runtime; of a file of ours, the codes of our engine.

    Raises:
        FileError: they differ, or ONNX Runtime does not load the file.
    """
    if found.integers is not None:
        same_codes(found, size, ort.open_plan(found.integers, found.path))
        return
    opened = session(found.path, threads=1, foreign=True)
    try:
        given, taken = opened.get_inputs()[0], opened.get_outputs()[found.taken].name
    except (UnicodeDecodeError, IndexError) as error:
        raise FileError(f"{found.path}: ONNX Runtime does not read its names: {error}", "Export it again.") from None
    last = len(given.shape) == 4 and given.shape[3] == found.graph.channels != given.shape[1]
    sides = given.shape[1:3] if last else given.shape[2:]
    if len(sides) == 2 and all(isinstance(side, int) for side in sides):  # the runtime takes no other
        size = (sides[0], sides[1])
    kinds = {"tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}

    def run(x: Tensor) -> Tensor:
        array = x.numpy().transpose(0, 2, 3, 1) if last else x.numpy()
        kind = kinds.get(given.type, np.float32)
        array = np.rint(array if found.value_range else array * 255) if kind is np.uint8 else array
        try:
            output = opened.run([taken], {given.name: array.astype(kind)})[0]
        except Exception as error:  # onnxruntime raises many unrelated classes for one thing: this file does not run
            raise FileError(f"{found.path}: ONNX Runtime does not run it: {str(error).splitlines()[0]}") from None
        real = np.asarray(output, np.float32)
        turned = last and real.ndim == 4 and real.shape[3] == found.graph.channels != real.shape[1]
        return torch.from_numpy(real.transpose(0, 3, 1, 2).copy() if turned else real)

    agree(found, size, run, "ONNX Runtime")
