"""Finished plans and what they measured in integers, kept by content beside the damage tables: a plan that any run of this person
has polished is loaded, and integers that were proven on the same pictures are not proven again. Another device of the same
widths often chooses the plans that the first one chose.

A finished plan is stored as its file of integers, and read by the reader of such files, which checks every value. Training
depends on the instructions and the threads of the machine, so both are in the name: what is loaded is what this process would
have made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwmodels.errors import FileError
from hwmodels.parts import settings
from hwsearch.documents.files import write_json
from hwsearch.documents.plan import Measured
from hwsearch.documents.reading import read
from hwsearch.quant.network import storage
from hwsearch.runs import by_content

if TYPE_CHECKING:
    from hwmodels.tiling.tiling import Tiling
    from hwsearch.problem.pose import Pictures
    from hwsearch.quant.calibrate import Calibration
    from hwsearch.quant.method import Progress
    from hwsearch.quant.network.graph import QuantizedGraph
    from searchspaces.ir.graph import Graph
    from searchspaces.space import PlanRow

KEPT, KEPT_PROOFS = by_content.Room(files=200), by_content.Room(files=1000)
PROVE = (*by_content.MEASURE, "hwsearch/formats", "hwsearch/plans")
"""Sources that decide what a plan measures in integers."""


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
        facts = (plan.formats, by_content.machine()) if folder else ()
        name = folder and f"{by_content.digest(*by_content.measured_by(calibration, photos, seed), *facts)}.safetensors"
        if folder and name and (folder / name).is_file():
            with contextlib.suppress(FileError):  # damaged: as good as none
                loaded = storage.load(folder / name)
                self.taken += 1
                return loaded
        found = calibration.finished(plan, seed=seed, progress=progress)
        if name:
            by_content.keep(folder, name, lambda path: storage.save(found, path), KEPT)
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
