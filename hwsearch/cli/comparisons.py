"""How a comparison on one network begins and ends: of quantization methods, of rules of bit allocation, of quality proxies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hwsearch.cli.terminal import Terminal
from searchspaces.data.scale import network_text

if TYPE_CHECKING:
    from rich.console import Console

    from hwsearch.documents.comparisons import Comparison

    Found = TypeVar("Found", bound=Comparison)

ONE_PICTURE = "One picture tells no interval: a difference on it may be chance."


def heading(found: Comparison) -> str:
    """The network that is compared on, and what was done to it."""
    from hwsearch.documents import units

    return network_text(found.network, found.scale) + units.behind(units.rewritten(found.dropped, found.branches))


def pictures(names: Sequence[str]) -> str:
    """``12 pictures``."""
    return f"{len(names)} picture{'' if len(names) == 1 else 's'}"


def within(mean_db: float, half_db: float | None, digits: int = 2, sign: str = "") -> str:
    """A mean with half its interval, where there is one."""
    return f"{mean_db:{sign}.{digits}f}" + ("" if half_db is None else f" ± {half_db:.{digits}f}")


def end(found: Found, out: Path | None, terminal: Terminal, render: Callable[[Found, Console], None]) -> None:
    """Write a comparison to ``out`` where that is asked for, and show it."""
    from hwsearch.documents import files

    if out is not None:
        files.write_json(out, found)
    terminal.show(found, lambda screen: render(found, screen))
