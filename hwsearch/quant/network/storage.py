"""A quantized network as one file: safetensors with the structure as JSON in its metadata. Nothing is unpickled.

The file is self-contained and canonical: the same network gives the same bytes, so the SHA-256 of the file names it. Integers
are stored one byte each, whatever their width; how a device packs them is the exporter's business. The floating-point weights
from which the integers came are not stored; a loaded graph has the weights for which the integers stand.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from hwmodels.errors import FileError
from hwmodels.numbers import FP16, INT8, Float, Int, format_of
from hwsearch.documents.files import replacing
from hwsearch.quant.network import format_document
from hwsearch.quant.network.formats import TensorFormat
from hwsearch.quant.network.graph import LayerFloats, LayerIntegers, QuantizedGraph, same_weights
from searchspaces.ir.graph import Graph, Node
from searchspaces.ops.base import Op
from searchspaces.ops.contractions.linear import Linear
from searchspaces.ops.input import Input
from searchspaces.ops.maps.activation import Activation
from searchspaces.ops.registry import from_document as operator_from
from searchspaces.ops.registry import to_document as operator_document

SCHEMA = 1
FORMAT = "hwsearch-integers"


def _stored_roles(node: Node) -> list[str]:
    """Roles of a node's weights that are stored as real numbers: all but those for which a layer's integers stand."""
    return [role for role in sorted(node.weights) if not node.op.quantized or role not in ("weight", "bias")]


def _key(role: str, name: str) -> str:
    return f"slope/{name}" if role == "slope" else f"real/{role}/{name}"


def to_document(qgraph: QuantizedGraph) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Structure (JSON) and arrays of a quantized network.

    Raises:
        FileError: its widths are those of each picture.
    """
    if qgraph.by_picture is not None:
        raise FileError(f"{qgraph.graph.name}: its widths are those of each picture, which the file of integers does not carry")
    arrays: dict[str, np.ndarray] = {}
    nodes = []
    for node in qgraph.graph.nodes:
        word, attrs = operator_document(node.op)
        entry = {"name": node.name, "op": word, "inputs": list(node.inputs), "attrs": attrs}
        nodes.append(entry | {"parameter": node.parameter} if node.parameter else entry)
        for role in _stored_roles(node):
            arrays[_key(role, node.name)] = node.weights[role].detach().numpy().astype(np.float32)
    layers: dict[str, dict[str, Any]] = {}
    for name, layer in qgraph.layers.items():
        kind = "float" if isinstance(layer, LayerFloats) else "integer"
        layers[name] = {"kind": kind, "bits": layer.bits}
        if isinstance(layer, LayerFloats) and layer.computed != FP16:
            layers[name]["number"] = str(layer.computed)
        arrays[f"bias/{name}"] = layer.bias
        if (first := same_weights(qgraph, name)) != name:
            layers[name]["weights_of"] = first
            continue
        arrays[f"weight/{name}"] = layer.weight
        if isinstance(layer, LayerIntegers):
            arrays[f"scale/{name}"] = layer.scale
    document = {
        "format": FORMAT,
        "schema_version": SCHEMA,
        "name": qgraph.graph.name,
        "rule": qgraph.rule,
        "nodes": nodes,
        "formats": {name: format_document.to_document(fmt) for name, fmt in qgraph.formats.items()},
        "layers": layers,
        "uncounted": list(qgraph.graph.uncounted),
    }
    if qgraph.graph.size is not None:
        document["size"] = list(qgraph.graph.size)
    if qgraph.graph.multiple > 1:
        document["multiple"] = qgraph.graph.multiple
    if qgraph.remarks:
        document["remarks"] = list(qgraph.remarks)
    return document, {key: np.ascontiguousarray(value) for key, value in arrays.items()}


def _digest(text: str, arrays: dict[str, np.ndarray]) -> str:
    seen = hashlib.sha256(text.encode())
    for key in sorted(arrays):
        seen.update(f"{key}{arrays[key].dtype}{arrays[key].shape}".encode())
        seen.update(arrays[key].tobytes())
    return seen.hexdigest()


def digest(qgraph: QuantizedGraph) -> str:
    """SHA-256 of a quantized network's structure, formats and integers, as written to its file."""
    document, arrays = to_document(qgraph)
    return _digest(_text(document), arrays)


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def save(qgraph: QuantizedGraph, path: str | Path) -> str:
    """Write a quantized network, whole or not at all.

    Returns:
        The SHA-256 of the file.
    Raises:
        FileError: the path cannot be written to.
    """
    document, arrays = to_document(qgraph)
    text = _text(document)
    # One metadata entry only: safetensors writes entries in no fixed order, and equal networks must give equal files.
    metadata = json.dumps({"sha256": _digest(text, arrays), "document": text})
    data = to_bytes(arrays, metadata={"hwsearch": metadata})
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def load(path: str | Path, sha256: str | None = None) -> QuantizedGraph:
    """Read a quantized network.

    Args:
        sha256: what the file must hash to, as returned by ``save``; not checked when None.
    Raises:
        FileError: not there, not such a file, truncated, changed, or with values that make no quantized network.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise FileError(f"{path}: these are not the integers that the plan was measured with", "Run `hwsearch optimize` again.")
    try:
        with safe_open(str(path), framework="np") as file:
            header = json.loads((file.metadata() or {})["hwsearch"])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dictionary)
        text = header["document"]
        if header["sha256"] != _digest(text, arrays):
            raise ValueError("its content does not match its checksum")
        return from_document(json.loads(text), arrays)
    except FileError as error:
        raise FileError(f"{path}: {error.message}", error.hint) from None
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, OSError, RecursionError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise FileError(f"{path}: not a file of integers written by hwsearch: {reason}") from None


def from_document(document: dict[str, Any], arrays: dict[str, np.ndarray]) -> QuantizedGraph:
    """The inverse of ``to_document``; every value is checked.

    Raises:
        FileError: an unknown version, or values that make no quantized network.
        KeyError, TypeError, ValueError: something is missing or of the wrong kind.
    """
    if document["format"] != FORMAT or document["schema_version"] != SCHEMA:
        raise FileError(
            f"version {document['schema_version']} of the format, this hwsearch reads {SCHEMA}", "Install a newer hwsearch."
        )
    formats = {name: format_document.from_document(name, value) for name, value in document["formats"].items()}
    layers = {name: _layer(name, value, _owner(name, document["layers"]), arrays) for name, value in document["layers"].items()}
    nodes, known = [], set[str]()
    for entry in document["nodes"]:
        name, inputs = str(entry["name"]), tuple(entry["inputs"])
        op = operator_from(str(entry["op"]), entry["attrs"])
        if name in known or not known.issuperset(inputs) or (not inputs) != isinstance(op, Input):
            raise FileError(f"node {name!r} is given twice, or reads tensors that are not there")
        known.add(name)
        if name not in formats or (op.quantized and name not in layers):
            raise FileError(f"node {name!r} has no number format or no weights")
        weights = _weights(name, op, arrays)
        if op.quantized:
            weights |= _real_weights(layers[name], formats[inputs[0]])
            if isinstance(op, Linear):
                weights["weight"] = weights["weight"].flatten(1)
        fewest, most = op.arity
        operands = len(inputs) + ("other" in weights)
        if operands < fewest or (most is not None and operands > most) or not set(op.needs) <= weights.keys():
            has = ", ".join(sorted(weights)) or "none"
            raise FileError(f"node {name!r}: {op.describe()} with {operands} operands and these weights: {has}")
        nodes.append(Node(name, op, inputs, weights, str(entry.get("parameter", ""))))
    if not nodes:
        raise FileError("a network without operations")
    size = document.get("size")
    only = None if size is None else (int(size[0]), int(size[1]))
    graph = Graph(str(document["name"]), tuple(nodes), tuple(document["uncounted"]), only, int(document.get("multiple", 1)))
    layers = {node.name: layers[node.name] for node in graph.convs}  # JSON lost the order
    remarks = tuple(str(one) for one in document.get("remarks", []))
    return QuantizedGraph(graph, formats, layers, str(document["rule"]), remarks=remarks)


def _weights(name: str, op: Op, arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Weights of a node that are stored as real numbers."""
    found = {}
    fused = getattr(op, "activation", None)
    for role in (*op.needs, *op.takes, *(fused.needs if isinstance(fused, Activation) else ())):
        key = _key(role, name)
        if key in arrays:
            found[role] = torch.from_numpy(_finite(key, arrays, np.float32, 1 if role == "slope" else None))
    return found


def _finite(key: str, arrays: dict[str, np.ndarray], dtype: Any, dimensions: int | None) -> np.ndarray:
    array = arrays[key]
    if array.dtype != dtype or (dimensions is not None and array.ndim != dimensions) or not np.isfinite(array).all():
        raise FileError(
            f"{key!r} is not a finite array of {np.dtype(dtype).name} with {dimensions if dimensions is not None else 'any'} axes"
        )
    return array


def _owner(name: str, layers: dict[str, dict[str, Any]]) -> str:
    """The layer whose weights a layer uses: another one of the same kind, or itself."""
    value = layers[name]
    owner = str(value.get("weights_of", name))
    if owner not in layers or ("weights_of" in layers[owner] and owner != name) or layers[owner]["kind"] != value["kind"]:
        raise FileError(f"layer {name!r} uses the weights of {owner!r}, which has none like them")
    return owner


def _layer(name: str, value: dict[str, Any], owner: str, arrays: dict[str, np.ndarray]) -> LayerIntegers | LayerFloats:
    bits, integer = int(value["bits"]), value["kind"] == "integer"
    weight = _finite(f"weight/{owner}", arrays, np.int8 if integer else np.float32, 4)
    bias = _finite(f"bias/{name}", arrays, np.int64 if integer else np.float32, 1)
    if len(bias) != len(weight) or weight.size == 0:
        raise FileError(f"layer {name!r}: weights {weight.shape} and bias {bias.shape} do not fit")
    if not integer:
        computed = format_of(value.get("number", "fp16"))
        if not isinstance(computed, Float):
            raise FileError(f"layer {name!r}: {computed} is no floating-point format")
        return LayerFloats(bits, weight, bias, computed)
    scale = _finite(f"scale/{owner}", arrays, np.float32, 1)
    low, high = Int(bits).weight_codes if 1 <= bits <= INT8.bits else (0, -1)
    if len(scale) != len(weight) or (scale <= 0).any() or weight.min() < low or weight.max() > high:
        raise FileError(f"layer {name!r}: weights do not fit {bits} bits, or a scale is not positive")
    return LayerIntegers(bits, weight, scale, bias)


def _real_weights(layer: LayerIntegers | LayerFloats, source: TensorFormat) -> dict[str, torch.Tensor]:
    """The real numbers for which a layer's integers stand."""
    if isinstance(layer, LayerFloats):
        return {"weight": torch.from_numpy(layer.weight), "bias": torch.from_numpy(layer.bias)}
    weight = layer.weight.astype(np.float32) * layer.scale[:, None, None, None]
    bias = (layer.bias * (layer.scale.astype(np.float64) * source.scale)).astype(np.float32)
    return {"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)}
