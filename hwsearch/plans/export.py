"""A plan written as a file for somebody's runtime: what its format cannot hold becomes wider, and what that does is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwmodels.errors import UsageError
from hwsearch.documents.files import size_bytes
from hwsearch.documents.plan import Plan
from hwsearch.documents.progress import Progress
from hwsearch.formats.writing.exporters import ExporterInfo, Handed
from hwsearch.formats.writing.promote import Promotion
from hwsearch.plans import handover, promotion_effect
from hwsearch.plans.plan_file import PlanFile
from hwsearch.plans.promotion_effect import Effect


@dataclass(frozen=True, eq=False)
class Exported:
    """A file that was written.

    Attributes:
        replaced: another one was in its place.
        effect: what promotion does to the quality; None where it does nothing.
        commands: what takes the file to its device, in order.
        states: tensors that a network keeps between the frames of a video: each is one more input and output of the file.
    """

    plan: Plan
    exporter: ExporterInfo
    path: Path
    replaced: bool
    promotion: Promotion
    effect: Effect | None
    commands: list[str]
    states: list[str]

    def document(self) -> dict[str, Any]:
        """All of it for machines."""
        return {
            "file": str(self.path),
            "replaced": self.replaced,
            "format": self.exporter.name,
            "plan": self.plan.name,
            "bytes": size_bytes(self.path),
            "promoted": self.promotion.changes,
            "weight_bytes": {"plan": self.promotion.bytes_before, "exported": self.promotion.bytes_after},
            "quality": self.effect,
            "commands": self.commands,
            "states": self.states,
        }


def export(
    opened: PlanFile,
    exporter: ExporterInfo,
    out: Path | None,
    input_size: tuple[int, int] | None,
    progress: Progress,
    *,
    accept: bool = False,
) -> Exported:
    """Write a plan in a format.

    Args:
        out: the file, or None: the plan's name in the current folder.
        input_size: (height, width) of the picture that goes in, for formats that fix it; None: the plan's.
        accept: write the file even where promotion breaks a budget.
    Raises:
        UsageError: the format cannot hold the network, has no use for a size, or the file would take the plan's own place.
        BudgetError: promotion breaks a budget.
    """
    plan = opened.plan
    path = exporter.named(out) if out is not None else Path(f"{plan.name}{exporter.suffix}")
    _spare(opened.path, path)
    replaced = path.exists()
    if input_size is not None and not exporter.sized:
        raise UsageError(f"--input means nothing to {exporter.name}: its files take pictures of any size")
    if path.is_dir() and not exporter.folder:
        raise UsageError(f"--out {path} is a folder", f"Name a file, for example {path / (plan.name + exporter.suffix)}.")
    qgraph = opened.integers(progress)
    exporter.refuse(qgraph.graph)
    promotion = exporter.promote(qgraph)
    effect = promotion_effect.measure(opened, qgraph, promotion, plan.scale, progress)
    if not accept:
        handover.check(opened, exporter, promotion, effect)
    size = input_size or (plan.input_height, plan.input_width)
    exporter(qgraph, path, metadata=plan.origin, size=size)
    graph, read = qgraph.graph, size if exporter.sized else handover.read_size(opened, qgraph)
    states = [node.name for node in graph.states]
    handed = Handed(path, opened.path, handover.device_of(opened), graph.input.name, read, graph.channels)
    return Exported(plan, exporter, path, replaced, promotion, effect, exporter.next_commands(handed), states)


def _spare(plan: Path, path: Path) -> None:
    """Raise ``UsageError`` where a file would take the place of its plan, or of the plan's integers."""
    kept = [plan, plan.with_suffix(".safetensors")]
    if any(file.exists() and path.exists() and path.samefile(file) for file in kept):
        raise UsageError(f"--out {path} is what is exported", "Name another file.")
