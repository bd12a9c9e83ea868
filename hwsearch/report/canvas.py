"""How figures are drawn: one palette, one type size, small deterministic SVG with selectable text and alternative text.

One unit of the SVG is one CSS pixel at full size. Labels are measured with DejaVu Sans, which is wider than the fonts of the page, so that
whatever fits here fits there.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Sheet
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

# Okabe and Ito's palette (2008), readable with every common form of colour blindness.
BLUE, ORANGE, GREEN, RED, SKY, PINK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
INK, SOFT, FAINT, RULE = "#1a1f26", "#5b6572", "#c3cad3", "#e3e7ec"
FONTS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'Liberation Sans',sans-serif"

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hwsearch",
    "text.parse_math": False,
    "path.simplify": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 11.5,
    "axes.labelsize": 11.5,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 1.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 4 / 72,
    "figure.constrained_layout.w_pad": 4 / 72,
    "savefig.transparent": True,
}


@dataclass(frozen=True)
class Figure:
    """One drawing: inline SVG, its heading, what it shows in words, and its full width in CSS pixels."""

    name: str
    title: str
    description: str
    svg: str
    width: int
    note: str = ""


def draw(
    name: str, title: str, description: str, size: tuple[float, float], plot: Callable[[Axes], str | None]
) -> Figure:
    """Run ``plot`` on fresh axes of ``size`` pixels; what it returns is printed below the figure."""
    with rc_context(_STYLE):
        sheet = Sheet(figsize=(size[0] / 72, size[1] / 72), dpi=72)
        FigureCanvasAgg(sheet)
        axes = sheet.subplots()
        note = plot(axes) or ""
        out = io.StringIO()
        sheet.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = _inline(out.getvalue(), name, title, description)
    return Figure(name, title, description, svg, math.ceil(size[0]), note)


def _inline(text: str, name: str, title: str, description: str) -> str:
    """An SVG file as an element of a page: no prologue, no identifiers that two figures could share, one font stack."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.S)
    text = text.replace('id="halo"', 'class="halo"')
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", text)
    text = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'", rf"font: \1{FONTS.replace(chr(92), '')}", text)
    text = re.sub(r"(\d+\.\d{2})\d+", r"\1", text)
    text = re.sub(r">\s+<", "><", text)
    box = re.search(r'viewBox="([^"]+)"', text)
    words = f'<title id="{name}-t">{html.escape(title)}</title><desc id="{name}-d">{html.escape(description)}</desc>'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box[1] if box else ""}" '
        f'role="img" aria-labelledby="{name}-t {name}-d">{words}'
    )
    return head + text[text.index(">", text.index("<svg")) + 1 :]


def dots(axes: Axes, xs: Sequence[float], ys: Sequence[float], size: float, colour: str, zorder: float = 1) -> None:
    """Many dots as one path of zero-length strokes with round ends: some 20 bytes a dot instead of 150."""
    points = np.repeat(np.column_stack([xs, ys]).astype(float), 2, axis=0)
    codes = np.tile([Outline.MOVETO, Outline.LINETO], len(xs))
    axes.add_patch(
        PathPatch(Outline(points, codes), fill=False, ec=colour, lw=size, capstyle="round", joinstyle="round", zorder=zorder)
    )


def loss_axis(axis: Axes, which: str, low: float, high: float, bend: float) -> None:
    """Scale for a PSNR loss in dB: linear near zero, logarithmic beyond ``bend`` (inverse hyperbolic sine)."""
    getattr(axis, f"set_{which}scale")("asinh", linear_width=bend)
    squash = lambda v: math.asinh(v / bend)  # noqa: E731
    span = max(squash(high) - squash(min(low, 0.0)), 1e-9)
    start, end = squash(min(low, 0.0)) - 0.04 * span, squash(high) + 0.05 * span
    getattr(axis, f"set_{which}lim")(bend * math.sinh(start), bend * math.sinh(end))
    steps = [m * 10.0**e for e in range(-4, 4) for m in (1, 2, 5)]
    ticks = [0.0]
    for step in steps:
        if step > high * 1.3 and step > bend:
            break
        if squash(step) - squash(ticks[-1]) > 0.085 * (end - start) and squash(step) < end:
            ticks.append(step)
    negative = [-t for t in ticks[1:] if squash(-t) >= start]
    _fixed_ticks(axis, which, [*negative[:1], *ticks])


def _fixed_ticks(axes: Axes, which: str, values: Sequence[float], texts: Sequence[str] | None = None) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FixedFormatter([number(v) for v in values] if texts is None else list(texts)))


def number(value: float) -> str:
    """A tick label: no exponent, no trailing zeros, a real minus sign."""
    text = f"{abs(value):.6f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{abs(value):.0f}"
    return f"\u2212{text}" if value < 0 and text != "0" else text


def positive_axis(axes: Axes, which: str, values: Sequence[float], most_ticks: int = 6) -> None:
    """Scale for a positive quantity: logarithmic when it spans more than a factor of three, else linear but not from zero."""
    low, high = min(values), max(values)
    low = low if low > 0 else high * 1e-3 or 1e-3
    if high / low > 3:
        pad = (high / low) ** 0.07
        getattr(axes, f"set_{which}scale")("log")
        low, high = low / pad, high * pad
        ticks: list[float] = []
        for mantissas in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
            exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
            ticks = [t for e in exponents for m in mantissas if low <= (t := m * 10.0**e) <= high]
            if len(ticks) <= most_ticks:
                break
    else:
        pad = 0.08 * (high - low) or 0.1 * high
        low, high = low - pad, high + pad
        step = _nice_step((high - low) / (most_ticks - 1))
        ticks = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    getattr(axes, f"set_{which}lim")(low, high)
    _fixed_ticks(axes, which, [round(t, 12) for t in ticks])


def zero_axis(axes: Axes, which: str, high: float, most_ticks: int = 5) -> None:
    """Linear scale from zero for lengths of bars."""
    step = _nice_step((high or 1.0) / (most_ticks - 1))
    getattr(axes, f"set_{which}lim")(0, (high or 1.0) * 1.02)
    _fixed_ticks(axes, which, [round(k * step, 12) for k in range(math.floor((high or 1.0) * 1.02 / step) + 1)])


def _nice_step(about: float) -> float:
    power = 10.0 ** math.floor(math.log10(about))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= about * 0.999)


@dataclass(frozen=True)
class Label:
    """A text that belongs to a point in data units."""

    x: float
    y: float
    text: str
    colour: str = INK
    weight: str = "normal"


def place(axes: Axes, labels: Sequence[Label], obstacles: np.ndarray, gap: float = 7.0, size: float = 11.0) -> None:
    """Write labels beside their points, clear of each other and of ``obstacles [N, 2]`` (data units) where that is possible.

    Greedy, in the order given: each label takes the free place nearest to its point, and a thin line joins them when it is not next to it.
    """
    sheet = axes.figure
    renderer = sheet.canvas.get_renderer()  # type: ignore[attr-defined,union-attr]
    sheet.draw_without_rendering()  # type: ignore[union-attr]
    frame = axes.get_window_extent(renderer)
    points = axes.transData.transform(obstacles) if len(obstacles) else np.empty((0, 2))
    points = np.vstack([points, *(axes.transData.transform([(item.x, item.y)]) for item in labels)])
    taken: list[tuple[float, float, float, float]] = []
    for item in labels:
        probe = axes.text(0, 0, item.text, fontsize=size, fontweight=item.weight)
        box = probe.get_window_extent(renderer)
        probe.remove()
        width, height = box.width, box.height
        px, py = axes.transData.transform((item.x, item.y))
        best: tuple[float, float, float] | None = None
        for distance in (gap, 2.4 * gap, 4 * gap, 6 * gap, 9 * gap, 13 * gap):
            for angle in np.deg2rad((0, 180, 90, -90, 35, -35, 145, -145, 65, -65, 115, -115)):
                cx = px + math.cos(angle) * (distance + width / 2)
                cy = py + math.sin(angle) * (distance + height / 2)
                left, bottom, right, top = cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
                outside = max(0, frame.x0 - left) + max(0, right - frame.x1) + max(0, frame.y0 - bottom) + max(0, top - frame.y1)
                near = (points[:, 0] > left - 3) & (points[:, 0] < right + 3) & (points[:, 1] > bottom - 3) & (points[:, 1] < top + 3)
                clash = sum(
                    max(0, min(right, r) - max(left, l) + 4) * max(0, min(top, t) - max(bottom, b) + 2) for l, b, r, t in taken
                )
                cost = 60 * outside + 12 * int(near.sum()) + 8 * clash + 1.1 * (distance - gap) + (2 if abs(math.cos(angle)) < 0.9 else 0)
                if best is None or cost < best[0]:
                    best = (cost, cx, cy)
        assert best is not None
        _, cx, cy = best
        taken.append((cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2))
        _write(axes, item, (px, py), (cx, cy), (width, height), gap, size)


def _write(
    axes: Axes,
    item: Label,
    point: tuple[float, float],
    centre: tuple[float, float],
    extent: tuple[float, float],
    gap: float,
    size: float,
) -> None:
    (px, py), (cx, cy), (width, height) = point, centre, extent
    # Anchored at the end that faces the point: a narrower font then stays beside it.
    side = "left" if cx - width / 2 >= px else "right" if cx + width / 2 <= px else "center"
    x = {"left": cx - width / 2, "right": cx + width / 2, "center": cx}[side]
    back = axes.transData.inverted()
    near_x, near_y = min(max(px, cx - width / 2), cx + width / 2), min(max(py, cy - height / 2), cy + height / 2)
    if math.hypot(near_x - px, near_y - py) > 1.7 * gap:
        line = back.transform([(px, py), (near_x, near_y)])
        axes.plot(line[:, 0], line[:, 1], color=item.colour, lw=0.7, zorder=4)
    tx, ty = back.transform((x, cy))
    text = axes.text(
        tx, ty, item.text, color=item.colour, fontsize=size, fontweight=item.weight, ha=side, va="center_baseline", zorder=6
    )
    text.set_in_layout(False)
    text.set_gid("halo")  # a white outline by the page's style: see _inline
