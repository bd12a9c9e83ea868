"""Damaged device files and weights, seeded: bytes that change, and structures that make no sense.

Who reads such a file may refuse it with a ``HwsearchError``, or read it; anything else is a fault of the reader. Used by
``tests/property`` for a few hundred files and by ``tests/bench/damaged_files.py`` for as many as wanted.
"""

from __future__ import annotations

import io
import json
import random
import struct
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

ABSURD: tuple[Any, ...] = (
    *(0, -1, 1, 2**31, 2**63, 2**70, 10**400, 0.0, -0.0, 1e308, -1e308, 1e-308, float("inf"), float("nan"), True, False),
    *("", "x" * 5000, "[bold]", "\x1b[31m", "</script>", "=1+1", "W8A8", "\u202e", [], {}, [[]], [0] * 100, {"value": "x"}),
    *({"value": 1e300, "source": "nobody"}, {"": {}}, [1, "a", {}]),
)


@dataclass
class Tally:
    """How often a reader took a damaged file, and refused one: a fuzz test in which one of them never happens tests nothing."""

    read: int = 0
    refused: int = 0

    @contextmanager
    def judging(self, *refusals: type[Exception]) -> Iterator[None]:
        """One file: read, or refused with one of ``refusals``; any other exception is a fault."""
        try:
            yield
        except refusals:
            self.refused += 1
        else:
            self.read += 1

    def check(self) -> None:
        assert self.read, "every damaged file was refused"
        assert self.refused, "every damaged file was read"


def bytes_changed(data: bytes, rng: random.Random) -> bytes:
    """Cut, changed, doubled, blanked or enlarged somewhere."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        if not changed:
            break
        at, length = rng.randrange(len(changed)), rng.choice((1, 1, 2, 4, 8, 64))
        match rng.randrange(6):
            case 0:
                del changed[at:]
            case 1:
                changed[at] = rng.randrange(256)
            case 2:
                changed[at:at] = changed[at : at + length]
            case 3:
                changed[at : at + length] = bytes(len(changed[at : at + length]))
            case 4:
                changed[at : at + length] = rng.randbytes(length)
            case 5:
                changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


# Device files


def toml_text(value: Any) -> str:
    """A value as inline TOML; keys are always quoted."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(str(key))} = {toml_text(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_text, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    return str(value) if isinstance(value, int) else json.dumps(str(value))


def toml_changed(data: bytes, rng: random.Random) -> bytes:
    """A device file in which values, keys and tables were exchanged, left out or replaced by absurd ones."""
    document = tomllib.loads(data.decode())
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = [(document, key) for key in document]
        for holder, key in places:  # grows as it is read: every table of every table
            if isinstance(holder[key], dict):
                places += [(holder[key], inner) for inner in holder[key]]
        holder, key = rng.choice(places)
        if isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool) and rng.random() < 0.7:
            scaled = holder[key] * 10.0 ** rng.randint(-12, 12)
            holder[key] = round(scaled) if isinstance(holder[key], int) and rng.random() < 0.5 else scaled
            continue
        match rng.randrange(5):
            case 0:
                del holder[key]
            case 1:
                holder[rng.choice(["", "x", "source", "value", "1e9", "\x00", key * 50])] = holder[key]
            case 2:
                other, there = rng.choice(places)
                if there in other:
                    holder[key] = json.loads(json.dumps(other[there]))
            case _:
                holder[key] = rng.choice(ABSURD)
    text = "\n".join(f"{json.dumps(str(key))} = {toml_text(value)}" for key, value in document.items())
    if rng.random() < 0.1:
        deep = rng.choice((50, 200, 5000))
        text += f"\ndeep = {'[' * deep}{']' * deep}"
    if rng.random() < 0.05:
        text += f"\nlong = {'9' * rng.choice((4299, 4301, 20000))}"
    return text.encode("utf-8", errors="surrogatepass")


# Documents of runs and plans


def json_changed(data: bytes, rng: random.Random) -> bytes:
    """A JSON document in which values and keys were exchanged, left out or replaced by absurd ones; some nest deeply, some have
    an integer of thousands of digits."""
    document = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        places: list[tuple[Any, Any]] = [(document, key) for key in document]
        for holder, key in places:  # grows as it is read: everything in everything
            inner = holder[key]
            if isinstance(inner, dict):
                places += [(inner, name) for name in inner]
            elif isinstance(inner, list):
                places += [(inner, at) for at in range(min(len(inner), 20))]
        holder, key = rng.choice(places)
        match rng.randrange(5):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[rng.choice(["", "x", "name", "\x00", "../x", str(key) * 50])] = holder[key]
            case 2:
                other, there = rng.choice(places)
                holder[key] = json.loads(json.dumps(other[there])) if _holds(other, there) else None
            case _:
                holder[key] = rng.choice(ABSURD)
        if not document:
            break
    try:
        text = json.dumps(document)
    except ValueError:  # an integer that is too long to be written
        text = "{}"
    if rng.random() < 0.1:
        deep = rng.choice((50, 200, 5000, 100_000))
        text = text[:-1] + f', "deep": {"[" * deep}{"]" * deep}' + "}"
    if rng.random() < 0.05:
        text = text[:-1] + f', "long": {"9" * rng.choice((4299, 4301, 20000))}' + "}"
    return text.encode("utf-8", errors="surrogatepass")


def _holds(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else isinstance(key, int) and key < len(holder)


def damaged_document(data: bytes, rng: random.Random) -> bytes:
    """One damaged JSON document."""
    return rng.choice((bytes_changed, json_changed, json_changed))(data, rng)


# Weights


def weights_files(state: dict[str, Tensor]) -> dict[str, bytes]:
    """The same weights in every form that is read: file ending -> content."""
    made = {".safetensors": save({key: value.contiguous() for key, value in state.items()})}
    for ending, zipped in ((".pth", True), (".legacy.pth", False)):
        buffer = io.BytesIO()
        torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
        made[ending] = buffer.getvalue()
    return made


def state_changed(state: dict[str, Tensor], rng: random.Random) -> bytes:
    """A checkpoint whose tensors have other shapes, types, names, wrappers or values, or are none."""
    changed: dict[Any, Any] = dict(state)
    for key in rng.sample(list(state), rng.randint(1, 3)):
        value = state[key]
        changed[key] = rng.choice(
            [
                *(value.double(), value.half(), value.bfloat16(), value.to(torch.int8), value > 0, value[:0], value[None]),
                *(value.new_full(value.shape, float("nan")), value * float("inf"), value.flatten(), value.to(torch.complex64)),
                *(
                    value.to("meta"),
                    torch.zeros(1).expand(10**9),
                    torch.zeros(()),
                    [value],
                    {"x": value},
                    None,
                    3,
                    "text",
                    b"raw",
                ),
            ]
        )
    if rng.random() < 0.3:
        changed[rng.choice(["", ".", "module.", 7, "x" * 300, "a.b", "conv1.weight.more"])] = torch.zeros(2)
    for _ in range(rng.choice((0, 0, 1, 2, 60))):
        changed = {rng.choice(("state_dict", "model", "params", "", 0, "net_g")): changed}
    buffer = io.BytesIO()
    torch.save(rng.choice((changed, [changed], tuple(changed.items()))) if rng.random() < 0.1 else changed, buffer)
    return buffer.getvalue()


def archive_changed(data: bytes, rng: random.Random) -> bytes:
    """An archive with right checksums whose members were changed, cut, renamed, left out or doubled."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        names = old.namelist()
        chosen = {name for name in names if name.endswith(("data.pkl", "version", "byteorder")) and rng.random() < 0.5}
        for name in names:
            content = old.read(name)
            if name in chosen or rng.random() < 0.05:
                content = bytes_changed(content, rng)
            if rng.random() < 0.04:
                continue
            new.writestr(name if rng.random() > 0.03 else f"{name}x", content)
    return buffer.getvalue()


def header_changed(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file with another header: offsets, shapes, types, names."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    key = rng.choice([name for name in header if name != "__metadata__"])
    field = rng.choice(("dtype", "shape", "data_offsets"))
    header[key][field] = rng.choice(("F64", "BF16", "U8", "X", [], [0], [2**62, 4], [-1], [0, 2**40], [8, 4], {}, None, 3))
    if rng.random() < 0.2:
        header["__metadata__"] = rng.choice(({"provenance": "[" * 5000}, {"a": 1}, [], {"provenance": "{}"}))
    text = json.dumps(header).encode()
    declared = rng.choice((len(text), len(text), len(text), 0, 2**63, len(text) + 7))
    return struct.pack("<Q", declared) + text + data[8 + length :]


def damaged_weights(state: dict[str, Tensor], rng: random.Random) -> tuple[str, bytes]:
    """One damaged file of weights: its ending, and its content."""
    files = weights_files(state)
    ending = rng.choice(list(files))
    ways: list[Callable[[], bytes]] = [lambda: bytes_changed(files[ending], rng)]
    if ending == ".pth":
        ways += [lambda: archive_changed(files[ending], rng), lambda: state_changed(state, rng)]
    if ending == ".safetensors":
        ways.append(lambda: header_changed(files[ending], rng))
    return ending, rng.choice(ways)()


def damaged_device(files: list[Path], rng: random.Random) -> bytes:
    """One damaged device file."""
    data = rng.choice(files).read_bytes()
    return rng.choice((bytes_changed, toml_changed, toml_changed))(data, rng)
