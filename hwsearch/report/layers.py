"""The layer figures: where the bits go, what each layer's time is made of, and the memory over the schedule.

Layers run downwards, so that their names are readable and a phone shows them; only the strips of bits run from left to right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from hwmodels.numbers import Int, Width, bits_of
from hwsearch.documents import units
from hwsearch.documents.plan import Plan
from hwsearch.documents.results import LayerRow, Results, ScheduleStep
from hwsearch.report.canvas import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, SOFT, Figure, draw, length_axis
from hwsearch.report.figures import ACTIVATIONS, LATENCY, roles

BARS = 440
BAND = 24
TERMS = (
    ("compute", "compute_s", BLUE),
    ("weights", "weight_s", ORANGE),
    ("activations", "activation_s", GREEN),
    ("overhead", "overhead_s", "#8a94a0"),
)
_TENSORS = (SKY, "#9fc9e8", GREEN, "#8fd0b8", ORANGE, "#f3cd80", PINK, "#e8c3d7")


def _shade(width: Width) -> tuple[str, str]:
    """Cell and text colour of a width, the same in every figure: the wider, the darker; above a byte in orange."""
    bits = bits_of(width)
    if Int(bits).is_wide:
        return ORANGE, INK
    ramp = ("#eaf2f9", "#cfe2f2", "#a9cce8", "#7db2da", "#4f95c8", "#2878b0", "#0b5a92")
    at = min(max(bits - 2, 0), len(ramp) - 1)
    return ramp[at], "white" if at >= 4 else INK


def strip(name: str, title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Width | None]]]) -> list[Figure]:
    """Heat strips of widths with their numbers, one row a plan; long networks continue in further strips of ``BAND`` columns.
    None: the network of that plan has no such layer."""
    figures = []
    parts = max(1, math.ceil(len(columns) / BAND))
    length = math.ceil(len(columns) / parts)
    for part in range(parts):
        here = slice(part * length, (part + 1) * length)
        figures.append(_strip(f"{name}-{part}", title, columns[here], [(n, b[here]) for n, b in rows], part, parts))
    return figures


def _strip(
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Width | None]]],
    part: int,
    parts: int,
) -> Figure:
    cell, heads = 31, [units.shorten(c, 18) for c in columns]
    left, top = 7.2 * max(len(n) for n, _ in rows) + 14, 5.0 * max(len(h) for h in heads) + 26

    def plot(axes: Axes) -> None:
        axes.set_axis_off()
        axes.set_xlim(-0.02, len(columns) + 0.5)
        axes.set_ylim(len(rows) + 0.05, 0)
        for r, (plan, bits) in enumerate(rows):
            axes.text(-0.2, r + 0.5, plan, ha="right", va="center_baseline", fontsize=11)
            for c, width in enumerate(bits):
                if width is None:
                    continue
                fill, ink = _shade(width)
                axes.add_patch(Rectangle((c + 0.03, r + 0.06), 0.94, 0.88, fc=fill, ec="none"))
                size_pt = 11 if isinstance(width, int) else 6.2  # names of formats are long for a cell
                axes.text(c + 0.5, r + 0.5, str(width), ha="center", va="center_baseline", fontsize=size_pt, color=ink)
        for c, head in enumerate(heads):
            text = axes.text(c + 0.35, -0.16, head, fontsize=10.5, color=SOFT, ha="left", va="bottom")
            text.set(rotation=50, rotation_mode="anchor")

    said = "; ".join(f"{n}: {units.compress_bits([w for w in b if w is not None])}" for n, b in rows)
    where = "" if parts == 1 else f" (part {part + 1} of {parts})"
    size = (left + cell * (len(columns) + 0.5) + 40, top + cell * len(rows) + 8)
    return draw(name, title + where, f"Columns, in network order: {', '.join(columns)}. {said}.", size, plot)


def bits(results: Results) -> tuple[list[Figure], list[Figure]]:
    """Widths of the chosen plans: weights by layer, and activations by width group of tensors."""
    plans = {p.name: p for p in results.front}
    named: list[tuple[str, Plan]] = [(text, plans[name]) for name, text in roles(results).items()]
    shown = sorted(named, key=lambda item: item[1].predicted.loss_db)
    if not shown:
        return [], []
    weights, tensors = _columns([p.weight_bits for _, p in shown]), _columns([p.activation_bits for _, p in shown])
    return (
        strip("bits-weights", "Weight bits per layer", weights, [(t, [p.weight_bits.get(n) for n in weights]) for t, p in shown]),
        strip(
            "bits-tensors",
            "Activation bits per tensor",
            tensors,
            [(t, [p.activation_bits.get(n) for n in tensors]) for t, p in shown],
        ),
    )


def _columns(widths: Sequence[Mapping[str, Width]]) -> list[str]:
    """Names in the order of the network that has most of them; plans of a network without some of its blocks have fewer."""
    return list(dict.fromkeys(name for own in sorted(widths, key=len, reverse=True) for name in own))


def latency(name: str, plan: str, rows: Sequence[LayerRow], whole_s: float) -> Figure:
    """Bars of the four latency terms of each layer, with a mark at the layer's latency and the term that binds.

    ``whole_s`` is the latency of the network; what the layers do not explain of it is said below the figure.
    """
    factor, unit = LATENCY.unit([max((r.latency_s for r in rows), default=1.0)])
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
            text = f"{units.seconds(row.latency_s)} · {row.binds}"
            _beside(axes, text, max(start, end), i)
            longest = max(longest, start, end)
        length_axis(axes, longest)
        axes.set_xlim(0, longest * 1.7)
        _layer_axis(axes, [r.name for r in rows])
        axes.set_xlabel(f"time ({unit})")
        _key(axes, [(t, c) for t, _, c in TERMS])
        overlapping = any(sum(getattr(r, a) for _, a, _ in TERMS) > r.latency_s * 1.001 for r in rows)
        said = ["The black mark is a layer’s latency; beside it, the term that decides it."]
        if overlapping:
            said.append("Terms that run at the same time overlap, so a bar may be longer than its layer’s latency.")
        if abs(whole_s - total) > 0.01 * whole_s:
            said.append(f"The layers add up to {units.seconds(total)}; the whole network takes {units.seconds(whole_s)}.")
        return " ".join(said)

    binding = {t: sum(1 for r in rows if r.binds == t) for t, _, _ in TERMS}
    told = units.listing(f"{n} by {t}" for t, n in binding.items() if n)
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
                if room >= len(tensor):
                    axes.text(start + length / 2, i, tensor, ha="center", va="center_baseline", fontsize=10)
                start += length
            bold = totals[i] == peak
            _beside(axes, units.bytes_(totals[i]) + " peak" * bold, start, i, bold)
        length_axis(axes, far)
        axes.set_xlim(0, far * 1.42)
        _layer_axis(axes, [s.layer for s in steps])
        axes.set_xlabel(f"activations alive ({unit})")
        if limit and near:
            axes.axvline(limit / factor, color=RED, lw=1.4, ls=(0, (5, 3)), zorder=5)
            axes.annotate(
                f"device limit {units.bytes_(limit)}", (limit / factor, 1), xycoords=("data", "axes fraction"), xytext=(0, 4),
                textcoords="offset points", ha="center", va="bottom", fontsize=10.5, color=RED,
            )  # fmt: skip
        if limit and not near:
            return f"The device's limit of {units.bytes_(limit)} lies far to the right."
        return None

    where = steps[totals.index(peak)].layer if steps else ""
    return draw(
        name,
        f"Memory over the schedule, {plan}",
        f"Stacked bars of the tensors alive while each of {len(steps)} layers runs, in order; "
        f"the peak of {units.bytes_(peak)} is at {where}.",
        (BARS, 74 + 24 * len(steps)),
        plot,
    )


def _beside(axes: Axes, text: str, x: float, row: int, bold: bool = False) -> None:
    """A text to the right of a bar that ends at ``x``."""
    look = {"color": INK, "fontweight": "bold"} if bold else {"color": SOFT}
    note = axes.annotate(text, (x, row), (6, 0), textcoords="offset points", va="center_baseline", fontsize=10.5)
    note.set(**look)
    note.set_in_layout(False)  # it lies inside the axes; laying out hundreds of texts takes seconds


def _layer_axis(axes: Axes, names: Sequence[str]) -> None:
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), [units.shorten(n, 22) for n in names])
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
