"""What earlier runs of this person have found, kept by content: the rules that all such files share.

The name of a file is a digest of whatever decides what stands in it: numbers of the network, pictures, formats, method, seed,
versions of the libraries, and the sources that compute it. So what stands there under a name is the answer, and nothing is ever
out of date; a file that is damaged counts as absent, and is written again. The newest files stay, the oldest go.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hwmodels.errors import FileError
from hwmodels.parts import plugins
from hwsearch.documents.versions import versions

if TYPE_CHECKING:
    from hwsearch.problem.pictures import Pictures
    from hwsearch.quant.calibrate import Calibration
    from searchspaces.ir.graph import Graph

MEASURE = ("hwmodels", "searchspaces", "hwsearch/quant", "hwsearch/quality")
"""Sources that decide what is measured of a simulated plan."""


@dataclass(frozen=True)
class Room:
    """What a folder may hold: so many files, and so many bytes in all."""

    files: int
    bytes: int = 256 * 2**20


def digest(*facts: object) -> str:
    """A name for what follows from ``facts``: values whose ``repr`` says all there is to say."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def measured_by(calibration: Calibration, photos: Pictures, seed: int) -> tuple[object, ...]:
    """Whatever decides what a calibrated network loses on pictures, but for the plan."""
    space = calibration.space
    return (
        graph(calibration.graph),
        *(() if calibration.teacher is None else (graph(calibration.teacher),)),
        (space.names, space.formats, space.symmetric_activations, calibration.method, seed, photos.sha256, photos.task.name),
        *made_by(MEASURE),
    )


def made_by(packages: Collection[str]) -> tuple[object, ...]:
    """Versions of the libraries, plug-ins, and the sources in ``packages``: a development version changes without its number."""
    return sorted(versions().items()), plugins.record(), _sources(tuple(packages))


def machine() -> tuple[str, int]:
    """What decides the last bits of sums in floating point: the instructions that PyTorch uses, and among how many threads it
    shares the work. Numbers that were trained depend on them."""
    import torch

    return torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()


def graph(network: Graph) -> str:
    """Of a network's structure and numbers."""
    seen = hashlib.sha256()
    for node in network.nodes:
        seen.update(repr((node.name, node.op, node.inputs)).encode())
        for name, values in sorted(node.weights.items()):
            seen.update(f"{name}{tuple(values.shape)}".encode())
            seen.update(values.detach().cpu().contiguous().numpy().tobytes())
    return seen.hexdigest()


@cache
def _sources(packages: tuple[str, ...]) -> str:
    seen, root = hashlib.sha256(), Path(__file__).parents[2]
    for package in packages:
        for file in sorted((root / package).rglob("*.py")):
            seen.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return seen.hexdigest()


def keep(folder: Path | None, name: str, write: Callable[[Path], object], room: Room) -> None:
    """Write a file, where that is possible, and drop the oldest of its kind that there is no room for."""
    if folder is None:
        return
    with contextlib.suppress(OSError, FileError):
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / name)
        kept = [(file, file.stat()) for file in folder.glob(f"*{Path(name).suffix}")]
        size = 0
        for number, (file, about) in enumerate(sorted(kept, key=lambda entry: entry[1].st_mtime, reverse=True)):
            size += about.st_size
            if number >= room.files or (number and size > room.bytes):
                file.unlink(missing_ok=True)
