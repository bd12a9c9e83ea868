"""Handing a plan over: which format its device reads, and whether the plan still keeps its budgets in that format.

What a format cannot hold becomes wider (``writing.promote``), and a wider plan may no longer fit. So the promoted widths are
priced by the device's own model, and whatever budget of the run or limit of the device the plan keeps and the file would not is
told before anything is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwmodels.device import catalogue
from hwmodels.device.device import Device
from hwmodels.errors import BudgetError, HwsearchError
from hwsearch.documents.progress import Progress, Silent
from hwsearch.formats.reading import pricing
from hwsearch.formats.running import reach
from hwsearch.formats.writing import exporters
from hwsearch.formats.writing.exporters import ExporterInfo
from hwsearch.formats.writing.promote import Promotion
from hwsearch.plans import promotion_effect
from hwsearch.plans.plan_file import PlanFile
from hwsearch.plans.promotion_effect import Effect
from hwsearch.quant.network.graph import QuantizedGraph
from hwsearch.search import pareto
from searchspaces.data.scale import enlarged

GENERAL = ("onnx", "qonnx")
"""Formats of whole networks that many tools read, for devices whose runtime none is made for."""
SHOWN = 3
"""Reasons of a refusal that are told."""
ROOM = 1e-9
"""Share by which a sum of prices may exceed a limit that it equals."""


@dataclass(frozen=True)
class Broken:
    """A limit that a plan keeps and its promoted form does not; ``objective`` in SI units, as ``pareto`` calls it."""

    limit: str
    objective: str
    allowed: float
    plan: float
    exported: float

    def __str__(self) -> str:
        before, after = (pareto.quantity(self.objective, value) for value in (self.plan, self.exported))
        return f"{self.limit} is {pareto.quantity(self.objective, self.allowed)}: the plan takes {before}, the file {after}"


@dataclass(frozen=True)
class Suggestion:
    """The format to hand a plan over in.

    Attributes:
        made_for_device: the device's runtime reads that format.
        passed_over: formats that it reads rather, and why each does not hold the plan.
    """

    exporter: ExporterInfo
    made_for_device: bool
    passed_over: Mapping[str, str]

    @property
    def why(self) -> str:
        """Why the format is none that the device's runtime reads; empty where it is one, or where there is no other."""
        if self.made_for_device or not self.passed_over:
            return ""
        return "; ".join(f"{name} cannot hold this plan ({reason})" for name, reason in self.passed_over.items())


def device_of(opened: PlanFile) -> Device | None:
    """The device that a plan is for; None where its file is not to be had."""
    try:
        return catalogue.load(opened.plan.target if opened.run is None else opened.run.target)
    except HwsearchError:
        return None


def read_size(opened: PlanFile, qgraph: QuantizedGraph) -> tuple[int, int]:
    """(height, width) of what the network reads for a picture of the plan's size."""
    plan = opened.plan
    scale = plan.scale if reach.enlargement(qgraph.graph) == 1 else 1
    return enlarged(plan.input_height, scale), enlarged(plan.input_width, scale)


def broken(opened: PlanFile, promotion: Promotion, effect: Effect | None) -> tuple[Broken, ...]:
    """The budgets of the plan's run and the limits of its device that the plan keeps and its promoted form breaks.

    Args:
        effect: what promotion does to the quality, where it does anything.
    """
    device = device_of(opened)
    if device is None or (not promotion.changes and promotion.same_numbers):
        return ()
    plan, allowed = opened.plan, _allowed(opened, device)
    before = plan.predicted
    lost_db = plan.measured.loss_db if plan.measured is not None else before.loss_db
    more_db = 0.0 if effect is None else effect.quality_before_db - effect.quality_after_db
    was = {
        "latency_s": before.latency_s,
        "weight_bytes": before.weight_bytes,
        "peak_activation_bytes": before.peak_activation_bytes,
        "memory_bytes": before.weight_bytes + before.peak_activation_bytes,
        "energy_j": before.energy_j,
        "loss_db": lost_db,
        "mean_bits": plan.counted.scope_weight_bits if plan.counted else None,
        "bitops": plan.counted.bitops if plan.counted else None,
    }
    becomes = {**_price(opened, promotion.qgraph, device), "loss_db": lost_db + more_db}
    found = []
    for name, (objective, limit) in allowed.items():
        old, new = was.get(objective), becomes.get(objective)
        if old is not None and new is not None and new > limit * (1 + ROOM) >= old:
            found.append(Broken(name, objective, limit, old, new))
    return tuple(found)


def _allowed(opened: PlanFile, device: Device) -> dict[str, tuple[str, float]]:
    """Limit in words -> objective and value."""
    hard = {name: getattr(device.limits, name) for name in ("weight_bytes", "peak_activation_bytes")}
    return pareto.in_words(
        {name: float(limit.value) for name, limit in hard.items() if limit is not None},
        {} if opened.run is None else opened.run.budgets,
    )


def _price(opened: PlanFile, qgraph: QuantizedGraph, device: Device) -> dict[str, float | None]:
    layers = {name: layer.bits for name, layer in qgraph.layers.items()}
    if device.packing.kind == "stream":
        # A compiler that packs weights without loss looks at the integers, not at their container.
        before = opened.integers().layers
        layers |= {name: old.bits for name, old in before.items() if np.array_equal(old.weight, qgraph.layers[name].weight)}
    price = pricing.of_widths(
        qgraph.graph,
        layers,
        {name: fmt.bits for name, fmt in qgraph.formats.items()},
        device,
        read_size(opened, qgraph),
        opened.plan.tiling,
    )
    return {
        "latency_s": price.latency_s,
        "weight_bytes": price.weight_bytes,
        "peak_activation_bytes": price.peak_activation_bytes,
        "memory_bytes": price.weight_bytes + price.peak_activation_bytes,
        "energy_j": price.energy_j,
        **price.counted,
    }


def check(opened: PlanFile, info: ExporterInfo, promotion: Promotion, effect: Effect | None) -> None:
    """Refuse a format in which the plan would no longer keep its budgets.

    Raises:
        BudgetError: what is broken, and by how much.
    """
    if found := broken(opened, promotion, effect):
        lines = "\n".join(f"  - {one}" for one in found)
        better = suggest(opened)
        advice = "" if better is None else f"Export to {better.exporter.name}, which keeps them; or write"
        raise BudgetError(
            f"{info.name} cannot hold all widths of {opened.plan.name}, and with what becomes wider it breaks:\n{lines}",
            f"{advice or 'Write'} the file all the same: --accept.",
        )


def suggest(opened: PlanFile, progress: Progress | None = None) -> Suggestion | None:
    """The format to hand a plan over in: the first that its device's runtime reads, else a general one, that holds the plan
    within its budgets; None where no such format does."""
    qgraph, device = opened.integers(progress), device_of(opened)
    own = [] if device is None else exporters.for_device(device)
    passed_over: dict[str, str] = {}
    for info in [*own, *(exporters.exporter(name) for name in GENERAL)]:
        try:
            info.refuse(qgraph.graph)
            promotion = info.promote(qgraph)
        except HwsearchError as error:
            passed_over |= {info.name: _reason(error)} if info in own else {}
            continue
        judged = not promotion.same_numbers and opened.run is not None and "loss" in opened.run.budgets
        effect = promotion_effect.measure(opened, qgraph, promotion, opened.plan.scale, progress or Silent()) if judged else None
        if not (limits := broken(opened, promotion, effect)):
            return Suggestion(info, info in own, passed_over)
        passed_over |= {info.name: f"it would break {', '.join(one.limit for one in limits)}"} if info in own else {}
    return None


def _reason(error: HwsearchError) -> str:
    """The first reasons of a refusal on one line, without its heading."""
    first, *lines = error.message.splitlines()
    told = [line.strip().removeprefix("- ") for line in lines[:SHOWN]]
    more = f"and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return "; ".join([*told, *filter(None, [more])]) or first
