"""What one plan costs on one device, layer by layer, without a search and without a picture."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hwmodels import cost
from hwmodels.errors import UsageError
from hwmodels.numbers import Precision, Width
from hwmodels.tiling.tiles import PricedTiling
from hwsearch.documents import elsewhere, trust, units
from hwsearch.documents.results import LayerRow, ScheduleStep, TilingPoint
from hwsearch.plans.plan_file import PlanFile
from hwsearch.problem.pose import Problem, pose
from hwsearch.problem.request import Request, refuse_auto
from hwsearch.search import frame_rate, tiling_options
from searchspaces.data.scale import network_text
from searchspaces.ir import branches
from searchspaces.networks import registry, through_spandrel
from searchspaces.networks.adapted import blocks
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.space import PlanRow, SearchSpace, listed, matrix, written


@dataclasses.dataclass(frozen=True, eq=False)
class PricedPlan:
    """A priced plan.

    Attributes:
        label: what was asked for, such as ``W8A8`` or a plan's name; ``row`` is the plan.
        energy_j: ``None`` where the device has no energy figures.
        limits: hard limits of the device by objective, in bytes; ``exceeded`` are those that the plan breaks.
        tiled: how the picture is cut; ``tilings``: what other ways would cost, where they were asked for.
        fps: pictures a second that were asked for.
        remarks: what differs from what was asked for.
    """

    label: str
    problem: Problem
    row: PlanRow
    latency_s: float
    weight_bytes: int
    peak_activation_bytes: int
    energy_j: float | None
    limits: dict[str, float]
    exceeded: tuple[str, ...]
    layers: tuple[LayerRow, ...]
    schedule: tuple[ScheduleStep, ...]
    remarks: tuple[str, ...]
    tiled: PricedTiling
    tilings: tuple[TilingPoint, ...] = ()
    fps: float | None = None

    @property
    def headroom(self) -> float | None:
        """Share of the time between two pictures that is left over."""
        return None if self.fps is None else frame_rate.headroom(self.latency_s, self.fps)

    @property
    def peak_at(self) -> str:
        """The layer during which most activation bytes are alive."""
        return max(self.schedule, key=lambda step: sum(step.live_bytes.values())).layer


def price(
    problem: Problem, row: PlanRow, label: str, remarks: tuple[str, ...] = (), request: Request | None = None
) -> PricedPlan:
    """Price one plan.

    Args:
        request: says whether sizes of tiles are compared, and the rate that is wanted.
    Raises:
        BudgetError: no plan of this network on this device holds the rate.
    """
    tiled, tilings, fps = problem.tiled, [], None
    limits = {name: float(limit) for name, limit in problem.table.limits.items()}
    if request is not None:
        fps = request.fps
        ways = [tiled]
        if request.tile == "auto":
            ways = tiling_options.every(problem, request.halo)
            tiled = tiling_options.TilingOptions(tuple(ways), tuple(ways), limits).take(matrix([row]))[1][0]
            tilings = tiling_options.curve(ways, row, limits, tiled)
        if fps is not None:
            frame_rate.check_rate(fps, [way.table for way in ways], problem.space, {})
    objectives = cost.estimate(tiled.table, matrix([row]))
    values = {
        "latency_s": float(objectives.latency_s[0]),
        "weight_bytes": int(objectives.weight_bytes[0]),
        "peak_activation_bytes": int(objectives.peak_activation_bytes[0]),
    }
    energy = float(objectives.energy_j[0])
    layers = tuple(LayerRow(**entry) for entry in cost.explain(tiled.table, row))
    return PricedPlan(
        label=label,
        problem=problem,
        row=row,
        **values,  # type: ignore[arg-type]  # by the names of the fields
        energy_j=energy if math.isfinite(energy) else None,
        limits=limits,
        exceeded=tuple(name for name, limit in limits.items() if values.get(name, 0) > limit),
        layers=layers,
        schedule=tuple(ScheduleStep(layer=layer, live_bytes=live) for layer, live in tiled.schedule(row)),
        remarks=(
            *remarks,
            *problem.network.remarks,
            *problem.beside_weights,
            *elsewhere.sentences(layers, float(objectives.latency_s[0]), problem.device),
        ),
        tiled=tiled,
        tilings=tuple(tilings),
        fps=fps,
    )


def estimate(request: Request, precision: str) -> PricedPlan:
    """Price one precision everywhere, ``W4A8`` or ``FP16``; where it is not on offer, the next wider one, and a remark.

    Raises:
        UsageError: not a precision, or a floating-point one that the target does not execute.
    """
    wanted = Precision.parse(precision)
    problem = pose(request, _network(request))
    space = problem.space
    if wanted.is_float and wanted.activations not in space.tensor_formats:
        raise UsageError(
            f"{problem.device.name} with {problem.device.runtime} does not offer {wanted}",
            f"Weights there: {listed(space.weight_formats)}; tensors: {listed(space.tensor_formats)}.",
        )
    weights: Width = wanted.weight_bits  # W8A16 means whatever 16 bits are there
    tensors: Width = wanted.activation_bits
    if wanted != Precision.integers(wanted.weight_bits, wanted.activation_bits):
        weights, tensors = space.width(wanted.weights), space.width(wanted.activations)
    row = space.uniform(weights, tensors)
    asked = [weights] * len(space.layer_names) + [tensors] * len(space.group_names)
    rewritten = units.rewritten(problem.network.dropped, branches.read(request.branches))
    said = (f"Priced is the network {rewritten}.",) if rewritten else ()
    return price(problem, row, str(wanted), (*said, *_remarks(space, row, asked)), request)


def _network(request: Request) -> LoadedNetwork | None:
    """The network without weights where none ship and none are given: a price does not depend on them."""
    if request.model is not None or request.weights is not None or request.network == through_spandrel.NAME:
        return None
    spec = registry.spec(request.network)
    scale = spec.check_scale(request.scale or next(iter(spec.shipped), spec.scales[0]))
    if spec.weights(scale) is not None and not request.arguments:
        return None  # blocks that are dropped are dropped where its weights are read
    module = registry.build(spec.name, scale, **request.arguments)
    arguments = {**spec.arguments, **request.arguments}
    channels = spec.channels or int(arguments["channels"])
    network = LoadedNetwork(module, spec.name, scale, channels, spec.input_kind, "", arguments, size=spec.size)
    refuse_auto("--drop", request.dropped)
    return blocks.without(network, request.dropped) if request.dropped else network


def estimate_plan(opened: PlanFile, changes: Mapping[str, object]) -> PricedPlan:
    """Price a plan on its own device, or on another by ``changes={"target": ...}`` (fields of the request).

    A width that another device does not offer becomes the next wider one, with a remark.

    Raises:
        FileError: the network's weights are not those that the plan was made with.
        UsageError: the network is a file of code that was not named again, or one without the plan's layers.
    """
    plan = opened.plan
    request = dataclasses.replace(opened.request, **changes)  # type: ignore[arg-type]  # by the names of the fields
    if "target" not in changes:
        problem = pose(request)
        if not changes.keys() & {"network", "weights", "scale", "arguments", "dropped", "branches"}:
            opened.check_weights(problem.network.weights_sha256)
        row = problem.space.plan(plan.weight_bits, opened.tensor_bits(problem.graph))
        return price(problem, row, plan.name, opened.remarks, request)
    problem = pose(dataclasses.replace(request, weight_bits=None, activation_bits=None, pins={}, scope="all"))
    space = problem.space
    for unknown in sorted(set(plan.weight_bits) - set(space.layer_names)):
        network = network_text(problem.network.name, problem.network.scale)
        named = f"{plan.name} names layer {unknown!r}, which {network} does not have"
        raise UsageError(named, "Name the network of the plan, or none.")
    wanted: list[Width | None] = [
        *(plan.weight_bits.get(n) for n in space.layer_names),
        *(plan.activation_bits.get(n) for n in space.group_names),
    ]
    row = space.nearest([bits or 8 for bits in wanted])
    return price(problem, row, plan.name, opened.remarks + _remarks(space, row, wanted), request)


NAMED = 3
"""Layers or tensors that a remark names at most."""


def _remarks(space: SearchSpace, row: PlanRow, asked: Sequence[Width | None]) -> tuple[str, ...]:
    """What became wider than asked for, because it is not on offer, or kept wider in any case: one sentence for all that share
    their kind, their width and the reason."""
    counts = {"layer": len(space.layer_names), "tensor": len(space.group_names)}
    alike: dict[tuple[str, str, str], list[str]] = {}
    for d, (name, bits) in enumerate(zip(space.names, asked, strict=True)):
        got = space.widths(d)[row[d]]
        if bits is not None and bits != got:
            kind = "layer" if d < counts["layer"] else "tensor"
            offered = bits in space.widths(d)
            why = f"{bits} bits are kept in {row.formats[d]} there" if offered else f"{bits} bits are not available there"
            alike.setdefault((kind, written(got), why), []).append(name)
    return tuple(_remark(kind, names, counts[kind], got, why) for (kind, got, why), names in alike.items())


def _remark(kind: str, names: Sequence[str], of: int, got: str, why: str) -> str:
    if len(names) == 1:
        return f"{kind} {names[0]} gets {got}: {why}"
    if len(names) == of:
        return f"all {of} {kind}s get {got}: {why}"
    more = ", ..." if len(names) > NAMED else ""
    return f"{len(names)} of {of} {kind}s get {got}: {why} ({', '.join(names[:NAMED])}{more})"


def document(price: PricedPlan) -> dict[str, Any]:
    """A price for machines; SI units."""
    problem = price.problem
    weights, tensors = problem.space.named(price.row)
    return {
        "target": problem.device.name,
        "network": problem.network.name,
        "scale": problem.network.scale,
        "input": list(problem.input_size),
        "plan": price.label,
        "weight_bits": weights,
        "activation_bits": tensors,
        "predicted": {
            "latency_s": price.latency_s,
            "weight_bytes": price.weight_bytes,
            "peak_activation_bytes": price.peak_activation_bytes,
            "energy_j": price.energy_j,
        },
        "trust": trust.document(problem.device, price.latency_s, price.layers),
        "limits": price.limits,
        "exceeded": list(price.exceeded),
        "peak_at": price.peak_at,
        "tiling": price.tiled.tiling,
        "tiles": price.tiled.tiles,
        "macs": price.tiled.macs,
        "tilings": [point.model_dump() for point in price.tilings],
        "fps": price.fps,
        "headroom": price.headroom,
        "layers": [layer.model_dump() for layer in price.layers],
        "remarks": list(price.remarks),
    }
