"""Weights in several files with an index that says which tensor stands where.

``transformers`` and ``huggingface_hub`` write ``model.safetensors.index.json`` beside ``model-00001-of-00003.safetensors``, and
``pytorch_model.bin.index.json`` beside ``pytorch_model-00001-of-00003.bin``; in it ``{"weight_map": {tensor: file}}``.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path, PurePosixPath, PureWindowsPath

from hwmodels import impostors
from hwmodels.errors import FileError
from searchspaces.networks import endings

AGAIN = "Fetch the index again, and every file that it names."
_ONE_OF = re.compile(r"(.+)-\d{5}-of-(\d{5})(\.\w+)$")
_NAMED = 4
"""Missing files that are named."""


def read(index: Path) -> dict[Path, list[str]]:
    """The files that an index names, with the tensors that are looked for in each.

    Raises:
        FileError: it is no such index; it names a file outside its own folder; or files are missing, which are named.
    """
    try:
        content = index.read_bytes()
    except OSError as error:
        raise FileError(f"{index}: cannot be read ({error.strerror})", "Check the permissions of the file.") from None
    impostors.check(index, content[: impostors.LOOKED_AT], "an index of weights")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise FileError(f"{index}: not JSON, or cut short: no index of weights", AGAIN) from None
    places = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(place, str) for place in places.values()):
        raise FileError(f"{index}: no index of weights: it has no `weight_map` from tensors to files", AGAIN)
    files: dict[Path, list[str]] = {}
    for name, place in places.items():
        if place in ("", ".", "..") or PurePosixPath(place).name != place or PureWindowsPath(place).name != place:
            raise FileError(f"{index}: looks for {name} in {place!r}, which is no file beside it", AGAIN)
        if endings.is_index(Path(place)):
            raise FileError(f"{index}: looks for {name} in {place!r}, an index again", AGAIN)
        files.setdefault(index.parent / place, []).append(name)
    if missing := [file.name for file in files if not file.is_file()]:
        more = ", ..." if len(missing) > _NAMED else ""
        raise FileError(
            f"{index}: {len(missing)} of its {len(files)} files are not beside it: {', '.join(missing[:_NAMED])}{more}",
            "Put all of them into the folder of the index.",
        )
    return files


def members(path: Path) -> list[Path]:
    """The files that hold the weights at ``path``: itself, or those that it names as an index."""
    return list(read(path)) if endings.is_index(path) else [path]


def sha256(path: str | Path) -> str:
    """Checksum of the weights at ``path``, in hexadecimal: of a file its own; of an index that of the checksums of itself and of
    its files."""
    file = Path(path)
    digests = [_of_file(member) for member in dict.fromkeys([file, *members(file)])]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def one_of_several(path: str | Path) -> str:
    """What to say of a file that is called as one of several, after what it lacks; nothing of others."""
    file = Path(path)
    found = _ONE_OF.match(file.name)
    if found is None or int(found[2]) < 2:
        return ""
    index = file.with_name(f"{found[1]}{found[3]}{endings.INDEX}")
    where = "pass their index" if index.is_file() else "fetch all of them and their index, and pass that"
    return f"By its name it is one of {int(found[2])} files that hold the weights together: {where}, {index.name}."
