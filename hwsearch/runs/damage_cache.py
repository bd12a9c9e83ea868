"""Damage tables that any run of this person has measured, kept by content: the same network on another device whose widths mean
the same, or the same run again, measures no proxy twice.

A table depends on the network's numbers, the pictures, the formats on offer, the quantization method, the seed, the proxies, the
versions of the libraries and the sources that measure. All of them are in the name of the file, so what stands there under a name
is the answer; a file that is damaged counts as absent. The folder is ``hwsearch/damage`` in the user's cache directory; where
there is none, or it cannot be written, nothing is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hwmodels.errors import FileError
from hwmodels.parts import plugins, settings
from hwsearch.documents.versions import versions
from hwsearch.quality.damage import Damage
from hwsearch.runs import damage_file

if TYPE_CHECKING:
    from hwsearch.problem.pose import Pictures
    from hwsearch.quant.calibrate import Calibration
    from searchspaces.space import SearchSpace

KEPT = 200
"""Files that are kept, the newest; a table takes some tens of kilobytes."""
PACKAGES = ("hwmodels", "searchspaces", "hwsearch/quant", "hwsearch/quality")
"""Sources that decide what is measured."""


def key(calibration: Calibration, photos: Pictures, seed: int, searched: Collection[str], *, quick: bool = False) -> str:
    """Name of the tables of a calibrated network on pictures; ``searched``: the proxies; ``quick``: on some of the crops."""
    digest, space = hashlib.sha256(), calibration.space
    for node in calibration.graph.nodes:
        digest.update(repr((node.name, node.op, node.inputs)).encode())
        for name, values in sorted(node.weights.items()):
            digest.update(f"{name}{tuple(values.shape)}".encode())
            digest.update(values.detach().cpu().contiguous().numpy().tobytes())
    facts = (space.names, space.formats, space.symmetric_activations, calibration.method, seed, photos.sha256, photos.task.name)
    digest.update(repr((facts, quick, sorted(searched), sorted(versions().items()), plugins.record(), _sources())).encode())
    digest.update(space.allowed.tobytes())
    return digest.hexdigest()


@cache
def _sources() -> str:
    """Digest of the sources that measure: a development version changes without its number."""
    digest, root = hashlib.sha256(), Path(__file__).parents[2]
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


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
    place = folder()
    if place is None:
        return
    with contextlib.suppress(OSError, FileError):
        place.mkdir(parents=True, exist_ok=True)
        damage_file.save(place / f"{name}.json", tables, space)
        files = sorted(place.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        for old in files[KEPT:]:
            old.unlink(missing_ok=True)
