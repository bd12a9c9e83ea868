"""The scatter figures: quality against each cost, and proxies against the truth. How a figure looks is decided in ``canvas``.

Every figure is drawn at a width that a phone shows almost at full size, so that its text stays readable there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes

from hwsearch.documents import units
from hwsearch.documents.results import Point, ProxyCheck, Results
from hwsearch.report.canvas import BLUE, FAINT, INK, RED, SOFT, Figure, dots, draw, loss_axis, positive_axis
from hwsearch.report.labels import Label, place

PANEL = (372, 340)
_LABELLED = ("uniform W8A8", "uniform FP16", "uniform W16A16", "uniform W4A8", "uniform W8A16", "uniform W4A4")
"""Uniform plans that people know, most telling first; the others are drawn without a label."""


@dataclass(frozen=True)
class Objective:
    """What a trade-off is drawn against: attribute of a point, the budget that limits it alone, and how to write it."""

    attribute: str
    budget: str | None
    title: str
    write: Callable[[float | None], str]
    units: tuple[tuple[float, str], ...]

    def unit(self, values: Sequence[float]) -> tuple[float, str]:
        """Factor and name of the unit in which the middle of ``values`` reads well."""
        middle = float(np.median(values))
        return next(((f, u) for f, u in self.units if middle >= f), self.units[-1])


_BYTES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
LATENCY = Objective("latency_s", "latency", "Latency", units.seconds, _SECONDS)
WEIGHTS = Objective("weight_bytes", "weights", "Weight memory", units.bytes_, _BYTES)
# A memory budget is for weights and activations together: no line at one of them.
ACTIVATIONS = Objective("peak_activation_bytes", None, "Peak activation memory", units.bytes_, _BYTES)
OBJECTIVES = (LATENCY, WEIGHTS, ACTIVATIONS)


def roles(results: Results) -> dict[str, str]:
    """Plan name -> its roles in one text, "knee · budget", in the order in which ``chosen`` names them."""
    found: dict[str, list[str]] = {}
    for role, plan in results.chosen.items():
        found.setdefault(plan, []).append(role)
    return {plan: " · ".join(names) for plan, names in found.items()}


def staircase(points: Sequence[Point], attribute: str) -> list[tuple[float, float]]:
    """The points that no other beats in both ``attribute`` and loss, by rising cost: ``(cost, loss)``."""
    best, steps = math.inf, []
    for x, y in sorted((float(getattr(p, attribute)), p.loss_db) for p in points):
        if y < best:
            best = y
            steps.append((x, y))
    return steps


def tradeoff(results: Results, objective: Objective) -> Figure:
    """Loss of quality against one cost: all evaluated plans, their lower envelope, the chosen plans, and the references."""
    points, chosen = results.points, roles(results)
    plans = {p.name: p for p in results.front}
    uniform = {p.origin: p for p in points if p.origin.startswith("uniform")}
    named = [name for name in _LABELLED if name in uniform][:4]
    attribute = objective.attribute
    reference_x = {"latency_s": results.reference.latency_s, "weight_bytes": results.reference.weight_bytes}.get(attribute)
    xs = [float(getattr(p, attribute)) for p in points] + [float(getattr(p.predicted, attribute)) for p in results.front]
    factor, unit = objective.unit(xs)
    steps = [(x / factor, y) for x, y in staircase(points, attribute)]
    limit = None if objective.budget is None else results.budgets.get(objective.budget)
    hard = results.limits.get(attribute)

    def plot(axes: Axes) -> str | None:
        every_x = [x / factor for x in xs] + ([reference_x / factor] if reference_x else [])
        inside = [v / factor for v in (limit, hard) if v and min(every_x) * 0.5 <= v / factor <= max(every_x) * 2]
        losses = [p.loss_db for p in points]
        measured = [p.measured.loss_db for p in results.front if p.measured]
        positive_axis(axes, "x", [*every_x, *inside])
        loss_axis(axes, "y", min([0.0, *losses, *measured]), max([0.05, *losses, *measured]), bend(results))
        axes.set_xlabel(f"{objective.title.lower()} ({unit})")
        axes.set_ylabel(f"{results.quality.name} loss (dB)")
        dots(axes, [getattr(p, attribute) / factor for p in points], losses, 3.6, FAINT)
        if steps:
            axes.step(*zip(*steps, strict=True), where="post", color=BLUE, lw=1.6, zorder=3)
            dots(axes, [x for x, _ in steps], [y for _, y in steps], 4.6, BLUE, zorder=3)
        labels, told_of = [], set[str]()
        for name, text in chosen.items():
            plan = plans[name]
            x, y = getattr(plan.predicted, attribute) / factor, plan.predicted.loss_db
            if plan.measured:
                y2 = plan.measured.loss_db
                axes.plot([x, x], [y, y2], color=RED, lw=1, zorder=4)
                axes.plot([x], [y2], "o", ms=6.5, mfc="white", mec=RED, mew=1.3, zorder=5)
            axes.plot([x], [y], "o", ms=7.5, mfc=RED, mec="white", mew=1, zorder=5)
            same = [u for u in named if (getattr(uniform[u], attribute) / factor, uniform[u].loss_db) == (x, y)]
            also = "".join(f" ({u.removeprefix('uniform').strip()})" for u in same)
            told_of.update(same)
            labels.append(Label(x, y, text + also, RED, "bold"))
        for origin, point in uniform.items():
            x, y = getattr(point, attribute) / factor, point.loss_db
            axes.plot([x], [y], "s", ms=6, mfc="white", mec=INK, mew=1.2, zorder=4)
            if origin in named and origin not in told_of:
                labels.append(Label(x, y, origin.removeprefix("uniform").strip()))
        if reference_x and not (attribute == "latency_s" and f"uniform {results.reference.precision}" in uniform):
            name = (results.reference.precision or "float").lower() if attribute == "latency_s" else "fp32"
            axes.plot([reference_x / factor], [0.0], "D", ms=6, mfc="white", mec=INK, mew=1.2, zorder=4)
            labels.append(Label(reference_x / factor, 0.0, name))
        for value, text, style in ((limit, "budget", (0, (5, 3))), (hard, "device limit", (0, (1, 2)))):
            if value and value / factor in inside:
                axes.axvline(value / factor, color=INK, lw=1.1, ls=style, zorder=2)
                axes.annotate(
                    text, (value / factor, 1), xycoords=("data", "axes fraction"), xytext=(-4, -3), textcoords="offset points",
                    rotation=90, ha="right", va="top", fontsize=10.5, color=INK,
                )  # fmt: skip
        most_lost = results.budgets.get("loss")
        if most_lost is not None and most_lost <= axes.get_ylim()[1]:
            axes.axhline(most_lost, color=INK, lw=1.1, ls=(0, (5, 3)), zorder=2)
        stems = [
            (getattr(p.predicted, attribute) / factor, y)
            for p in results.front
            if p.measured
            for y in np.linspace(p.predicted.loss_db, p.measured.loss_db, 5)
        ]
        place(axes, labels, np.vstack([_along(axes, steps), np.array(stems).reshape(-1, 2)]))
        outside = [(v, n) for v, n in ((limit, "budget"), (hard, "device limit")) if v and v / factor not in inside]
        return " ".join(f"The {name} of {objective.write(value)} lies outside the figure." for value, name in outside)

    told = ", ".join(
        f"{text} {objective.write(getattr(plans[n].predicted, attribute))} at {units.loss(plans[n].predicted.loss_db)}"
        for n, text in chosen.items()
    )
    return draw(
        f"tradeoff-{attribute.replace('_', '-')}",
        objective.title,
        f"{results.quality.name} loss against {objective.title.lower()}: scatter of {len(points)} evaluated plans with their "
        f"lower envelope. Chosen plans: {told}.",
        PANEL,
        plot,
    )


def _along(axes: Axes, steps: Sequence[tuple[float, float]]) -> np.ndarray:
    """Points of a staircase every few pixels, ``[N, 2]`` in data units: what labels should keep clear of."""
    corners = [c for (x0, y0), (x1, y1) in pairwise(steps) for c in ((x0, y0), (x1, y0), (x1, y1))]
    if not corners:
        return np.array(steps, dtype=float).reshape(-1, 2)
    pixels = axes.transData.transform(corners)
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(pixels, axis=0).T))])
    at = np.arange(0, lengths[-1] + 5, 5.0)
    sampled = np.column_stack([np.interp(at, lengths, pixels[:, k]) for k in (0, 1)])
    return np.asarray(axes.transData.inverted().transform(sampled))


def bend(results: Results) -> float:
    """Where the loss axis turns from linear to logarithmic, dB: near the losses of the chosen plans, so that they are apart."""
    losses = [p.loss_db for p in results.points if p.on_front] or [0.1]
    return min(0.2, max(0.02, float(np.median(losses)) / 2))


def proxy(check: ProxyCheck, plans: str, quality: str) -> Figure:
    """A proxy's predicted loss of a quality against the simulated one of the same plans; on the line a prediction is right."""
    both = [*check.predicted_db, *check.simulated_db] or [0.1]

    def plot(axes: Axes) -> None:
        knee = min(1.0, max(0.05, float(np.median(both)) / 4))
        low, high = min([0.0, *both]), max([0.1, *both])
        loss_axis(axes, "x", low, high, knee)
        loss_axis(axes, "y", low, high, knee)
        ends = [max(axes.get_xlim()[0], axes.get_ylim()[0]), min(axes.get_xlim()[1], axes.get_ylim()[1])]
        axes.plot(ends, ends, color=SOFT, lw=1, ls=(0, (4, 3)), zorder=1)
        dots(axes, check.predicted_db, check.simulated_db, 4.2, BLUE, zorder=3)
        axes.set_xlabel(f"predicted {quality} loss (dB)")
        axes.set_ylabel(f"simulated {quality} loss (dB)")
        axes.text(0.97, 0.04, "predicts too much", ha="right", va="bottom", transform=axes.transAxes, fontsize=10.5, color=SOFT)
        axes.text(0.03, 0.97, "predicts too little", ha="left", va="top", transform=axes.transAxes, fontsize=10.5, color=SOFT)

    return draw(
        f"proxy-{plans}-{''.join(c if c.isalnum() else '-' for c in check.name)}",
        f"{check.name}: Spearman {check.spearman:.3f}",
        f"Predicted against simulated {quality} loss of {len(check.simulated_db)} {plans} plans"
        + (f", in {units.seconds(check.seconds)}." if check.seconds else f"; median error {units.loss(check.median_error_db)}."),
        (PANEL[0], PANEL[0] - 20),
        plot,
    )
