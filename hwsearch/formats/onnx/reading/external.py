"""Weights in a second file: read where they lie in the folder of the model, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, external_data_helper

from hwmodels.errors import FileError


def bring_in(model: onnx.ModelProto, path: Path) -> int:
    """Read what the file at ``path`` has outside itself; returns the bytes that were read.

    Raises:
        FileError: it lies outside the folder of the model, is not there, or is shorter than the model says.
    """
    folder, read = path.parent.resolve(), 0
    for tensor in external_data_helper._get_all_tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            read += _bring_in(tensor, folder, path)
    return read


def _bring_in(tensor: TensorProto, folder: Path, path: Path) -> int:
    told = {entry.key: entry.value for entry in tensor.external_data}
    location = told.get("location", "")
    file = folder / location
    resolved = file.resolve()
    if not location or Path(location).is_absolute() or not resolved.is_relative_to(folder):
        raise FileError(
            f"{path}: {tensor.name!r} lies in {location or 'no file'!r}, outside the model's folder",
            "Weights are read from the folder of the model and from nowhere else: put both files into one.",
        )
    if not resolved.is_file():
        raise FileError(
            f"{path}: the weights {tensor.name!r} lie in {location!r}, which is not there", "Put it beside the model."
        )
    try:
        offset = int(told.get("offset", 0))
        length = int(told.get("length", resolved.stat().st_size - offset))
    except ValueError:
        raise FileError(f"{path}: {tensor.name!r}: a place in {location!r} that is no number") from None
    if offset < 0 or length < 0 or offset + length > resolved.stat().st_size:
        raise FileError(
            f"{path}: {tensor.name!r} takes bytes {offset}..{offset + length} of {location!r}, which has "
            f"{resolved.stat().st_size}",
            "One of the two files is cut short, or they do not belong together.",
        )
    with resolved.open("rb") as opened:
        opened.seek(offset)
        tensor.raw_data = opened.read(length)
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT
    return length
