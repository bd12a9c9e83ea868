"""Finished plans and what they measured in integers, kept by content beside the damage tables: a plan that any run of this person
has polished is loaded, and integers that were proven on the same pictures are not proven again. Another device of the same
widths often chooses the plans that the first one chose.

A finished plan is stored as its file of integers, and read by the reader of such files, which checks every value. Training
depends on the instructions and the threads of the machine, so both are in the name: what is loaded is what this process would
have made. While a plan is trained, a folder of the same name keeps what its training has come to (``quant.learn.kept``); a
process that is stopped leaves it, and the next one that wants this plan goes on from there.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwmodels.errors import FileError
from hwmodels.parts import settings
from hwsearch.documents.files import write_json
from hwsearch.documents.plan import Measured
from hwsearch.documents.reading import read
from hwsearch.quant.learn.kept import Kept
from hwsearch.quant.network import storage
from hwsearch.runs import by_content

if TYPE_CHECKING:
    from hwmodels.tiling.tiling import Tiling
    from hwsearch.problem.pictures import Pictures
    from hwsearch.quant.calibrate import Calibration
    from hwsearch.quant.method import Progress
    from hwsearch.quant.network.graph import QuantizedGraph
    from searchspaces.ir.graph import Graph
    from searchspaces.space import PlanRow

KEPT, KEPT_PROOFS = by_content.Room(files=200), by_content.Room(files=1000)
KEPT_TRAININGS = 20
"""Trainings that were stopped and may go on; beyond, the oldest are dropped."""
PROVE = (*by_content.MEASURE, "hwsearch/formats", "hwsearch/plans")
"""Sources that decide what a plan measures in integers."""


def name_of(calibration: Calibration, plan: PlanRow, photos: Pictures, seed: int, effort: float = 1.0) -> str:
    """A name for a finished plan: a digest of all that decides its integers."""
    facts = (*by_content.measured_by(calibration, photos, seed), plan.formats, by_content.machine())
    return by_content.digest(*facts, *(() if effort == 1.0 else (effort,)))


@contextlib.contextmanager
def training(name: str) -> Iterator[Kept | None]:
    """Where the training of the plan of that name keeps what it has come to; gone when the block ends well. None where there is
    no place for it."""
    folder = settings.kept("trainings")
    if folder is None:
        yield None
        return
    kept = Kept(folder / name)
    yield kept
    shutil.rmtree(kept.folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        stopped = sorted(folder.iterdir(), key=lambda own: own.stat().st_mtime, reverse=True)
        for own in stopped[KEPT_TRAININGS:]:
            shutil.rmtree(own, ignore_errors=True)


@dataclass
class Plans:
    """What earlier runs have finished and proven. Where it is not ``kept``, nothing is taken and nothing is left.

    ``taken``: answers that were there.
    """

    kept: bool = False
    taken: int = 0

    def finished(
        self, calibration: Calibration, plan: PlanRow, photos: Pictures, seed: int, progress: Progress | None = None
    ) -> QuantizedGraph:
        """As ``calibration.finished``."""
        folder = settings.kept("plans") if self.kept else None
        if folder is None:
            return calibration.finished(plan, seed=seed, progress=progress)
        name = name_of(calibration, plan, photos, seed)
        file = folder / f"{name}.safetensors"
        if file.is_file():
            with contextlib.suppress(FileError):  # damaged: as good as none
                loaded = storage.load(file)
                self.taken += 1
                return loaded
        with training(name) as kept:
            found = calibration.finished(plan, seed=seed, progress=progress, kept=kept)
        by_content.keep(folder, file.name, lambda path: storage.save(found, path), KEPT)
        return found

    def measured(
        self,
        integers_sha256: str,
        tiling: tuple[Tiling, int] | None,
        reference: Graph,
        photos: Pictures,
        measure: Callable[[], Measured],
    ) -> Measured:
        """What ``measure`` finds.

        Args:
            integers_sha256: of the plan's file of integers.
            tiling: how the picture is cut, and the width that it was planned for.
            reference: the floating-point network, against which a loss is taken.
        """
        folder = settings.kept("proofs") if self.kept else None
        if folder is None:
            return measure()
        measured = (integers_sha256, tiling, by_content.graph(reference), photos.sha256, photos.task.name)
        name = f"{by_content.digest(*measured, by_content.machine(), *by_content.made_by(PROVE))}.json"
        if (folder / name).is_file():
            with contextlib.suppress(FileError):
                known = read(folder / name, Measured, "what a plan measured")
                self.taken += 1
                return known
        found = measure()
        by_content.keep(folder, name, lambda path: write_json(path, found), KEPT_PROOFS)
        return found
