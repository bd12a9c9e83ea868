"""What the folders of formats offer: their ``offers.py`` name exporters, readers and runtimes, and are found by their place."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any


def offered(what: str) -> Iterator[tuple[Any, str]]:
    """What every folder beside this file has under the name ``what`` in its ``offers.py``, and that file."""
    for file in sorted(Path(__file__).parent.glob("*/offers.py")):
        module = import_module(f"{__package__}.{file.parent.name}.offers")
        yield from ((info, str(file)) for info in getattr(module, what, ()))


def named(place: str) -> Any:
    """What "MODULE:NAME" names; the module is imported only now."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
