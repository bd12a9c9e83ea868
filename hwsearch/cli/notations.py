"""The notations of options: sizes, tiles, rates, widths, arguments, names; each becomes a value, or an error that says what is
allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hwmodels.errors import UsageError, closest
from hwmodels.numbers import Width, bits_of, format_of
from searchspaces.data.scale import Scale, exact
from searchspaces.scopes import SCOPES


def read_size(text: str | None) -> tuple[int, int] | None:
    """``360x640`` as (height, width).

    Raises:
        UsageError: not two whole numbers above zero.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", text.strip())
    if not match or 0 in (height := int(match[1]), width := int(match[2])):
        raise UsageError(f"--input {text!r} is not a size", "Write height and width in pixels as HxW, for example 360x640.")
    return height, width


def read_tile(text: str | None, halo: str | None) -> dict[str, str]:
    """``--tile`` and ``--halo`` as fields of a request.

    Raises:
        UsageError: not a size, ``auto`` or ``whole``; no such halo; or a halo where nothing is cut.
    """
    from hwmodels.tiling import tiling

    if halo is not None and halo not in tiling.HALOS:
        raise UsageError(f"--halo {halo!r} is not known", closest(halo, tiling.HALOS))
    if halo is not None and text == "whole":
        raise UsageError("--halo says how tiles are joined, and --tile whole cuts none", "Leave one of them out.")
    if text is not None and text not in ("auto", "whole"):
        tiling.parse(text, halo)
    return {name: value for name, value in (("tile", text), ("halo", halo)) if value is not None}


def read_sampler(text: str | None) -> str | None:
    """The name of a sampler.

    Raises:
        UsageError: there is none of that name.
    """
    if text is None:
        return None
    from hwsearch.search.propose.samplers import SAMPLERS

    if text not in SAMPLERS:
        raise UsageError(f"--sampler {text!r} is not known", closest(text, SAMPLERS))
    return text


def read_methods(names: Sequence[str] | None, quantizers: str | None = None) -> tuple[str, ...] | None:
    """Quantization methods in the order given, or those that ``--quantizers measured,plain`` of earlier versions means.

    Raises:
        UsageError: there is none of such a name, or both options were given.
    """
    from hwsearch.documents import earlier
    from hwsearch.quant import methods

    if quantizers is None:
        return methods.check(names) if names else None
    if names:
        raise UsageError("--quantizers is what --method was called earlier", "Leave it out.")
    given = [name.strip() for name in quantizers.split(",")]
    for name in given:
        if name not in earlier.METHODS:
            raise UsageError(f"--quantizers {name!r} is not known", closest(name, earlier.METHODS))
    return tuple(method for name, method in earlier.METHODS.items() if name in given)


def read_fps(rate: float | None) -> float | None:
    """Pictures a second.

    Raises:
        UsageError: not a finite number above zero.
    """
    if rate is not None and not (0 < rate < math.inf):
        raise UsageError(f"--fps {rate:g} is not a rate", "Give pictures a second, for example 30.")
    return rate


def read_bits(option: str, text: str | None) -> tuple[Width, ...] | None:
    """``2,4,8,fp8e4m3`` as ascending widths.

    Raises:
        UsageError: not a list of bits and names of number formats.
    """
    if text is None:
        return None
    try:
        return tuple(sorted({_width(part) for part in text.split(",")}, key=lambda width: (bits_of(width), str(width))))
    except UsageError:
        raise UsageError(f"{option} {text!r} is not a list of widths", "Write for example 2,4,8, or 4,fp8e4m3.") from None


def _width(text: str) -> Width:
    """``8`` or ``fp8e4m3``. Raises UsageError."""
    return int(text) if text.strip().isdecimal() else str(format_of(text))


def read_pins(texts: Iterable[str] | None) -> dict[str, Width]:
    """``NAME=BITS`` texts; a number format goes by its name where bits do not tell it.

    Raises:
        UsageError: not of that form, or one name with two widths.
    """
    pins: dict[str, Width] = {}
    for text in texts or ():
        name, equals, bits = text.rpartition("=")
        try:
            width = _width(bits)
        except UsageError:
            width = ""
        if not equals or not name or not width:
            raise UsageError(f"--pin {text!r} is not NAME=BITS", "For example --pin first_part.0=8.")
        if pins.setdefault(name.strip(), width) != width:
            raise UsageError(f"--pin gives {name!r} two widths", "Keep one of them.")
    return pins


def read_arguments(texts: Iterable[str] | None) -> dict[str, str | int | float | bool]:
    """``KEY=VALUE`` texts; values that look like numbers or booleans become such.

    Raises:
        UsageError: not of that form, or one key with two values.
    """
    arguments: dict[str, str | int | float | bool] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key or not value:
            raise UsageError(f"--arg {text!r} is not KEY=VALUE", "For example --arg d=32.")
        if arguments.setdefault(key.strip(), _value(value.strip())) != _value(value.strip()):
            raise UsageError(f"--arg gives {key.strip()!r} two values", "Keep one of them.")
    return arguments


def _value(text: str) -> str | int | float | bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def read_scope(text: str | None) -> str | None:
    """One of ``SCOPES``.

    Raises:
        UsageError: none of them.
    """
    if text is not None and text not in SCOPES:
        raise UsageError(f"--scope {text!r} is not known", f"{closest(text, SCOPES)} Allowed: {', '.join(SCOPES)}.")
    return text


def read_target(text: str | None) -> str | None:
    """A device name as it is, a device file as an absolute path, so that a run can be resumed from anywhere."""
    if text is not None and (text.endswith(".toml") or "/" in text):
        return str(Path(text).resolve())
    return text


def read_model(text: str | None) -> str | None:
    """``file.py:callable``, its arguments in brackets behind it, or a model file; with the file as an absolute path, for the same
    reason.

    Raises:
        UsageError: arguments that cannot be read.
    """
    if text is None:
        return text
    from searchspaces.networks.own_code import OwnCode

    code = OwnCode.read(text)
    if code is not None:
        return str(replace(code, file=str(Path(code.file).resolve())))
    if ":" not in text:
        return str(Path(text).resolve()) if Path(text).suffix else text
    file, _, attribute = text.rpartition(":")
    return f"{Path(file).resolve()}:{attribute}"


def read_scale(text: str | None) -> Scale | None:
    """What ``--scale`` says: ``2``, ``1.5``, ``4/3``.

    Raises:
        UsageError: it is no scale.
    """
    return None if text is None else exact(text)


def read_input_channels(texts: Sequence[str] | None) -> tuple[str, ...] | None:
    """The steps of ``--input-channels`` with numbers in place of files.

    Raises:
        UsageError, FileError: as ``input_channels.with_numbers``.
    """
    if not texts:
        return None
    from searchspaces.networks.input_channels import with_numbers

    return with_numbers(texts)


def given(fields: Mapping[str, object]) -> dict[str, object]:
    """Without what was left out, which is None or a collection of nothing; lists as tuples."""
    frozen = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return {name: value for name, value in frozen.items() if value is not None and value not in ((), {})}
