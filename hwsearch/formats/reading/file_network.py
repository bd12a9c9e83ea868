"""A model file as the network that a search begins with: its graph in floating point, and the widths that it had.

What was read is compared with what the file's own runtime computes (``check`` of its reader), so that a search never begins with
another network than the file's.
"""

from __future__ import annotations

from pathlib import Path

from hwmodels.errors import FileError, HwsearchError, UncountedError, UsageError
from hwsearch.formats.reading.readers import Inspected, inspect, reader_of
from searchspaces.data.scale import Scale, scale_text
from searchspaces.ir.graph import Graph
from searchspaces.ir.module import GraphModule
from searchspaces.ir.shapes import shapes
from searchspaces.networks import ratio
from searchspaces.networks.input_channels import InputChannels, ways
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.networks.shards import sha256
from searchspaces.networks.weights import check_finite

FULL = 32
"""Bits of what nothing quantized."""
SAMPLE = 24
"""Side, about, of the picture that graph and runtime are compared on."""


def load(
    path: Path,
    *,
    scale: Scale | None = None,
    weights: Path | None = None,
    enlarges: bool = True,
    made: InputChannels | None = None,
) -> LoadedNetwork:
    """The network of a model file.

    Args:
        scale: the enlargement that is expected; by default what the network does.
        enlarges: whether it must give a picture of ``scale`` times the size; else it may give anything, and the scale is 1.
        made: how what it reads is made from a picture, where that is not the picture itself; the scale is that of the picture.
    Raises:
        UsageError: weights beside a file that holds its own, another scale, or other channels than ``made`` gives.
        FileError: it cannot be read, spells its integers out, or its runtime computes something else than what was read.
        UncountedError: operators that are not read; all are named.
    """
    if weights is not None:
        raise UsageError(f"{path} holds its weights", "Leave --weights out, or name the network itself by --network.")
    found = inspect(path)
    graph = found.graph
    if graph.uncounted:
        raise UncountedError(
            list(graph.uncounted),
            f"{path} has them; a search that ignored them would be wrong about price and quality. "
            "`hwsearch networks --operations` tells which operators are read.",
        )
    if not found.executable:
        raise FileError(
            f"{path} spells its integer arithmetic out, operation by operation: it can be inspected and priced, not searched",
            "Search the network that it was made from, or a file in floating point or with QuantizeLinear nodes."
            if found.provenance is None
            else "Export its plan again, to onnx or tflite: such files carry their network, unless a tool changes them.",
        )
    module = GraphModule(graph, found.again).eval()
    check_finite(module.state_dict(), str(path))
    size = _size(graph)
    if made is not None:
        module = made.before_file(module)
    found_scale = _scale(module.graph, _size(module.graph), path) if enlarges else 1
    if scale is not None and scale != found_scale:
        raise UsageError(
            f"{path}: this network enlarges {scale_text(found_scale)} times, not {scale_text(scale)} times", "Leave --scale out."
        )
    reader_of(path).check(found, size)
    return LoadedNetwork(
        module,
        path.stem,
        found_scale,
        module.graph.channels,
        "low",
        sha256(path),
        {"model": str(path)},
        remarks=_remarks(found) if made is None else (*_remarks(found), made.remark),
        size=found.input_size if made is None or found.input_size is None else made.size(found.input_size),
        widths=_widths(found),
        value_range=found.value_range,
    )


def _size(graph: Graph) -> tuple[int, int]:
    """A small picture that suits the network."""
    if graph.size is not None:
        return graph.size
    side = -(-SAMPLE // graph.multiple) * graph.multiple
    return side, side + graph.multiple * (8 // graph.multiple or 1)


def enlargement(found: Inspected) -> Scale | None:
    """By what the network of a file enlarges pictures; None where it gives no picture, or not all of it was understood."""
    if found.graph.uncounted:
        return None
    try:
        return _scale(found.graph, _size(found.graph), found.path)
    except HwsearchError:
        return None


def _scale(graph: Graph, size: tuple[int, int], path: Path) -> Scale:
    try:
        after = shapes(graph, *size)[graph.output.name]
    except ValueError as error:
        raise FileError(f"{path}: it takes no picture of {size[0]}x{size[1]} pixels (height x width): {error}") from None

    def gives(tried: tuple[int, int]) -> tuple[int, ...] | None:
        if tried == size:
            return tuple(after)
        if graph.size is not None:
            return None
        try:
            return tuple(shapes(graph, *tried)[graph.output.name])
        except ValueError:
            return None

    hint = ways(graph.channels) if graph.channels not in (1, 3) else ""
    return ratio.found(gives, graph.channels, size, str(path), hint)


def _widths(found: Inspected) -> dict[str, int]:
    """Bits of layers (by name) and of tensors (by name, behind an arrow) where the file is quantized."""
    widths = {layer.name: layer.weight_bits for layer in found.layers if layer.weight_bits < FULL}
    return widths | {f"-> {name}": bits for name, bits in found.tensor_bits.items() if bits < FULL}


def _remarks(found: Inspected) -> tuple[str, ...]:
    said = [f"{found.path.name}: read as {found.format}, {len(found.layers)} layers, {found.graph.channels} channel(s)."]
    quantized = sum(layer.weight_bits < FULL for layer in found.layers)
    if quantized and found.quantized:
        said.append(
            f"{found.path.name}: {quantized} layers are in integers already. The search begins with the real numbers that these "
            "stand for: losses are measured against those, not against the network before it was quantized."
        )
    elif quantized:
        said.append(f"{found.path.name}: the weights of {quantized} layers are in half precision.")
    if found.graph.size is not None and found.again is None:
        height, width = found.graph.size
        said.append(f"{found.path.name}: made for pictures of {height}x{width} pixels (height x width), and for no others.")
    return (*said, *found.remarks)
