"""Reading device files: by name or path; every mistake of one is reported at once, with key, value given and what is allowed."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from hwmodels import impostors
from hwmodels.device.device import Device
from hwmodels.device.sections.found import SECTIONS
from hwmodels.device.tables import Widths
from hwmodels.device.values import MOST
from hwmodels.errors import DeviceFileError, FileError, UsageError, closest
from hwmodels.numbers import Int, Precision, smallest
from hwmodels.parts import settings
from hwmodels.parts.registry import Part, Registry

FOLDER = Path(__file__).parents[1] / "devices"


def user_folder() -> Path:
    """Where ``host`` is looked up first: `hwsearch devices calibrate host` writes it there."""
    return settings.folder() / "devices"


def shipped_text(name: str) -> str:
    """The text of a device file that comes with the package."""
    return (FOLDER / f"{name}.toml").read_text(encoding="utf-8")


@cache
def shipped(name: str) -> Device:
    """A device that comes with the package, whatever a person has put in its place."""
    return load_text(shipped_text(name), f"{name}.toml")


def shipped_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def _built_in() -> list[Part[Path]]:
    return [Part(name, path, str(path)) for name in shipped_names() for path in (FOLDER / f"{name}.toml",)]


def _parts_in(name: str, held: object) -> Iterator[tuple[str, Path]]:
    """A device file under the name that it gives itself; of a package of Python every device file in its folder."""
    files = [held] if isinstance(held, Path) else [Path(folder) for folder in getattr(held, "__path__", ())]
    for file in (inner for outer in files for inner in (sorted(outer.glob("*.toml")) if outer.is_dir() else [outer])):
        if file.suffix == ".toml":
            yield str(_parsed(read_text(file), str(file)).get("name", file.stem)), file


DEVICES: Registry[Path] = Registry("device", "hwsearch.devices", _built_in, _parts_in)
"""Device files by the names of their devices."""


@cache
def _aliases_of(path: Path) -> tuple[str, ...]:
    return tuple(map(str, _parsed(read_text(path), str(path)).get("aliases", ())))


def names() -> list[str]:
    """See ``catalogue.names``."""
    if any(path.parent != FOLDER for path in DEVICES.values()):
        called()
    return list(DEVICES)


def called() -> dict[str, str]:
    """What devices are called, by name or alias -> their names.

    Raises:
        FileError: two are called the same; which of them is meant must not depend on an order.
    """
    found: dict[str, str] = {}
    for name, path in DEVICES.items():
        for text in (name, *_aliases_of(path)):
            if (other := found.setdefault(text, name)) != name:
                raise FileError(
                    f"two devices are called {text!r}: {other} in {DEVICES.origin(other)} and {name} in {DEVICES.origin(name)}",
                    "Take the name or the alias out of one of them, or leave its plug-in or package out.",
                )
    return found


def load(name_or_path: str) -> Device:
    """See ``catalogue.load``."""
    if name_or_path.endswith(".toml") or "/" in name_or_path or "\\" in name_or_path:
        return _load_path(Path(name_or_path))
    name = name_or_path.strip().lower()
    if name not in names():
        known = called()
        if name not in known:
            near = closest(name, known)
            hint = f"{near} `hwsearch devices` lists them; a device file is given by its path, ending in .toml."
            raise UsageError(f"unknown device {name_or_path!r}", hint)
        name = known[name]
    if name == "host" and (own := user_folder() / "host.toml").is_file():
        return _load_path(own)
    return _load_path(DEVICES[name])


def _load_path(path: Path) -> Device:
    return load_text(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of a device file; a byte-order mark, as some editors put it there, is no part of it.

    Raises:
        FileError: not there, not readable, or not text in UTF-8.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileError(f"{path}: no such device file", "Give a device name, or the path of a .toml file.") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FileError(f"{path}: cannot be read ({reason})", "Give a device name, or the path of a .toml file.") from None
    impostors.check(path, data[: impostors.LOOKED_AT], "a device file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wide = data.startswith((b"\xff\xfe", b"\xfe\xff")) or (data and data.count(0) > len(data) / 4)
        what = "text in UTF-16" if wide else f"not a text file in UTF-8 (byte {error.start + 1} is {data[error.start]:#04x})"
        raise FileError(f"{path}: {what}", "A device file is TOML in UTF-8: choose that encoding when you save it.") from None


def load_text(text: str, origin: str) -> Device:
    """See ``catalogue.load_text``."""
    try:
        return _checked(_parsed(text, origin), origin)
    except RecursionError:
        raise FileError(f"{origin}: tables or lists are nested too deeply", "A device file nests four levels.") from None


def _parsed(text: str, origin: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:  # its message ends in "(at line 3, column 7)"
        hint = "Strings need quotes, numbers are written 68e9, tables [like.this]."
        hint = "The file is UTF-16 or binary: save it as UTF-8." if "\0" in text else hint
        raise FileError(f"{origin}: broken TOML: {error}", hint) from None
    except ValueError as error:  # a number of thousands of digits, a date that is none
        reason = str(error).partition(";")[0]
        raise FileError(f"{origin}: a value that cannot be read: {reason}", "Numbers are written 68e9.") from None


def _checked(raw: Mapping[str, Any], origin: str) -> Device:
    try:
        device = Device.model_validate(raw)
        problems: list[str] = []
    except ValidationError as error:
        device = None
        problems = [_problem(detail, raw) for detail in error.errors()]
    problems += _cross_checks(_valid_fields(raw)) + _unknown_sources(raw)
    if problems or device is None:
        raise DeviceFileError(origin, problems)
    return device


_ALLOWED = {
    "model_type": "a table",
    "dict_type": "a table",
    "tuple_type": "a list",
    "bool_type": "true or false",
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "greater_than_equal": "1 or more",
    "less_than_equal": f"at most {MOST}",
    "string_pattern_mismatch": "lower-case letters, digits, dots and hyphens",
    "too_short": "at least one entry",
}


_RENAMED = {"pixel_shuffle": "shuffle", "relu": "clamp", "softmax": "normalize_function"}
"""Keys of older device files, named after operators of frameworks -> those of today, after kinds of work."""


def _problem(detail: Any, raw: Mapping[str, Any]) -> str:
    """One mistake found by pydantic, as "key: value given; what is allowed"."""
    location = [part for part in detail["loc"] if part != "[key]"]
    path = _dotted(location)
    kind, given = detail["type"], _shown(detail.get("input"))
    if location and location[-1] in _RENAMED and kind in ("extra_forbidden", "literal_error"):
        return f"{path}: unknown key. It is called {_RENAMED[location[-1]]} now."
    if kind == "extra_forbidden":
        return f"{path}: unknown key. {closest(str(location[-1]), _keys_at(location[:-1]))}"
    if kind == "missing":
        return f"{path}: missing"
    if kind == "value_error":
        allowed = str(detail["ctx"]["error"])
    elif kind == "literal_error":
        allowed = f"allowed: {detail['ctx']['expected']}"
    else:
        allowed = f"allowed: {_ALLOWED[kind]}" if kind in _ALLOWED else detail["msg"].removeprefix("Input ")
    return f"{path}: {given} given; {allowed}"


def _dotted(location: Iterable[object]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.lstrip(".")


def _shown(value: object) -> str:
    if isinstance(value, BaseModel):  # a Quantity that a later check refused
        value = getattr(value, "value", value)
    try:
        text = f"{value:g}" if isinstance(value, float) else repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _keys_at(location: list[Any]) -> list[str]:
    """Allowed keys of the table at ``location``."""
    model: type[BaseModel] = Device
    for part in location:
        by_alias = {field.alias or name: field for name, field in model.model_fields.items()}
        if part in by_alias:  # otherwise a key of a dictionary, whose value type was already entered
            inner = _models(by_alias[part].annotation)
            model = inner[0] if inner else model
    return [field.alias or name for name, field in model.model_fields.items()]


def _valid_fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The top-level entries that are right by themselves, so that the rest can be checked in spite of other mistakes."""
    valid = {}
    for name, field in Device.model_fields.items():
        key = field.alias or name
        if key not in raw:
            if not field.is_required():
                valid[key] = field.get_default(call_default_factory=True)
            continue
        annotation = TypeAdapter(field.rebuild_annotation())
        try:
            valid[key] = annotation.validate_python(raw[key])
        except ValidationError:
            continue
    return valid


def _cross_checks(valid: Mapping[str, Any]) -> list[str]:
    """Mistakes that only show between two entries of a file."""
    problems = []
    kind, widths, packing, memory = (valid.get(key) for key in ("kind", "widths", "packing", "memory"))
    if kind is not None:
        if kind in valid and valid[kind] is None:
            problems.append(f"{kind}: missing; a device of kind {kind!r} describes itself in [{kind}]")
        for other in SECTIONS:
            if other != kind and valid.get(other) is not None:
                problems.append(f"{other}: does not belong to a device of kind {kind!r}")
    if kind is not None and memory is not None:
        problems += SECTIONS[kind].problems(memory)
    if widths is not None:
        problems += _width_checks(widths, valid.get("rates"))
        if packing is not None and packing.kind == "stream":
            missing = [f.bits for f in widths.weight_formats if str(f.bits) not in packing.stored_bits_per_weight]
            if missing:
                problems.append(f"packing.stored_bits_per_weight: missing for {', '.join(map(str, missing))} bits")
    return problems


def _width_checks(widths: Widths, rates: Mapping[str, Any] | None) -> list[str]:
    problems = []
    for key, formats in (("weights", widths.weight_formats), ("tensors", widths.tensor_formats)):
        if list(formats) != sorted(set(formats)):
            problems.append(f"widths.{key}: {', '.join(map(str, formats))} given; allowed: each format once, ascending")
    if any(fmt.is_wide_integer for fmt in widths.weight_formats):
        problems.append("widths.weights: int16 given; integer weights have at most 8 bits")
    if any(isinstance(fmt, Int) and fmt.group for fmt in widths.tensor_formats):
        problems.append("widths.tensors: groups given; only weights have a scale for each group")
    if rates is None:
        return problems
    if problems:  # what the widths mean is not clear then
        return problems
    native = tuple(sorted(Precision.parse(key) for key in rates))
    for weight in widths.weight_formats:
        for tensor in widths.tensor_formats:
            if smallest(native, Precision(weight, tensor)) is None:
                problems.append(f"widths: {weight} beside {tensor} given; no precision of rates ({', '.join(rates)}) holds it")
    return problems


def _unknown_sources(raw: Mapping[str, Any]) -> list[str]:
    """Quantities whose ``source`` is not in the file's [sources] table."""
    table = raw.get("sources", {})
    known = [key for key in table] if isinstance(table, dict) else []
    problems = []

    def walk(node: object, path: str) -> None:
        if not isinstance(node, dict):
            return
        source = node.get("source")
        if "value" in node and isinstance(source, str) and source not in known:
            hint = closest(source, known) if known else "The file has no [sources]."
            problems.append(f"{path}.source: {source!r} given; not a key of [sources]. {hint}")
        for key, value in node.items():
            if key != "sources":
                walk(value, f"{path}.{key}".lstrip("."))

    walk(raw, "")
    return problems


def schema() -> dict[str, Any]:
    """JSON Schema of a device file, from the same classes that read it."""
    described = Device.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | described | {"title": "hwsearch device file"}


def schema_text() -> str:
    """The text of ``devices/device.schema.json``; ``python -m hwmodels.device.reader`` writes it."""
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    (FOLDER / "device.schema.json").write_text(schema_text(), encoding="utf-8")
