"""The scatter figures: quality against each cost, and proxies against the truth. How a figure looks is decided in ``canvas``.

Every figure is drawn at a width that a phone shows almost at full size, so that its text stays readable there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes

from hwsearch.documents import units
from hwsearch.documents.plan import Predicted
from hwsearch.documents.results import Point, ProxyCheck, Results
from hwsearch.report.canvas import BLUE, FAINT, INK, RED, SOFT, Figure, dots, draw, loss_axis, positive_axis
from hwsearch.report.labels import Label, place

PANEL = (372, 340)
_LABELLED = ("W8A8", "FP16", "W16A16", "W4A8", "W8A16", "W4A4")
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


LATENCY = Objective("latency_s", "latency", "Latency", units.seconds, units.SECONDS)
WEIGHTS = Objective("weight_bytes", "weights", "Weight memory", units.bytes_, units.BYTES)
# A memory budget is for weights and activations together: no line at one of them.
ACTIVATIONS = Objective("peak_activation_bytes", None, "Peak activation memory", units.bytes_, units.BYTES)
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
    figure = _Tradeoff(results, objective)
    told = ", ".join(
        f"{text} {objective.write(figure.cost(plan.predicted))} at {units.loss(plan.predicted.loss_db)}"
        for plan, text in figure.chosen
    )
    return draw(
        f"tradeoff-{objective.attribute.replace('_', '-')}",
        objective.title,
        f"{results.quality.name} loss against {objective.title.lower()}: scatter of {len(results.points)} evaluated plans with "
        f"their lower envelope. Chosen plans: {told}.",
        PANEL,
        figure.plot,
    )


class _Tradeoff:
    """What a trade-off shows. Costs are in SI units until they are drawn: an axis counts in ``factor`` of them."""

    def __init__(self, results: Results, objective: Objective) -> None:
        self.results, self.objective = results, objective
        plans = {plan.name: plan for plan in results.front}
        self.chosen = [(plans[name], text) for name, text in roles(results).items()]
        self.uniform = {p.origin.uniform: p for p in results.points if p.origin.uniform is not None}
        self.labelled = [name for name in _LABELLED if name in self.uniform][:4]
        reference = {"latency_s": results.reference.latency_s, "weight_bytes": results.reference.weight_bytes}
        self.reference = reference.get(objective.attribute)
        self.costs = [self.cost(point) for point in results.points]
        self.costs += [self.cost(plan.predicted) for plan in results.front]
        self.factor, self.unit = objective.unit(self.costs)
        self.steps = [(x / self.factor, y) for x, y in staircase(results.points, objective.attribute)]
        budget = None if objective.budget is None else results.budgets.get(objective.budget)
        limits = (("budget", budget, (0, (5, 3))), ("device limit", results.limits.get(objective.attribute), (0, (1, 2))))
        self.limits = [(name, value, style) for name, value, style in limits if value]
        """Name, value and style of the lines that costs must not pass."""
        drawn = [cost / self.factor for cost in (*self.costs, *([self.reference] if self.reference else []))]
        near = (min(drawn) * 0.5, max(drawn) * 2)
        self.inside = [value / self.factor for _, value, _ in self.limits if near[0] <= value / self.factor <= near[1]]
        """Those that are near enough to be drawn, in units of the axis."""
        self.drawn = [*drawn, *self.inside]

    def cost(self, point: Point | Predicted) -> float:
        """What a plan costs, in SI units."""
        return float(getattr(point, self.objective.attribute))

    def place(self, point: Point | Predicted) -> tuple[float, float]:
        """Where a plan stands in the figure."""
        return self.cost(point) / self.factor, point.loss_db

    def plot(self, axes: Axes) -> str:
        """Draw everything; the answer is the note below the figure."""
        self._scale(axes)
        points = [self.place(point) for point in self.results.points]
        dots(axes, [x for x, _ in points], [y for _, y in points], 3.6, FAINT)
        if self.steps:
            axes.step(*zip(*self.steps, strict=True), where="post", color=BLUE, lw=1.6, zorder=3)
            dots(axes, [x for x, _ in self.steps], [y for _, y in self.steps], 4.6, BLUE, zorder=3)
        labels = [*self._chosen(axes), *self._uniform(axes), *self._floating_point(axes)]
        self._limits(axes)
        place(axes, labels, np.vstack([_along(axes, self.steps), self._stems()]))
        outside = [(name, value) for name, value, _ in self.limits if value / self.factor not in self.inside]
        return " ".join(f"The {name} of {self.objective.write(value)} lies outside the figure." for name, value in outside)

    def _scale(self, axes: Axes) -> None:
        losses = [point.loss_db for point in self.results.points]
        losses += [plan.measured.loss_db for plan in self.results.front if plan.measured]
        positive_axis(axes, "x", self.drawn)
        loss_axis(axes, "y", min(0.0, *losses), max(0.05, *losses), bend(self.results))
        axes.set_xlabel(f"{self.objective.title.lower()} ({self.unit})")
        axes.set_ylabel(f"{self.results.quality.name} loss (dB)")

    def _alike(self, place: tuple[float, float]) -> list[str]:
        """The labelled plans of one precision that stand there, too."""
        return [name for name in self.labelled if self.place(self.uniform[name]) == place]

    def _chosen(self, axes: Axes) -> Iterator[Label]:
        """Chosen plans as predicted and, on a stem, as measured."""
        for plan, text in self.chosen:
            x, y = self.place(plan.predicted)
            if plan.measured:
                measured_y = plan.measured.loss_db
                axes.plot([x, x], [y, measured_y], color=RED, lw=1, zorder=4)
                axes.plot([x], [measured_y], "o", ms=6.5, mfc="white", mec=RED, mew=1.3, zorder=5)
            axes.plot([x], [y], "o", ms=7.5, mfc=RED, mec="white", mew=1, zorder=5)
            also = "".join(f" ({name})" for name in self._alike((x, y)))
            yield Label(x, y, text + also, RED, "bold")

    def _uniform(self, axes: Axes) -> Iterator[Label]:
        """Plans of one precision; a label of a chosen plan names those that stand there."""
        told_of = {name for plan, _ in self.chosen for name in self._alike(self.place(plan.predicted))}
        for name, point in self.uniform.items():
            x, y = self.place(point)
            axes.plot([x], [y], "s", ms=6, mfc="white", mec=INK, mew=1.2, zorder=4)
            if name in self.labelled and name not in told_of:
                yield Label(x, y, name)

    def _floating_point(self, axes: Axes) -> Iterator[Label]:
        """The floating-point network, where no plan of one precision is that already."""
        precision, timed = self.results.reference.precision, self.objective is LATENCY
        if not self.reference or (timed and precision in self.uniform):
            return
        x = self.reference / self.factor
        axes.plot([x], [0.0], "D", ms=6, mfc="white", mec=INK, mew=1.2, zorder=4)
        yield Label(x, 0.0, (precision or "float").lower() if timed else "fp32")

    def _limits(self, axes: Axes) -> None:
        """Lines at the limits on cost and on loss that lie in the figure."""
        for name, value, style in self.limits:
            if value / self.factor in self.inside:
                axes.axvline(value / self.factor, color=INK, lw=1.1, ls=style, zorder=2)
                axes.annotate(
                    name, (value / self.factor, 1), xycoords=("data", "axes fraction"), xytext=(-4, -3),
                    textcoords="offset points", rotation=90, ha="right", va="top", fontsize=10.5, color=INK,
                )  # fmt: skip
        most_lost = self.results.budgets.get("loss")
        if most_lost is not None and most_lost <= axes.get_ylim()[1]:
            axes.axhline(most_lost, color=INK, lw=1.1, ls=(0, (5, 3)), zorder=2)

    def _stems(self) -> np.ndarray:
        """Points between what was predicted and what was measured of a plan, ``[N, 2]``, which labels should keep clear of."""
        stems = [
            (self.cost(plan.predicted) / self.factor, y)
            for plan in self.results.front
            if plan.measured
            for y in np.linspace(plan.predicted.loss_db, plan.measured.loss_db, 5)
        ]
        return np.array(stems).reshape(-1, 2)


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
        f"{check.name}: Spearman {check.spearman:.3f}" if check.ranks else f"{check.name}: too few plans to rank",
        f"Predicted against simulated {quality} loss of {len(check.simulated_db)} {plans} plans"
        + (f", in {units.seconds(check.seconds)}." if check.seconds else f"; median error {units.loss(check.median_error_db)}."),
        (PANEL[0], PANEL[0] - 20),
        plot,
    )
