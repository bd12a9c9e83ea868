"""A request in Python's words: names that are wrong are told, and paths and lists may be given as people write them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from hwmodels.errors import FileError, UsageError, closest
from hwsearch.documents import reading
from hwsearch.problem.request import Request

PATHS = ("weights", "images", "run_dir")
LISTS = ("dropped", "branches", "weight_bits", "activation_bits", "methods", "input_size")
NAMES = ("network", "model", "target")
HINT = "Sizes are (height, width), widths numbers or names of formats; `help(hwsearch.optimize)` tells more."


def request(given: Mapping[str, Any]) -> Request:
    """The request of keyword arguments.

    Raises:
        UsageError: one has a name that no field of ``Request`` has, is an object where a name is wanted, or has another type or
            other bounds than its field.
    """
    known = [field.name for field in fields(Request)]
    for name in given:
        if name not in known:
            raise UsageError(f"optimize has no argument {name!r}. {closest(name, known)}", f"Arguments: {', '.join(known)}.")
    found = dict(given)
    for name in NAMES:
        value = found.get(name)
        if isinstance(value, os.PathLike):
            found[name] = os.fspath(value)
        elif value is not None and not isinstance(value, str):
            raise UsageError(
                f"{name} is {type(value).__name__}, not text",
                "Name a built-in network (network='fsrcnn'), or the function or class that builds your own: "
                "model='my_net.py:build', scale=2; a plan names it, too. Devices are names or paths of device files.",
            )
    for name in PATHS:
        if isinstance(found.get(name), str):
            found[name] = Path(found[name])
    for name in LISTS:
        value = found.get(name)
        if isinstance(value, list):
            found[name] = tuple(value)
        elif isinstance(value, str | int) and name != "input_size":
            found[name] = (value,)
    with suppress(TypeError, AttributeError):  # of another type than a field has: told below
        Request(**found)  # says more of its own mistakes than a list of fields can
    try:
        return reading.checked(found, Request, Path("optimize"), "called so", HINT)
    except FileError as error:
        raise UsageError(error.message, error.hint) from None
