"""What a weights file holds, told by its content and not by its name; no code of a file is ever run.

A file is safetensors, or a PyTorch archive or legacy pickle that ``torch.load(weights_only=True)`` reads, or an index that names
several of them (see ``shards``). Objects of other
classes beside the tensors (a training script's arguments, a path) are replaced by inert stand-ins: their classes are neither
imported nor called. Whatever else arrives under the name of weights gets its true cause: a pointer, a web page, a program.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hwmodels import impostors
from hwmodels.errors import FileError
from searchspaces.networks import endings, shards

AGAIN = "Copy or save the file again, and compare its size with the original's."
SAVE = "Save tensors only: torch.save(model.state_dict(), path), or better a .safetensors file."
_DEEPEST = 32
"""Levels of dictionaries in a file; training scripts nest two or three."""
_NAMED = 4
"""Files of a folder that are named."""
_STAND_INS = 64
"""Classes that one file may hold beside its tensors."""
_FOREIGN = (
    (b"\x89HDF", "an HDF5 file (Keras)", "Export the weights as a PyTorch state dict."),
    (b"\x93NUMPY", "a NumPy array", "Save a PyTorch state dict with the names of its tensors."),
    (b"\x1f\x8b", "compressed with gzip", "Unpack it first: gunzip."),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it first: unzstd."),
    (b"\xfd7zXZ", "compressed with xz", "Unpack it first: unxz."),
    (b"7z\xbc\xaf", "a 7-Zip archive", "Unpack it first."),
    (b"Rar!", "a RAR archive", "Unpack it first."),
    (b"GGUF", "a GGUF file", "Export the weights as a PyTorch state dict."),
)
"""First bytes, what it is, what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """All tensors of a file by their dotted names (``params_ema.conv.weight``), and the classes of objects that were not read."""

    tensors: Mapping[str, Tensor]
    unread: tuple[str, ...] = ()


def read(path: str | Path) -> Checkpoint:
    """Every tensor that ``path`` holds, wherever it is nested.

    Raises:
        FileError: not there, damaged, not weights at all, or a pickle that would have to run code; of an index, also one that
            does not fit its files.
    """
    file = Path(path)
    if endings.is_index(file) and file.is_file():
        return _indexed(file)
    if file.is_dir():
        inside = sorted(member.name for member in file.iterdir() if member.suffix in endings.WEIGHTS)[:_NAMED]
        hint = f"Pass a file of it: {', '.join(inside)}." if inside else f"Pass a {endings.USUAL} file."
        raise FileError(f"{path}: a folder, not a weights file", hint)
    if not file.is_file():
        raise FileError(f"{path}: no such weights file", f"Pass a {endings.USUAL} file.")
    try:
        with file.open("rb") as opened:
            start = opened.read(impostors.LOOKED_AT)
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})", "Check the permissions of the file.") from None
    _refuse_foreign(file, start)
    header_bytes = int.from_bytes(start[:8], "little")  # of safetensors; it may begin like an archive or a pickle
    if start[8:9] == b"{" and (header_bytes <= file.stat().st_size or not start.startswith((b"PK", b"\x80"))):
        return Checkpoint(_safetensors(file))
    content_bytes = file.stat().st_size
    if start.startswith(b"PK"):
        content_bytes = _check_archive(file)
    elif not start.startswith(b"\x80"):
        kind = "a safetensors" if file.suffix == ".safetensors" else "a weights"
        raise FileError(f"{file}: not {kind} file, or damaged at its beginning: its kind is not read", f"{AGAIN} {SAVE}")
    found, unread = _load(file)
    return Checkpoint(_flat(found, file, content_bytes, unread), unread)


def _indexed(index: Path) -> Checkpoint:
    """All tensors of the files that an index names, as if they stood in one."""
    tensors: dict[str, Tensor] = {}
    unread: dict[str, None] = {}
    for file, names in shards.read(index).items():
        found = read(file)
        if absent := [name for name in names if name not in found.tensors]:
            more = ", ..." if len(absent) > _NAMED else ""
            raise FileError(
                f"{index}: {file.name} does not hold {len(absent)} of the {len(names)} tensors that the index looks for there: "
                f"{', '.join(absent[:_NAMED])}{more}",
                "The index and its files belong to different downloads: fetch all of them again.",
            )
        tensors |= {name: found.tensors[name] for name in names}
        unread |= dict.fromkeys(found.unread)
    return Checkpoint(tensors, tuple(unread))


def _refuse_foreign(file: Path, start: bytes) -> None:
    """Raises FileError for what is known and is not weights."""
    impostors.check(file, start, "weights")
    if start[4:8] == b"TFL3" or file.suffix in (".onnx", ".tflite"):
        hint = f"`hwsearch inspect` reads such files; as weights pass a {endings.USUAL} file."
        raise FileError(f"{file}: a whole model, not weights", hint)
    for magic, what, hint in _FOREIGN:
        if start.startswith(magic):
            raise FileError(f"{file}: {what}, not PyTorch weights", hint)
    if start[257:262] == b"ustar":
        raise FileError(f"{file}: a tar archive, not weights", "Unpack it first: tar xf. Weights inside a .pth.tar are one file.")
    text = impostors.beginning(start)
    if text is None or start[8:9] == b"{":
        return
    first = text.splitlines()[0][:60] if text else ""
    raise FileError(f"{file}: text, not weights; it begins with {first!r}", "Download or copy the weights file itself.")


def _safetensors(file: Path) -> dict[str, Tensor]:
    try:
        with safe_open(str(file), framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, AttributeError, KeyError, MemoryError) as error:
        raise FileError(f"{file}: truncated, or not a safetensors file ({_first(error)})", AGAIN) from None


def _check_archive(file: Path) -> int:
    """Look into a zip archive before torch does; returns the bytes that it holds.

    Raises:
        FileError: it is cut short, a checksum is wrong, or it holds something else than weights.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = {member.filename: member for member in archive.infolist()}
            if not any(name.rpartition("/")[2] == "data.pkl" for name in members):
                raise _no_weights(file, list(members))
            if any("/code/" in f"/{name}" or name.rpartition("/")[2] == "constants.pkl" for name in members):
                hint = "--model reads it. Or save its tensors: torch.save(torch.jit.load(path).state_dict(), 'weights.pth')."
                raise FileError(f"{file}: a TorchScript program, not weights", hint)
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError) as error:
        raise FileError(f"{file}: truncated, or a damaged archive ({_first(error)})", AGAIN) from None
    except FileError:
        raise
    except Exception as error:  # zipfile meets damaged fields with many kinds of errors
        raise FileError(f"{file}: a damaged archive ({_first(error)})", AGAIN) from None
    if broken is not None:
        hint = f"{AGAIN} A file that was saved with set_crc32_options(False) has no checksums: save it with them."
        raise FileError(f"{file}: damaged: the checksum of {broken} does not match its content", hint)
    return sum(member.file_size for member in members.values())


def _no_weights(file: Path, members: list[str]) -> FileError:
    inside = ", ".join(members[:4]) + (", ..." if len(members) > 4 else "") if members else "nothing"
    if any("serialized_exported_program" in name or name.endswith("/archive_format") for name in members):
        hint = "Save its tensors: torch.save(torch.export.load(path).state_dict, 'weights.pth')."
        return FileError(f"{file}: an exported program (torch.export), not weights", hint)
    weights = [name for name in members if name.endswith(endings.WEIGHTS)]
    if weights:
        return FileError(f"{file}: a zip archive around a weights file ({weights[0]})", "Unpack it, and pass the file inside.")
    if members and all(name.endswith(".npy") for name in members):
        hint = "Save a PyTorch state dict: torch.save({name: torch.from_numpy(array), ...}, path)."
        return FileError(f"{file}: NumPy arrays (.npz), a kind of weights that is not read", hint)
    return FileError(f"{file}: a zip archive without weights (in it: {inside})", SAVE)


class _Unread:
    """Stands where an object of an unknown class stood: takes whatever it is given and does nothing."""

    def __new__(cls, *_: object, **__: object) -> _Unread:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        return

    def __setstate__(self, state: object) -> None:
        return


def _load(file: Path) -> tuple[Any, tuple[str, ...]]:
    """The objects of a pickle, and the classes for which stand-ins were put."""
    unread: list[str] = []
    while True:
        try:
            stand_ins = torch.serialization.safe_globals([(_Unread, name) for name in unread])
            with warnings.catch_warnings(), stand_ins, file.open("rb") as opened:  # not by its name, which torch would go by
                warnings.simplefilter("ignore")  # of old pickle protocols: what matters about them is below
                return torch.load(opened, map_location="cpu", weights_only=True), tuple(unread)
        except pickle.UnpicklingError as error:
            unknown = re.search(r"Unsupported global: GLOBAL (\S+\.\S+) was not an allowed", str(error))
            if unknown is None or unknown[1] in unread or len(unread) == _STAND_INS:
                raise _refusal(file, str(error), unread) from None
            unread.append(unknown[1])
        except Exception as error:  # what torch raises for damaged files has no common base: struct.error, IndexError, assertions
            if "legacy .tar format" in str(error):
                hint = "Load it with the PyTorch that wrote it, and save it again."
                raise FileError(f"{file}: a file of PyTorch 0.1, a kind of weights that is not read", hint) from None
            raise FileError(f"{file}: truncated, or not a PyTorch weights file ({_first(error)})", AGAIN) from None


def _refusal(file: Path, said: str, unread: list[str]) -> FileError:
    """Why torch's reader of tensors stopped."""
    code = re.search(r"(?:Unsupported global: GLOBAL|Trying to load unsupported GLOBAL) (\S+)", said)
    if code is not None:
        return _runs_code(file, [code[1], *unread])
    if operand := re.search(r"Unsupported operand (\d+)", said):
        what = f"a plain pickle, or damaged (operation {operand[1]} does not occur in weights)"
        return FileError(f"{file}: refused, because loading it could run code: {what}", SAVE)
    detail = said.rpartition("WeightsUnpickler error:")[2].strip().splitlines()
    return FileError(f"{file}: refused: a damaged pickle, or one of other things than tensors ({(detail or [''])[0]})", SAVE)


def _runs_code(file: Path, names: list[str]) -> FileError:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    if any(name.startswith("torch.nn.modules.") for name in names):
        what = f"the whole model was pickled, with its code ({shown})"
    elif any(name.startswith("numpy") for name in names):
        what = f"it holds NumPy arrays ({shown})"
    else:
        what = f"it calls {shown}"
    return FileError(f"{file}: refused, because loading it could run code that is hidden in it: {what}", SAVE)


def _flat(found: Any, file: Path, content_bytes: int, unread: tuple[str, ...]) -> dict[str, Tensor]:
    """All tensors by their dotted names, each checked to be what the file can hold."""
    tensors: dict[str, Tensor] = {}
    storages: dict[int, int] = {}
    for name, tensor in _walk(found, "", 0, file):
        if tensor.is_quantized or tensor.is_complex() or tensor.is_meta or tensor.layout != torch.strided:
            raise FileError(f"{file}: {name} is no plain tensor of numbers ({tensor.dtype}, {tensor.layout})", SAVE)
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        if tensor.numel() * tensor.element_size() > content_bytes or sum(storages.values()) > content_bytes:
            raise FileError(f"{file}: truncated or damaged: {name} is larger than the file", AGAIN)
        if name in tensors:
            raise FileError(f"{file}: two tensors are called {name}", SAVE)
        tensors[name] = tensor.detach()
    if not tensors:
        if unread:
            raise _runs_code(file, list(unread))
        raise FileError(f"{file}: no tensors in this file: it is not a state dict", SAVE)
    return tensors


def _walk(value: Any, name: str, depth: int, file: Path) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
        return
    if not isinstance(value, Mapping):
        return
    if depth == _DEEPEST:
        raise FileError(f"{file}: dictionaries are nested more than {_DEEPEST} deep: it is not a state dict", SAVE)
    for key, inner in value.items():
        yield from _walk(inner, f"{name}.{key}" if name else str(key), depth + 1, file)


def _first(error: BaseException) -> str:
    """The first line of an error's words, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
