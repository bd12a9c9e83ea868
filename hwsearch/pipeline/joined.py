"""The runs of a network as it is and rewritten as one document: one front, with losses against the network as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hwmodels import cost
from hwsearch.documents import units
from hwsearch.documents.clock import Clock
from hwsearch.documents.configuration import Rewritings, Rewritten
from hwsearch.documents.origin import FoundBy, Origin
from hwsearch.documents.plan import Plan
from hwsearch.documents.recommended import recommended
from hwsearch.documents.results import Crop, Point, ProxyCheck, Reference, Results
from hwsearch.pipeline import assemble
from hwsearch.plans import prove
from hwsearch.problem.network import ANOTHER
from hwsearch.problem.pictures import Pictures
from hwsearch.problem.pose import Problem
from hwsearch.problem.request import Request
from hwsearch.search import frame_rate, pareto

SHOWN = 8
"""Rewritings whose losses are told."""


def results(
    request: Request, whole: Problem, photos: Pictures, known: Rewritings, runs: Mapping[str, Results], clock: Clock
) -> Results:
    """The results of ``runs``, by folder, as one.

    Args:
        whole: the network as it is on the device; ``known``: how each one was rewritten, and what it loses.
    """
    reference = assemble.reference(whole, photos)
    told = {plan.name: against(plan, known.networks[name].lost_db, reference) for name, own in runs.items() for plan in own.front}
    points = _points(known, runs, set(told))
    finished = {
        plan: loss_db + known.networks[name].lost_db for name, own in runs.items() for plan, loss_db in own.finalists.items()
    }
    chosen = _chosen(request, runs, told, finished)
    on_front = {point.plan for point in points if point.on_front}
    front = [plan for name, plan in told.items() if name in on_front or name in chosen.values()]
    front.sort(key=lambda plan: (plan.predicted.latency_s, plan.predicted.loss_db, plan.name))
    kept = {plan.name for plan in front}
    joint = next(iter(runs.values())).model_copy(
        update={
            "macs": whole.workload.macs,
            "parameters": whole.graph.parameters,
            "space_size": sum(own.space_size for own in runs.values()),
            "reference": reference,
            "front": front,
            "chosen": chosen,
            "finalists": {plan: loss_db for plan, loss_db in finished.items() if plan in kept},
            "points": [point if point.plan in kept else point.model_copy(update={"plan": None}) for point in points],
            "proxies": [_of(check, known.networks[name]) for name, own in runs.items() for check in own.proxies],
            "layers": _kept(kept, [own.layers for own in runs.values()]),
            "schedule": _kept(kept, [own.schedule for own in runs.values()]),
            "budgets": frame_rate.budgets_with(request.budgets, request.fps),
            "tilings": [],
            "command": request.command,
            "evaluations": sum(own.evaluations for own in runs.values()),
            "wall_s": clock.wall_s,
            "stages_s": _summed([clock.stages_s, *(own.stages_s for own in runs.values())]),
            "created": prove.now(),
            "places": {plan.name: name for name, own in runs.items() for plan in own.front if plan.name in kept},
        }
    )
    first = recommended(joint)
    assert first is not None
    folder = joint.places[first.name]
    shown = runs[folder]
    return joint.model_copy(
        update={
            "notes": [*_about(known, runs, front), *_without(shown.notes, first.dropped)],
            "front_proxies": shown.front_proxies,
            "crops": [_placed(crop, folder) for crop in shown.crops],
        }
    )


def against(plan: Plan, lost_db: float, reference: Reference) -> Plan:
    """``plan`` with losses against the whole network, which has ``reference`` on the evaluation pictures; on the search pictures
    the network of the plan loses ``lost_db`` in floating point."""
    predicted = plan.predicted.model_copy(update={"loss_db": plan.predicted.loss_db + lost_db})
    measured = plan.measured
    if measured is not None:
        near_db = None if plan.dropped else measured.near_db  # it is told of the network that remains
        measured = measured.model_copy(update={"loss_db": reference.quality_db - measured.quality_db, "near_db": near_db})
    return plan.model_copy(update={"predicted": predicted, "measured": measured})


def _points(known: Rewritings, runs: Mapping[str, Results], told: set[str]) -> list[Point]:
    """All plans of all runs. Plans of one width of a rewritten network are no references: they are plans like others."""
    points = []
    for name, own in runs.items():
        network = known.networks[name]
        for point in own.points:
            origin = point.origin
            if (network.blocks or network.branches) and origin.uniform is not None:
                origin = Origin(FoundBy.UNIFORM_REWRITTEN, origin.uniform)
            points.append(
                point.model_copy(
                    update={
                        "loss_db": point.loss_db + network.lost_db,
                        "origin": origin,
                        "plan": point.plan if point.plan in told else None,
                    }
                )
            )
    values = np.array([(point.latency_s, point.loss_db, point.weight_bytes + point.peak_activation_bytes) for point in points])
    limits = next(iter(runs.values())).limits
    within = np.array([all(getattr(point, key, 0) <= limit for key, limit in limits.items()) for point in points])
    values[~within] = np.nan
    return [
        point.model_copy(update={"on_front": bool(kept)})
        for point, kept in zip(points, pareto.non_dominated(values), strict=True)
    ]


def _chosen(
    request: Request, runs: Mapping[str, Results], told: Mapping[str, Plan], finished: Mapping[str, float]
) -> dict[str, str]:
    """Role -> plan: of what the runs have chosen, and so run in integers, the best for it; one that is not proven only where
    none is. ``finished``: losses of the finalists, by plan."""
    offered: dict[str, list[Plan]] = {}
    for own in runs.values():
        for role, name in own.chosen.items():
            offered.setdefault(role, []).append(told[name])
    offered = {role: [plan for plan in plans if plan.unproven is None] or plans for role, plans in offered.items()}

    def order(role: str, plan: Plan) -> tuple[float, ...]:
        price = plan.predicted
        memory = float(price.weight_bytes + price.peak_activation_bytes)
        first = {"fastest": "latency", "smallest": "memory"}.get(role, "loss")
        if role == "budget" and "loss" in request.budgets:
            first = "latency"
        loss_db = finished.get(plan.name, price.loss_db) if role == "budget" else price.loss_db
        values = {"loss": loss_db, "latency": price.latency_s, "memory": memory}
        return (values.pop(first), *values.values())

    chosen = {role: min(plans, key=lambda plan: order(role, plan)).name for role, plans in offered.items() if role != "knee"}
    if "knee" in offered:
        offers = [*{plan.name: plan for plans in offered.values() for plan in plans}.values()]
        losses = np.array([plan.predicted.loss_db for plan in offers])
        price = cost.Objectives(
            np.array([plan.predicted.latency_s for plan in offers]),
            np.array([plan.predicted.weight_bytes for plan in offers]),
            np.array([plan.predicted.peak_activation_bytes for plan in offers]),
            np.array([np.nan if plan.predicted.energy_j is None else plan.predicted.energy_j for plan in offers]),
        )
        rows = pareto.front_of(losses, price, {})
        chosen = {"knee": offers[pareto.choose(rows, losses, price, {}, {})["knee"]].name} | chosen
    return chosen


def _about(known: Rewritings, runs: Mapping[str, Results], front: list[Plan]) -> list[str]:
    """What a reader must know of how the network was rewritten."""
    said = [*_blocks(known), *_branches(known)]
    for name, network in known.networks.items():
        what = units.rewritten(network.blocks, network.branches) or "as it is"
        searched = (
            f"{runs[name].evaluations} plans simulated"
            if name in runs
            else "not searched, since none of its predicted plans promised enough"
            if not network.evaluations
            else "no plan that was simulated meets the budgets"
        )
        lost = f" {units.loss(network.lost_db)} lost in floating point;" if network.blocks else ""
        said.append(f"The network {what}:{lost} {searched}.")
    lacking, having = sum(bool(plan.dropped) for plan in front), sum(bool(plan.branches) for plan in front)
    counted = [f"{lacking} lack a block"] if known.looks else []
    counted += [f"{having} have low-rank branches"] if any(network.branches for network in known.networks.values()) else []
    said.append(
        f"Of {len(front)} plans shown {units.listing(counted) or 'all are of the network as it is'}. Losses here are against "
        "the network as it is; the file of such a plan and the report of its own run tell them against the rewritten network. "
        "Chosen are the best of the plans that each network's run has run in integers, the knee among them too. Nothing was "
        "trained after the network was rewritten."
    )
    return said


def _blocks(known: Rewritings) -> list[str]:
    """What leaving out blocks costs."""
    if not known.looks:
        return []
    looks = sorted((loss, name) for name, loss in known.looks.items() if loss is not None)
    cheapest = units.listing(f"{name} {units.loss(loss)}" for loss, name in looks[:SHOWN])
    away = [name for name, loss in known.looks.items() if loss is None]
    return [
        f"Which blocks are left out was decided by the search. {len(known.looks)} blocks were left out alone, in floating point "
        f"on a quarter of the search patches, and the most promising on all; those that cost least: {cheapest or 'none'}."
        + (f" Without {units.listing(away)} the network blows up." if away else "")
    ]


def _branches(known: Rewritings) -> list[str]:
    """What low-rank branches promise."""
    if known.promised is None:
        return []
    names = units.listing([*known.promised][:SHOWN])
    return [
        "Which layers have low-rank branches, and of which rank, was decided by the search. "
        + (
            f"At equal price {len(known.promised)} layers would be less noisy with one, most of all {names}."
            if known.promised
            else "Of no layer a branch takes as much of its noise as wider weights do for the same price on this device: rank 0."
        )
    ]


def _without(notes: Iterable[str], dropped: list[str]) -> list[str]:
    """Notes of one run, without what holds there alone."""
    return [note for note in notes if note != ANOTHER.format(", ".join(dropped))]


def _of(check: ProxyCheck, network: Rewritten) -> ProxyCheck:
    said = [f"without {len(network.blocks)}"] if network.blocks else []
    said += [f"{len(network.branches)} branches"] if network.branches else []
    return check.model_copy(update={"name": ", ".join([check.name, *said])})


def _kept(names: set[str], parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: rows for part in parts for name, rows in part.items() if name in names}


def _summed(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in parts:
        for name, seconds in part.items():
            found[name] = found.get(name, 0.0) + seconds
    return found


def _placed(crop: Crop, folder: str) -> Crop:
    """A detail whose files lie in the folder of one run."""
    files = ("high", "bicubic", "float_", "plan", "error")
    return crop.model_copy(update={name: f"{folder}/{getattr(crop, name)}" for name in files})
