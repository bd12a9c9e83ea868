"""Sentences that a reader must know before acting on the numbers of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from hwmodels import cost
from hwmodels.tiling.tiles import PricedTiling
from hwsearch.documents import configuration, elsewhere, trust, units
from hwsearch.documents.results import LayerRow
from hwsearch.problem.pose import Problem
from hwsearch.problem.request import Request
from hwsearch.search import correlation, frame_rate
from hwsearch.search.posed import PosedSearch
from hwsearch.search.tiling_options import TilingOptions
from searchspaces.scopes import SCOPES
from searchspaces.space import PlanRow, matrix

if TYPE_CHECKING:
    from hwsearch.plans.prove import PlanProof
    from hwsearch.runs.run import Run
    from hwsearch.search.found import Search


def sentences(posed: PosedSearch, search: Search, proofs: Mapping[int, PlanProof]) -> list[str]:
    """What a run has to say about its own numbers; ``proofs`` by row of ``search``."""
    request, problem, tilings = posed.request, posed.problem, posed.tilings
    said = [
        *_about_prices(problem),
        *problem.beside_weights,
        *problem.network.remarks,
        *filter(None, [SCOPES[request.scope].told(problem.workload)]),
        *_about_device(problem),
        _about_polish(request, problem),
    ]
    said += _about_finalists(search)
    said += _about_integers(request, search, proofs)
    said.append(_about_proxies(search))
    shown = search.picks[search.shown]
    priced_layers = [LayerRow(**entry) for entry in cost.explain(search.tilings[shown].table, search.plans[shown])]
    latency_s = float(search.objectives.latency_s[shown])
    said += [f"Of {search.names()[shown]}, {each}." for each in elsewhere.sentences(priced_layers, latency_s, problem.device)]
    if search.tilings[shown].tiling is not None:
        said += _about_tiles(problem, tilings, search.names()[shown], search.tilings[shown], search.plans[shown])
    if request.fps is not None:
        said.append(_about_rate(request.fps, search, shown))
    return said


def _about_prices(problem: Problem) -> Iterator[str]:
    """What is predicted, and how far that may be off."""
    device = problem.device
    priced = "Latency, memory and energy" if device.has_energy else "Latency and memory"
    yield (
        f"{priced} are predictions of a cost model from the device's numbers; quality is simulated on the search pictures, and "
        "that of chosen plans measured in integers on the evaluation pictures."
    )
    if not device.has_energy:
        yield f"The energy is not known: the file of {device.title} has no figure of energy or power."
    yield trust.of(device).below


def _about_device(problem: Problem) -> Iterator[str]:
    """What is peculiar to the device: that it does not exist, what its 16 bits are, and that it has no zero points."""
    device, space = problem.device, problem.space
    if device.hypothetical:
        yield f"{device.title} does not exist: it is a research device, and its prices are hypothetical."
    if space.wide and space.wide.is_float:
        yield (
            f"{space.wide.bits} bits mean {units.meaning(str(space.wide))} here. Such layers run in floating point on the "
            "device and are not proven in integers."
        )
    if space.symmetric_activations:
        yield (
            f"{device.runtime} has no zero points on 8-bit activations, so one-sided tensors use half of their codes; "
            "the plans here obey that."
        )


def _about_polish(request: Request, problem: Problem) -> str:
    """How what was measured differs from what was simulated."""
    if request.quick:
        return (
            "A quick run: calibrated on a quarter of the crops, one proxy, few plans simulated, one proven and not polished. "
            "Without --quick the front is searched."
        )
    if problem.graph.remembered:
        return "Integers of a network with state are not polished; what was simulated is what was measured."
    return "The integers of chosen plans were polished together before they were measured; what was simulated is without that."


def _about_finalists(search: Search) -> Iterator[str]:
    """By what the recommended plan was picked, where that is not what was simulated."""
    if not search.finalists:
        return
    names, found = search.names(), search.finalists
    simulated, best = (min(found, key=losses.__getitem__) for losses in (search.losses, found))
    ordered = sorted(found, key=found.__getitem__)
    losses = units.listing(f"{names[row]} {found[row]:.3f} dB" for row in ordered)
    said = f"{len(found)} plans were polished before one was picked: on the search pictures they lose: {losses}"
    yield f"{said}." if simulated == best else f"{said}; as simulated, {names[simulated]} loses least."


def _about_integers(request: Request, search: Search, proofs: Mapping[int, PlanProof]) -> Iterator[str]:
    """What of the chosen plans is not proven in integers, how they came to be where that must be known, and a loss that is larger
    there than was asked for."""
    names = search.names()
    for row, proof in proofs.items():
        yield from (f"{names[row]}: {said}" for said in proof.quantized.remarks)
    measured = {row: proof.measured for row, proof in proofs.items() if proof.measured is not None}
    floats = sorted({layer for one in measured.values() for layer in one.float_layers})
    if floats:
        yield f"Layers run in floating point in at least one chosen plan: {', '.join(floats)}."
    picked, wanted = search.picks.get("budget"), request.budgets.get("loss")
    if picked in measured and wanted is not None and measured[picked].loss_db > wanted:
        yield (
            f"The plan for the budget loses {measured[picked].loss_db:.3f} dB on the evaluation pictures, more than "
            f"the {wanted:g} dB asked for, which it meets as simulated on the search pictures: ask for less loss."
        )


def _about_proxies(search: Search) -> str:
    """How well the best proxy ranks random plans, and the worst."""
    worst = min(search.checks, key=lambda check: check.spearman)
    best = max(search.checks, key=lambda check: check.spearman)
    if not best.ranks:
        return "Too few plans of different losses were drawn to tell which proxy ranks plans well; the front itself is simulated."
    low, high = correlation.loss_range(np.array(best.simulated_db))
    plans = f"random plans, nine of ten of which lose {low:.2g} to {high:.2g} dB,"
    if best is worst:
        return f"{best.name} ranks {plans} with Spearman {best.spearman:.3f}; the front itself is simulated, not predicted."
    return (
        f"Of the proxies, {best.name} ranks {plans} best (Spearman {best.spearman:.3f}) and {worst.name} worst "
        f"({worst.spearman:.3f}); the front itself is simulated, not predicted."
    )


def about_versions(run: Run) -> list[str]:
    """A sentence for a run that was gone on with under other versions than it was started with."""
    found = dict.fromkeys(
        change for leg in run.legs for change in configuration.changes(run.configuration.versions, leg.versions)
    )
    if not found:
        return []
    return [
        f"The run was begun under other versions than it was gone on with ({', '.join(found)}): what was simulated before is "
        "kept, and another version may give slightly other numbers."
    ]


def _about_tiles(problem: Problem, tilings: TilingOptions, name: str, tiled: PricedTiling, plan: PlanRow) -> list[str]:
    tiling, device = tiled.tiling, problem.device
    assert tiling is not None
    peak = units.bytes_(cost.estimate(tiled.table, matrix([plan])).peak_activation_bytes[0])
    why = ""
    if tilings.priced[0].tiling is None and device.limits.peak_activation_bytes is not None:
        whole = units.bytes_(cost.estimate(tilings.priced[0].table, matrix([plan])).peak_activation_bytes[0])
        why = f"The whole picture would need {whole} of {units.bytes_(device.limits.peak_activation_bytes.value)}. "
    if tiling.halo == "keep":
        how = (
            f"{name} takes it in by strips of {tiling.height} rows, {tiled.tiles} steps, and keeps in line buffers the rows that "
            f"the next strip needs: {peak}, and nothing is computed twice. That needs a runtime with line buffers; with --halo "
            "recompute, tiles are separate calls of any runtime."
        )
    else:
        more = units.percent(tiled.macs / problem.workload.macs - 1)
        how = (
            f"{name} cuts it into {tiled.tiles} tiles of up to {tiling.height}x{tiling.width} pixels, each computed with its "
            f"border: {peak}, and {more} more multiply-accumulates."
        )
    place = (
        "The whole input and output pictures are taken to be elsewhere (camera, display, external memory) and are not counted."
        if device.limits.pictures == "streamed"
        else "The whole input and output pictures are counted as resident in the same memory."
    )
    return [why + how, place]


def _about_rate(fps: float, search: Search, shown: int) -> str:
    held = sum(search.objectives.latency_s[row] * fps <= 1 for row in search.front)
    left = frame_rate.headroom(float(search.objectives.latency_s[shown]), fps)
    return (
        f"{held} of {len(search.front)} plans of the front hold {fps:g} pictures a second, one after another; "
        f"{search.names()[shown]} leaves {units.percent(left)} of the time between two pictures."
    )
