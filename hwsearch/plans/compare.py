"""Two plans of one network side by side: widths, layers, price on the device of each, quality as it was measured.

Every plan is priced on its own device and, where the two devices differ, on the other one as well, where a width that is not on
offer becomes the next wider one. Prices are those of the device files as they are now. Quality is what the plans say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwmodels.errors import HwsearchError, UsageError
from hwsearch.documents.plan import Plan, Predicted
from hwsearch.documents.results import LayerRow
from hwsearch.plans import plan_file
from hwsearch.runs import directory

if TYPE_CHECKING:
    from hwsearch.plans.pricing import Price

Both = tuple[int | None, int | None]


@dataclass(frozen=True)
class Width:
    """A layer or tensor whose width differs; ``kind`` is "weights" or "tensor", ``bits`` those of the two plans."""

    name: str
    kind: str
    bits: Both


@dataclass(frozen=True)
class OnDevice:
    """Both plans priced on one device; None where a plan cannot be priced there."""

    device: str
    prices: tuple[Predicted | None, Predicted | None]


@dataclass(frozen=True)
class Pair:
    """One layer under both plans, each on its own device."""

    first: LayerRow
    second: LayerRow

    @property
    def same(self) -> bool:
        """Whether widths and arithmetic are alike; the price may differ all the same, on another device."""
        return all(
            getattr(self.first, name) == getattr(self.second, name)
            for name in ("weight_bits", "input_bits", "output_bits", "runs_as", "stored_as")
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """What differs between two plans; ``remarks`` say what is not comparable about the numbers."""

    plans: tuple[Plan, Plan]
    widths: tuple[Width, ...]
    layers: tuple[Pair, ...]
    devices: tuple[OnDevice, ...]
    remarks: tuple[str, ...]


def compare(first: Path, second: Path) -> Comparison:
    """Compare the plans in two files.

    Raises:
        FileError: one cannot be read.
        UsageError: they are plans of two networks.
    """
    paths = first, second
    one, other = plans = plan_file.load(first), plan_file.load(second)
    if one.network != other.network or one.scale != other.scale or one.weight_bits.keys() != other.weight_bits.keys():
        raise UsageError(
            f"{first.name} is of {one.network} x{one.scale}, {second.name} of {other.network} x{other.scale}: "
            "their layers are not the same",
            "Compare plans of one network; `hwsearch estimate --plan PLAN` prices each on its own.",
        )
    remarks = _incomparable(paths, plans)
    own = [_priced(path, None, remarks) for path in paths]
    on_devices = []
    for at, (path, plan) in enumerate(zip(paths, plans, strict=True)):
        if at and plan.target == one.target:
            break
        target = plan_file.request_of(plan, path).target
        prices = [own[i] if plans[i].target == plan.target else _priced(paths[i], target, remarks) for i in range(len(plans))]
        here = own[at]
        title = plan.target if here is None else here.problem.device.title
        on_devices.append(OnDevice(title, (_predicted(prices[0], one), _predicted(prices[1], other))))
    rows = [price.layers if price is not None else () for price in own]
    return Comparison(
        plans=plans,
        widths=tuple(_widths(one, other)),
        layers=tuple(Pair(*pair) for pair in zip(*rows, strict=True)) if all(rows) else (),
        devices=tuple(on_devices),
        remarks=tuple(dict.fromkeys(remarks)),
    )


def _widths(one: Plan, other: Plan) -> list[Width]:
    found = []
    for kind, mine, theirs in (
        ("weights", one.weight_bits, other.weight_bits),
        ("tensor", one.activation_bits, other.activation_bits),
    ):
        for name in dict.fromkeys([*mine, *theirs]):
            if mine.get(name) != theirs.get(name):
                found.append(Width(name, kind, (mine.get(name), theirs.get(name))))
    return found


def _incomparable(paths: tuple[Path, Path], plans: tuple[Plan, Plan]) -> list[str]:
    one, other = plans
    said = []
    if one.provenance.weights_sha256 != other.provenance.weights_sha256:
        said.append("The two plans are of different weights: their PSNR tells weights apart as much as widths.")
    if (one.input_height, one.input_width) != (other.input_height, other.input_width):
        said.append(
            f"Each plan is priced for its own input: {one.input_height}x{one.input_width} and "
            f"{other.input_height}x{other.input_width}."
        )
    if one.wide != other.wide and 16 in {*one.activation_bits.values(), *other.activation_bits.values()}:
        said.append(f"16 bits mean {one.wide} in {one.name} and {other.wide} in {other.name}.")
    pictures = [_pictures(path) for path in paths]
    if None in pictures or pictures[0] != pictures[1]:
        known = "were" if None not in pictures else "may have been"
        said.append(f"PSNR and loss {known} measured on different pictures.")
    return said


def _pictures(path: Path) -> str | None:
    """Digest of the pictures of the run that a plan stands in."""
    run = path.parent.parent
    if not (run / "run.json").is_file():
        return None
    digest = directory.configuration(run).get("provenance", {}).get("pictures_sha256")
    return digest if isinstance(digest, str) else None


def _priced(path: Path, target: str | None, remarks: list[str]) -> Price | None:
    """The plan on its own device, or on another; None, and a remark, where its network is not at hand or cannot run there."""
    from hwsearch.plans import pricing

    try:
        price = pricing.estimate_plan(path, {} if target is None else {"target": target})
    except HwsearchError as error:
        where = "layer by layer" if target is None else f"on {target}"
        remarks.append(f"{path.name} is not priced {where}: {error.message}")
        return None
    remarks += [f"{path.name} on {target}: {remark}" for remark in price.remarks]
    if target is None and price.problem.device.device_sha256 != plan_file.load(path).provenance.device_sha256:
        remarks.append(f"{path.name} was made with another file of {price.problem.device.name} than is found now.")
    return price


def _predicted(price: Price | None, plan: Plan) -> Predicted | None:
    if price is None:
        return None
    return Predicted(
        psnr_loss_db=plan.predicted.psnr_loss_db,
        latency_s=price.latency_s,
        weight_bytes=price.weight_bytes,
        peak_activation_bytes=price.peak_activation_bytes,
        energy_j=price.energy_j,
    )


def document(comparison: Comparison) -> dict[str, Any]:
    """A comparison for machines; SI units."""
    return {
        "plans": [
            {
                "plan": plan.name,
                "target": plan.target,
                "input": [plan.input_height, plan.input_width],
                "tiling": plan.tiling,
                "scope": plan.scope,
                "predicted": plan.predicted,
                "counted": plan.counted,
                "measured": plan.measured,
            }
            for plan in comparison.plans
        ],
        "widths": list(comparison.widths),
        "layers": [
            {"name": pair.first.name, "same": pair.same, "first": pair.first, "second": pair.second} for pair in comparison.layers
        ],
        "devices": list(comparison.devices),
        "remarks": list(comparison.remarks),
    }
