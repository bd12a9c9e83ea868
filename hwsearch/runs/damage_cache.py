"""Damage tables that any run of this person has measured, kept by content: the same network on another device whose widths mean
the same, or the same run again, measures no proxy twice.

A table depends on the network's numbers, the pictures, the formats on offer, the quantization method, the seed, the proxies, the
versions of the libraries and the sources that measure. All of them are in the name of the file, so what stands there under a name
is the answer; a file that is damaged counts as absent. The folder is ``hwsearch/damage`` in the user's cache directory; where
there is none, or it cannot be written, nothing is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hwmodels.errors import FileError
from hwmodels.parts import settings
from hwsearch.runs import by_content, damage_file

if TYPE_CHECKING:
    from hwsearch.problem.pictures import Pictures
    from hwsearch.quality.damage import Damage
    from hwsearch.quant.calibrate import Calibration
    from searchspaces.space import SearchSpace

KEPT = by_content.Room(files=200)
"""A table takes some tens of kilobytes."""


def key(calibration: Calibration, photos: Pictures, seed: int, searched: Collection[str], *, quick: bool = False) -> str:
    """Name of the tables of a calibrated network on pictures; ``searched``: the proxies; ``quick``: on some of the crops."""
    return by_content.digest(
        *by_content.measured_by(calibration, photos, seed), quick, sorted(searched), calibration.space.allowed.tobytes()
    )


def folder() -> Path | None:
    """Where tables are kept; None where there is no such place."""
    return settings.kept("damage")


def load(name: str, space: SearchSpace) -> dict[str, Damage] | None:
    """The tables of that name, by proxy; None where there are none, or they cannot be used."""
    place = folder()
    if place is None or not (place / f"{name}.json").is_file():
        return None
    try:
        return damage_file.load(place / f"{name}.json", space)
    except (FileError, OSError):
        return None


def save(name: str, tables: Mapping[str, Damage], space: SearchSpace) -> None:
    """Keep tables, where that is possible, and drop the oldest."""
    by_content.keep(folder(), f"{name}.json", lambda path: damage_file.save(path, tables, space), KEPT)
