"""What a file says, as a JSON document that shows where two files differ: a digest of its bytes, and of every array in it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

Document = dict[str, Any]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def array(values: np.ndarray) -> Document:
    """Type, shape and digest of the values of an array."""
    return {"dtype": str(values.dtype), "shape": list(values.shape), "sha256": sha256(np.ascontiguousarray(values).tobytes())}


def file(path: Path, blanked: Collection[str] = ()) -> Document:
    """A file, or all files of a folder.

    Args:
        blanked: texts that the file may quote and that are not of its contents, such as a date or the digest of another file;
            they are overwritten by zeros before the bytes are digested.
    """
    if path.is_dir():
        return {str(found.relative_to(path)): file(found, blanked) for found in sorted(path.rglob("*")) if found.is_file()}
    data = path.read_bytes()
    for text in blanked:
        data = data.replace(text.encode(), b"0" * len(text))
    document: Document = {"sha256": sha256(data), "bytes": len(data)}
    inside = _INSIDE.get(path.suffix)
    return document if inside is None else document | inside(data)


def _safetensors(data: bytes) -> Document:
    from safetensors.numpy import load

    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    texts = {name: _parsed(text) for name, text in header.get("__metadata__", {}).items()}
    return {"arrays": {name: array(values) for name, values in sorted(load(data).items())}, "metadata": texts}


def _onnx(data: bytes) -> Document:
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(data)
    arrays = {tensor.name: array(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
    return {
        "arrays": arrays,
        "nodes": [node.op_type for node in model.graph.node],
        "graph": sha256(model.graph.SerializeToString(deterministic=True)),
        "metadata": {entry.key: _parsed(entry.value) for entry in model.metadata_props},
    }


def _tflite(data: bytes) -> Document:
    import tflite

    model = tflite.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    tensors: Document = {}
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        grid, values = tensor.Quantization(), model.Buffers(tensor.Buffer()).DataAsNumpy()
        tensors[f"{i} {tensor.Name().decode()}"] = {
            "type": tensor.Type(),
            "shape": tensor.ShapeAsNumpy().tolist() if tensor.ShapeLength() else [],
            "scale": grid.ScaleAsNumpy().tolist() if grid is not None and grid.ScaleLength() else [],
            "zero_point": grid.ZeroPointAsNumpy().tolist() if grid is not None and grid.ZeroPointLength() else [],
            "sha256": sha256(values.tobytes()) if isinstance(values, np.ndarray) else None,
        }
    operators = [graph.Operators(i).OpcodeIndex() for i in range(graph.OperatorsLength())]
    return {"tensors": tensors, "operators": [model.OperatorCodes(i).BuiltinCode() for i in operators]}


def _json(data: bytes) -> Document:
    return {"document": json.loads(data)}


def _picture(data: bytes) -> Document:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        return {"pixels": array(np.asarray(opened))}


def _parsed(text: str) -> Any:
    """A text, with whatever in it is JSON read, at any depth."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if not isinstance(value, dict):
        return value
    return {key: _parsed(part) if isinstance(part, str) else part for key, part in value.items()}


_INSIDE = {".safetensors": _safetensors, ".onnx": _onnx, ".tflite": _tflite, ".json": _json, ".png": _picture}
