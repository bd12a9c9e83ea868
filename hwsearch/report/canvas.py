"""How figures are drawn: one palette, one type size, small deterministic SVG with selectable text and alternative text.

One unit of the SVG is one CSS pixel at full size. Labels are measured with DejaVu Sans, which is wider than the fonts of the
page, so that whatever fits here fits there.
"""

from __future__ import annotations

import html
import io
import math
import re
import warnings
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


def draw(name: str, title: str, description: str, size: tuple[float, float], plot: Callable[[Axes], str | None]) -> Figure:
    """Run ``plot`` on fresh axes of ``size`` pixels; what it returns is printed below the figure."""
    with rc_context(_STYLE):  # type: ignore[arg-type]  # matplotlib's stubs list its settings one by one
        sheet = Sheet(figsize=(size[0] / 72, size[1] / 72), dpi=72)
        FigureCanvasAgg(sheet)
        axes = sheet.subplots()
        note = plot(axes) or ""
        out = io.StringIO()
        with warnings.catch_warnings():
            # The reader's fonts draw what DejaVu Sans lacks: the text stays text.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            # Saving would draw everything twice, the first time only to lay it out.
            if engine := sheet.get_layout_engine():
                engine.execute(sheet)
                sheet.set_layout_engine("none")
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
    text = re.sub(r"font-family: 'DejaVu Sans';? ?", "", text)
    text = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'", rf"font: \1{FONTS}", text)
    # Hundredths of a pixel are enough; numbers that are read stand between the tags.
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d{2})\d+", r"\1", tag[0]), text)
    text = re.sub(r">\s+<", "><", text)
    box = re.search(r'viewBox="([^"]+)"', text)
    words = f'<title id="{name}-t">{html.escape(title)}</title><desc id="{name}-d">{html.escape(description)}</desc>'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box[1] if box else ""}" '
        f'style="font-family:{FONTS}" role="img" aria-labelledby="{name}-t {name}-d">{words}'
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

    def squash(value: float) -> float:
        return math.asinh(value / bend)

    span = max(squash(high) - squash(min(low, 0.0)), 1e-9)
    start, end = squash(min(low, 0.0)) - 0.04 * span, squash(high) + 0.08 * span
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


def _fixed_ticks(axes: Axes, which: str, values: Sequence[float]) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FixedFormatter([number(v) for v in values]))


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


def length_axis(axes: Axes, longest: float) -> None:
    """Linear scale from zero for lengths of bars that lie, with about four ticks up to the longest."""
    step = _nice_step((longest or 1.0) / 3)
    _fixed_ticks(axes, "x", [round(k * step, 12) for k in range(math.floor((longest or 1.0) * 1.02 / step) + 1)])


def _nice_step(about: float) -> float:
    power = 10.0 ** math.floor(math.log10(about))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= about * 0.999)
