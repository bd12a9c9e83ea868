"""The figures of the report: what each one plots, in data; how it looks is decided in ``canvas``.

Every figure is drawn at a width that a phone shows almost at full size, so that its text stays readable there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from hwsearch.plan import Plan
from hwsearch.report import words
from hwsearch.report.canvas import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PINK,
    RED,
    SKY,
    SOFT,
    Figure,
    Label,
    dots,
    draw,
    loss_axis,
    place,
    positive_axis,
    zero_axis,
)
from hwsearch.results import LayerRow, Point, ProxyCheck, Results, ScheduleStep

PANEL = (372, 340)
BARS = 440
TERMS = (
    ("compute", "compute_s", BLUE),
    ("weights", "weight_s", ORANGE),
    ("activations", "activation_s", GREEN),
    ("overhead", "overhead_s", "#8a94a0"),
)
_TENSORS = (SKY, "#9fc9e8", GREEN, "#8fd0b8", ORANGE, "#f3cd80", PINK, "#e8c3d7")


@dataclass(frozen=True)
class Objective:
    """What a trade-off is drawn against: attribute of a point, budget and limit of that name, and how to write it."""

    attribute: str
    budget: str
    title: str
    write: Callable[[float | None], str]
    units: tuple[tuple[float, str], ...]

    def unit(self, values: Sequence[float]) -> tuple[float, str]:
        """Factor and name of the unit in which the middle of ``values`` reads well."""
        middle = float(np.median(values))
        return next(((f, u) for f, u in self.units if middle >= f), self.units[-1])


_BYTE_UNITS = ((2.0**30, "GiB"), (2.0**20, "MiB"), (1e3, "KiB"), (0.0, "B"))
_BYTES = tuple((2.0**10 if u == "KiB" else f or 1.0, u) for f, u in _BYTE_UNITS)
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
LATENCY = Objective("latency_s", "latency", "Latency", words.seconds, _SECONDS)
WEIGHTS = Objective("weight_bytes", "weights", "Weight memory", words.bytes_, _BYTES)
ACTIVATIONS = Objective("peak_activation_bytes", "memory", "Peak activation memory", words.bytes_, _BYTES)
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
    for x, y in sorted((float(getattr(p, attribute)), p.psnr_loss_db) for p in points):
        if y < best:
            best = y
            steps.append((x, y))
    return steps


def tradeoff(results: Results, objective: Objective) -> Figure:
    """PSNR loss against one cost: all evaluated plans, their lower envelope, the chosen plans, and the references."""
    points, chosen = results.points, roles(results)
    plans = {p.name: p for p in results.front}
    uniform = {p.origin: p for p in points if p.origin.startswith("uniform")}
    attribute = objective.attribute
    reference_x = {"latency_s": results.reference.latency_s, "weight_bytes": results.reference.weight_bytes}.get(attribute)
    xs = [float(getattr(p, attribute)) for p in points] + [float(getattr(p.predicted, attribute)) for p in results.front]
    factor, unit = objective.unit(xs)
    steps = [(x / factor, y) for x, y in staircase(points, attribute)]
    limit = results.budgets.get(objective.budget)
    hard = results.limits.get(attribute)

    def plot(axes: Axes) -> str | None:
        every_x = [x / factor for x in xs] + ([reference_x / factor] if reference_x else [])
        inside = [v / factor for v in (limit, hard) if v and min(every_x) * 0.5 <= v / factor <= max(every_x) * 2]
        losses = [p.psnr_loss_db for p in points]
        measured = [p.measured.psnr_loss_db for p in results.front if p.measured]
        positive_axis(axes, "x", [*every_x, *inside])
        loss_axis(axes, "y", min([0.0, *losses, *measured]), max([0.05, *losses, *measured]), bend(results))
        axes.set_xlabel(f"{objective.title.lower()} ({unit})")
        axes.set_ylabel("PSNR loss (dB)")
        dots(axes, [getattr(p, attribute) / factor for p in points], losses, 3.6, FAINT)
        if steps:
            axes.step(*zip(*steps, strict=True), where="post", color=BLUE, lw=1.6, zorder=3)
            dots(axes, [x for x, _ in steps], [y for _, y in steps], 4.6, BLUE, zorder=3)
        labels = []
        for name, text in chosen.items():
            plan = plans[name]
            x, y = getattr(plan.predicted, attribute) / factor, plan.predicted.psnr_loss_db
            if plan.measured:
                y2 = plan.measured.psnr_loss_db
                axes.plot([x, x], [y, y2], color=RED, lw=1, zorder=4)
                axes.plot([x], [y2], "o", ms=6.5, mfc="white", mec=RED, mew=1.3, zorder=5)
            axes.plot([x], [y], "o", ms=7.5, mfc=RED, mec="white", mew=1, zorder=5)
            labels.append(Label(x, y, text, RED, "bold"))
        for origin, point in uniform.items():
            x, y = getattr(point, attribute) / factor, point.psnr_loss_db
            axes.plot([x], [y], "s", ms=6, mfc="white", mec=INK, mew=1.2, zorder=4)
            labels.append(Label(x, y, origin.removeprefix("uniform").strip()))
        if reference_x:
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
        quality = results.budgets.get("psnr_loss")
        if quality is not None and quality <= axes.get_ylim()[1]:
            axes.axhline(quality, color=INK, lw=1.1, ls=(0, (5, 3)), zorder=2)
        place(axes, labels, _along(axes, steps))
        outside = [(v, n) for v, n in ((limit, "budget"), (hard, "device limit")) if v and v / factor not in inside]
        return " ".join(f"The {name} of {objective.write(value)} lies outside the figure." for value, name in outside)

    told = ", ".join(
        f"{text} {objective.write(getattr(plans[n].predicted, attribute))} at {words.loss(plans[n].predicted.psnr_loss_db)}"
        for n, text in chosen.items()
    )
    return draw(
        f"tradeoff-{attribute.replace('_', '-')}",
        objective.title,
        f"PSNR loss against {objective.title.lower()}: scatter of {len(points)} evaluated plans with their lower envelope. Chosen plans: {told}.",
        PANEL,
        plot,
    )


def _along(axes: Axes, steps: Sequence[tuple[float, float]]) -> np.ndarray:
    """Points of a staircase every few pixels, ``[N, 2]`` in data units: what labels should keep clear of."""
    corners = [c for (x0, y0), (x1, y1) in zip(steps[:-1], steps[1:], strict=True) for c in ((x0, y0), (x1, y0), (x1, y1))]
    if not corners:
        return np.array(steps, dtype=float).reshape(-1, 2)
    pixels = axes.transData.transform(corners)
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(pixels, axis=0).T))])
    at = np.arange(0, lengths[-1] + 5, 5.0)
    sampled = np.column_stack([np.interp(at, lengths, pixels[:, k]) for k in (0, 1)])
    return np.asarray(axes.transData.inverted().transform(sampled))


def bend(results: Results) -> float:
    """Where the loss axis turns from linear to logarithmic, dB: near the losses of the chosen plans, so that they are apart."""
    losses = [p.psnr_loss_db for p in results.points if p.on_front] or [0.1]
    return min(0.2, max(0.02, float(np.median(losses)) / 2))


def _shade(bits: int) -> tuple[str, str]:
    """Cell and text colour of a width, the same in every figure: the wider, the darker; 16 bits stand out in orange."""
    if bits >= 16:
        return ORANGE, INK
    ramp = ("#eaf2f9", "#cfe2f2", "#a9cce8", "#7db2da", "#4f95c8", "#2878b0", "#0b5a92")
    at = min(max(bits - 2, 0), len(ramp) - 1)
    return ramp[at], "white" if at >= 4 else INK


def strip(
    name: str, title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[int]]], band: int = 24
) -> list[Figure]:
    """Heat strips of widths with their numbers, one row a plan; long networks continue in further strips of ``band`` columns."""
    figures = []
    parts = max(1, math.ceil(len(columns) / band))
    length = math.ceil(len(columns) / parts)
    for part in range(parts):
        here = slice(part * length, (part + 1) * length)
        figures.append(_strip(f"{name}-{part}", title, columns[here], [(n, b[here]) for n, b in rows], part, parts))
    return figures


def _strip(
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[int]]],
    part: int,
    parts: int,
) -> Figure:
    cell, heads = 31, [words.shorten(c, 18) for c in columns]
    left, top = 7.2 * max(len(n) for n, _ in rows) + 14, 5.0 * max(len(h) for h in heads) + 26

    def plot(axes: Axes) -> None:
        axes.set_axis_off()
        axes.set_xlim(-0.02, len(columns) + 0.5)
        axes.set_ylim(len(rows) + 0.05, 0)
        for r, (plan, bits) in enumerate(rows):
            axes.text(-0.2, r + 0.5, plan, ha="right", va="center_baseline", fontsize=11)
            for c, width in enumerate(bits):
                fill, ink = _shade(width)
                axes.add_patch(Rectangle((c + 0.03, r + 0.06), 0.94, 0.88, fc=fill, ec="none"))
                axes.text(c + 0.5, r + 0.5, str(width), ha="center", va="center_baseline", fontsize=11, color=ink)
        for c, head in enumerate(heads):
            axes.text(c + 0.35, -0.16, head, ha="left", va="bottom", rotation=50, rotation_mode="anchor", fontsize=10.5, color=SOFT)

    said = "; ".join(f"{n}: {words.compress_bits(b)}" for n, b in rows)
    where = "" if parts == 1 else f" (part {part + 1} of {parts})"
    size = (left + cell * (len(columns) + 0.5) + 40, top + cell * len(rows) + 8)
    return draw(name, title + where, f"Columns, in network order: {', '.join(columns)}. {said}.", size, plot)


def bits(results: Results) -> tuple[list[Figure], list[Figure]]:
    """Widths of the chosen plans: weights by layer, and activations by width group of tensors."""
    plans = {p.name: p for p in results.front}
    named: list[tuple[str, Plan]] = [(text, plans[name]) for name, text in roles(results).items()]
    shown = sorted(named, key=lambda item: item[1].predicted.psnr_loss_db)
    if not shown:
        return [], []
    first = shown[0][1]
    weights = [(text, list(p.weight_bits.values())) for text, p in shown]
    tensors = [(text, list(p.activation_bits.values())) for text, p in shown]
    return (
        strip("bits-weights", "Weight bits per layer", list(first.weight_bits), weights),
        strip("bits-tensors", "Activation bits per tensor", list(first.activation_bits), tensors),
    )


def latency(name: str, plan: str, rows: Sequence[LayerRow], whole_s: float) -> Figure:
    """Bars of the four latency terms of each layer, with a mark at the layer's latency and the term that binds.

    ``whole_s`` is the latency of the network; what the layers do not explain of it is said below the figure.
    """
    unit, factor = _time_unit(max((r.latency_s for r in rows), default=1.0))
    total = sum(r.latency_s for r in rows)

    def plot(axes: Axes) -> str | None:
        longest = 0.0
        for i, row in enumerate(rows):
            start = 0.0
            for _, attribute, colour in TERMS:
                length = getattr(row, attribute) / factor
                axes.add_patch(Rectangle((start, i - 0.36), length, 0.72, fc=colour, ec="none"))
                start += length
            end = row.latency_s / factor
            axes.plot([end, end], [i - 0.46, i + 0.46], color=INK, lw=2, solid_capstyle="butt", zorder=4)
            text = f"{words.seconds(row.latency_s)} · {row.binds}"
            axes.annotate(text, (max(start, end), i), (6, 0), textcoords="offset points", va="center_baseline", fontsize=10.5, color=SOFT)
            longest = max(longest, start, end)
        zero_axis(axes, "x", longest, 4)
        axes.set_xlim(0, longest * 1.7)
        _layer_axis(axes, [r.name for r in rows])
        axes.set_xlabel(f"time ({unit})")
        _key(axes, [(t, c) for t, _, c in TERMS])
        overlapping = any(sum(getattr(r, a) for _, a, _ in TERMS) > r.latency_s * 1.001 for r in rows)
        said = ["The black mark is a layer’s latency; beside it, the term that decides it."]
        if overlapping:
            said.append("Terms that run at the same time overlap, so a bar may be longer than its layer’s latency.")
        if abs(whole_s - total) > 0.01 * whole_s:
            said.append(f"The layers add up to {words.seconds(total)}; the whole network takes {words.seconds(whole_s)}.")
        return " ".join(said)

    binding = {t: sum(1 for r in rows if r.binds == t) for t, _, _ in TERMS}
    told = words.listing(f"{n} by {t}" for t, n in binding.items() if n)
    return draw(
        name,
        f"Latency by layer, {plan}",
        f"Bars per layer of {len(rows)} layers; the latency is decided {told}.",
        (BARS, 74 + 24 * len(rows)),
        plot,
    )


def schedule(name: str, plan: str, steps: Sequence[ScheduleStep], limit: float | None) -> Figure:
    """Activation memory alive while each layer runs, stacked by tensor, with the device's limit."""
    totals = [sum(s.live_bytes.values()) for s in steps]
    peak = max(totals, default=0)
    factor, unit = ACTIVATIONS.unit([peak])
    tensors = list(dict.fromkeys(t for s in steps for t in s.live_bytes))
    colours = {t: _TENSORS[i % len(_TENSORS)] for i, t in enumerate(tensors)}
    near = limit is not None and limit <= 3 * peak

    def plot(axes: Axes) -> str | None:
        far = max(peak, limit if near and limit else 0) / factor
        for i, step in enumerate(steps):
            start = 0.0
            for tensor, size in step.live_bytes.items():
                length = size / factor
                axes.add_patch(Rectangle((start, i - 0.5), length, 1.0, fc=colours[tensor], ec="white", lw=0.8))
                room = 0.66 * BARS * length / (far * 1.42) / 6.4
                if room >= min(len(tensor), 8):
                    axes.text(start + length / 2, i, words.shorten(tensor, int(room)), ha="center", va="center_baseline", fontsize=10)
                start += length
            bold = totals[i] == peak
            axes.annotate(
                words.bytes_(totals[i]) + (" peak" if bold else ""), (start, i), (6, 0), textcoords="offset points",
                va="center_baseline", fontsize=10.5, color=INK if bold else SOFT, fontweight="bold" if bold else "normal",
            )  # fmt: skip
        zero_axis(axes, "x", far, 4)
        axes.set_xlim(0, far * 1.42)
        _layer_axis(axes, [s.layer for s in steps])
        axes.set_xlabel(f"activations alive ({unit})")
        if limit and near:
            axes.axvline(limit / factor, color=RED, lw=1.4, ls=(0, (5, 3)), zorder=5)
            axes.annotate(
                f"device limit {words.bytes_(limit)}", (limit / factor, 1), xycoords=("data", "axes fraction"), xytext=(0, 4),
                textcoords="offset points", ha="center", va="bottom", fontsize=10.5, color=RED,
            )  # fmt: skip
        if limit and not near:
            return f"The device's limit of {words.bytes_(limit)} lies far to the right."
        return None

    where = steps[totals.index(peak)].layer if steps else ""
    return draw(
        name,
        f"Memory over the schedule, {plan}",
        f"Stacked bars of the tensors alive while each of {len(steps)} layers runs, in order; the peak of {words.bytes_(peak)} is at {where}.",
        (BARS, 74 + 24 * len(steps)),
        plot,
    )


def _layer_axis(axes: Axes, names: Sequence[str]) -> None:
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), [words.shorten(n, 22) for n in names])
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    for text in axes.get_yticklabels():
        text.set_color(INK)


def _key(axes: Axes, entries: Sequence[tuple[str, str]]) -> None:
    handles = [Rectangle((0, 0), 1, 1, fc=colour) for _, colour in entries]
    axes.legend(
        handles, [text for text, _ in entries], loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(entries), frameon=False,
        fontsize=10.5, handlelength=0.9, handleheight=0.9, columnspacing=1.4, handletextpad=0.5, borderpad=0.1, labelcolor=INK,
    )  # fmt: skip


def _time_unit(value: float) -> tuple[str, float]:
    factor, unit = LATENCY.unit([value])
    return unit, factor


def proxy(check: ProxyCheck) -> Figure:
    """A proxy's predicted loss against the measured loss of the same plans; on the line a prediction is right."""
    both = [*check.predicted_db, *check.measured_db] or [0.1]

    def plot(axes: Axes) -> None:
        knee = min(1.0, max(0.05, float(np.median(both)) / 4))
        low, high = min([0.0, *both]), max([0.1, *both])
        loss_axis(axes, "x", low, high, knee)
        loss_axis(axes, "y", low, high, knee)
        ends = [max(axes.get_xlim()[0], axes.get_ylim()[0]), min(axes.get_xlim()[1], axes.get_ylim()[1])]
        axes.plot(ends, ends, color=SOFT, lw=1, ls=(0, (4, 3)), zorder=1)
        dots(axes, check.predicted_db, check.measured_db, 4.2, BLUE, zorder=3)
        axes.set_xlabel("predicted PSNR loss (dB)")
        axes.set_ylabel("measured PSNR loss (dB)")
        axes.text(0.97, 0.04, "predicts too much", ha="right", va="bottom", transform=axes.transAxes, fontsize=10.5, color=SOFT)
        axes.text(0.03, 0.97, "predicts too little", ha="left", va="top", transform=axes.transAxes, fontsize=10.5, color=SOFT)

    return draw(
        f"proxy-{''.join(c if c.isalnum() else '-' for c in check.name)}",
        f"{check.name}: Spearman {check.spearman:.3f}",
        f"Predicted against measured PSNR loss of {len(check.measured_db)} random plans, in {words.seconds(check.seconds)}.",
        (PANEL[0], PANEL[0] - 20),
        plot,
    )


__all__ = ["ACTIVATIONS", "LATENCY", "OBJECTIVES", "WEIGHTS", "bits", "latency", "proxy", "roles", "schedule", "strip", "tradeoff"]
