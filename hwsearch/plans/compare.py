"""Two plans of one network side by side: widths, layers, price on the device of each, quality as it was measured.

Every plan is priced on its own device and, where the two devices differ, on the other one as well, where a width that is not on
offer becomes the next wider one. Prices are those of the device files as they are now. Quality is what the plans say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwmodels.errors import HwsearchError, UsageError
from hwmodels.numbers import Width
from hwsearch.documents import trust, units
from hwsearch.documents.plan import Plan, Predicted
from hwsearch.documents.results import LayerRow
from hwsearch.documents.trust import Trust
from hwsearch.plans import plan_file
from hwsearch.plans.plan_file import PlanFile
from searchspaces.data.scale import network_text

if TYPE_CHECKING:
    from hwsearch.plans.pricing import PricedPlan

Both = tuple[Width | None, Width | None]


@dataclass(frozen=True)
class WidthPair:
    """A layer or tensor whose width differs; ``kind`` is "weights" or "tensor", ``bits`` those of the two plans."""

    name: str
    kind: str
    bits: Both


@dataclass(frozen=True)
class MethodPair:
    """A layer or tensor that two methods made; ``kind`` is "weights" or "tensor"; None: no method made it there, or it is made
    together with another."""

    name: str
    kind: str
    methods: tuple[str | None, str | None]


@dataclass(frozen=True)
class OnDevice:
    """Both plans priced on one device; None where a plan cannot be priced there."""

    device: str
    prices: tuple[Predicted | None, Predicted | None]
    trust: Trust
    """How far latencies predicted there may be off."""

    @property
    def faster(self) -> tuple[int, float, bool] | None:
        """Which plan is predicted to be faster, how many times, and whether that is beyond the cost model's error between
        plans; None where a price or that error is not known, or both take as long."""
        one, other = self.prices
        doubt = self.trust.doubt
        if one is None or other is None or doubt is None or one.latency_s == other.latency_s:
            return None
        first, second = one.latency_s, other.latency_s
        ratio = max(first, second) / max(min(first, second), 1e-300)
        return int(second < first), ratio, doubt.tells_apart(first, second)


@dataclass(frozen=True)
class ComparedLayer:
    """One layer under both plans, each on its own device."""

    first: LayerRow
    second: LayerRow

    @property
    def same(self) -> bool:
        """Whether widths and arithmetic are alike; the price may differ all the same, on another device."""
        return all(
            getattr(self.first, name) == getattr(self.second, name)
            for name in ("weight_bits", "input_bits", "output_bits", "runs_as", "runs_on", "stored_as")
        )


@dataclass(frozen=True, eq=False)
class PlanComparison:
    """What differs between two plans; ``remarks`` say what is not comparable about the numbers."""

    plans: tuple[Plan, Plan]
    widths: tuple[WidthPair, ...]
    methods: tuple[MethodPair, ...]
    layers: tuple[ComparedLayer, ...]
    devices: tuple[OnDevice, ...]
    remarks: tuple[str, ...]


def _rewritten(plan: Plan) -> str:
    """The network of a plan, in words."""
    return network_text(plan.network, plan.scale) + units.behind(units.rewritten(plan.dropped, plan.branches))


def compare(first: Path, second: Path, model: str | None = None, *, allow_edited: bool = False) -> PlanComparison:
    """Compare the plans in two files.

    Args:
        model: the file of code that is their network, named by the person who asks; it is executed.
        allow_edited: a plan that was edited is compared as it is now.
    Raises:
        FileError: one cannot be read.
        UsageError: they are plans of two networks.
    """
    one_file, other_file = (plan_file.open_plan(path, model, allow_edited=allow_edited) for path in (first, second))
    opened = one_file, other_file
    one, other = plans = opened[0].plan, opened[1].plan
    if one.network != other.network or one.scale != other.scale or one.weight_bits.keys() != other.weight_bits.keys():
        raise UsageError(
            f"{first.name} is of {_rewritten(one)}, {second.name} of {_rewritten(other)}: their layers are not the same",
            "Compare plans of one network; `hwsearch estimate --plan PLAN` prices each on its own.",
        )
    remarks = [*one_file.remarks, *other_file.remarks, *_incomparable(opened)]
    own = [_priced(plan, None, remarks) for plan in opened]
    on_devices = []
    for at, plan in enumerate(plans):
        if at and plan.target == one.target:
            break
        run = opened[at].run
        target = plan.target if run is None else run.target
        prices = [own[i] if plans[i].target == plan.target else _priced(opened[i], target, remarks) for i in range(len(plans))]
        here = own[at]
        known = Trust(plan.target, None, None) if here is None else trust.of(here.problem.device)
        on_devices.append(OnDevice(known.title, (_predicted(prices[0], one), _predicted(prices[1], other)), known))
    rows = [price.layers if price is not None else () for price in own]
    return PlanComparison(
        plans=plans,
        widths=tuple(_widths(one, other)),
        methods=tuple(_methods(one, other)),
        layers=tuple(ComparedLayer(*pair) for pair in zip(*rows, strict=True)) if all(rows) else (),
        devices=tuple(on_devices),
        remarks=tuple(dict.fromkeys(remarks)),
    )


def _widths(one: Plan, other: Plan) -> list[WidthPair]:
    found = []
    for kind, mine, theirs in (
        ("weights", one.weight_bits, other.weight_bits),
        ("tensor", one.activation_bits, other.activation_bits),
    ):
        for name in dict.fromkeys([*mine, *theirs]):
            if mine.get(name) != theirs.get(name):
                found.append(WidthPair(name, kind, (mine.get(name), theirs.get(name))))
    return found


def _methods(one: Plan, other: Plan) -> list[MethodPair]:
    """Where the methods differ, of plans of which at least one mixes several."""
    found = []
    for kind, mine, theirs in (
        ("weights", one.weight_methods, other.weight_methods),
        ("tensor", one.activation_methods, other.activation_methods),
    ):
        for name in dict.fromkeys([*mine, *theirs]):
            made = tuple(own.get(name) if own else plan.method for own, plan in ((mine, one), (theirs, other)))
            if made[0] != made[1]:
                found.append(MethodPair(name, kind, (made[0], made[1])))
    return found


def _incomparable(opened: tuple[PlanFile, PlanFile]) -> list[str]:
    one, other = (found.plan for found in opened)
    said = []
    if one.provenance.weights_sha256 != other.provenance.weights_sha256:
        said.append("The two plans are of different weights: differences of quality are due to the weights too.")
    if one.branches != other.branches:
        ranks = " and ".join(units.branches(plan.branches) or "none" for plan in (one, other))
        said.append(f"The two plans have different low-rank branches, so that layers of one name differ: {ranks}.")
    if (one.input_height, one.input_width) != (other.input_height, other.input_width):
        said.append(
            f"Each plan is priced for its own input: {one.input_height}x{one.input_width} and "
            f"{other.input_height}x{other.input_width}."
        )
    if one.wide != other.wide and 16 in {*one.activation_bits.values(), *other.activation_bits.values()}:
        said.append(f"16 bits mean {one.wide} in {one.name} and {other.wide} in {other.name}.")
    pictures = [None if found.run is None else found.run.pictures_sha256 for found in opened]
    if None in pictures or pictures[0] != pictures[1]:
        known = "were" if None not in pictures else "may have been"
        said.append(f"Quality and loss {known} measured on different pictures.")
    return said


def _priced(opened: PlanFile, target: str | None, remarks: list[str]) -> PricedPlan | None:
    """The plan on its own device, or on another; None, and a remark, where its network is not at hand or cannot run there."""
    from hwsearch.plans import pricing

    name = opened.path.name
    try:
        price = pricing.estimate_plan(opened, {} if target is None else {"target": target})
    except HwsearchError as error:
        where = "layer by layer" if target is None else f"on {target}"
        remarks.append(f"{name} is not priced {where}: {error}")
        return None
    who = name if target is None else f"{name} on {target}"
    remarks += [f"{who}: {remark}" for remark in price.remarks if remark not in (*opened.remarks, *price.problem.network.remarks)]
    if target is None and price.problem.device.device_sha256 != opened.plan.provenance.device_sha256:
        remarks.append(f"{name} was made with another file of {price.problem.device.name} than is found now.")
    return price


def _predicted(price: PricedPlan | None, plan: Plan) -> Predicted | None:
    if price is None:
        return None
    return Predicted(
        loss_db=plan.predicted.loss_db,
        loss_is=plan.predicted.loss_is,
        latency_s=price.latency_s,
        weight_bytes=price.weight_bytes,
        peak_activation_bytes=price.peak_activation_bytes,
        energy_j=price.energy_j,
    )


def document(comparison: PlanComparison) -> dict[str, Any]:
    """A comparison for machines; SI units."""
    return {
        "plans": [
            {
                "plan": plan.name,
                "target": plan.target,
                "input": [plan.input_height, plan.input_width],
                "tiling": plan.tiling,
                "scope": plan.scope,
                "method": plan.method,
                "predicted": plan.predicted,
                "counted": plan.counted,
                "measured": plan.measured,
                "unproven": plan.unproven,
            }
            for plan in comparison.plans
        ],
        "widths": list(comparison.widths),
        "methods": list(comparison.methods),
        "layers": [
            {"name": pair.first.name, "same": pair.same, "first": pair.first, "second": pair.second} for pair in comparison.layers
        ],
        "devices": list(comparison.devices),
        "remarks": list(comparison.remarks),
    }
