"""The page of ``agreement.py``: predicted against measured, one figure a class, quantity and source; then the tables.

In the style of the design-space reports, self-contained, without a script.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import jinja2
import numpy as np
from matplotlib.axes import Axes
from oracle import Row

from hwmodels.fitting.agreement import Agreement
from hwsearch.documents import units
from hwsearch.report.canvas import BLUE, FAINT, GREEN, ORANGE, PINK, RED, SKY, SOFT, Figure, dots, draw, positive_axis

FORMS = {
    "_s": ("Latency", ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))),
    "_j": ("Energy", ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ"))),
    "_bytes": ("Memory", ((2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))),
    "": ("Quantity", ((1.0, ""),)),
}
"""By the ending of a quantity: what it is, and its units from the largest."""

MANY = 500
COLOURS = (BLUE, RED, GREEN, ORANGE, SKY, PINK)
CLASSES = {"npu": "Neural processors", "gpu": "Graphics processors", "mcu": "Microcontrollers", "cpu": "Processors"}
BAND = 1.2
"""The dashed lines of the figures: 20 % too much, 20 % too little."""


def page(rows: Sequence[Row], found: Sequence[Agreement], left: Sequence[tuple[str, str]]) -> str:
    """The page as text.

    Args:
        left: rows that were not compared, and why.
    """
    style = jinja2.utils.markupsafe.Markup(resources.files("hwsearch.report").joinpath("style.css").read_text(encoding="utf-8"))
    reasons: dict[str, list[str]] = {}
    for label, reason in left:
        reasons.setdefault(reason, []).append(label)
    groups = []
    for kind, heading in CLASSES.items():
        entries = [entry for entry in found if entry.kind == kind]
        if entries:
            pairs = dict.fromkeys((entry.quantity, entry.source) for entry in entries)
            figures = [
                scatter(i, [r for r in rows if (r.kind, r.quantity, r.source) == (kind, *pair)]) for i, pair in enumerate(pairs)
            ]
            names = dict.fromkeys(name for entry in entries for name in entry.baselines)
            groups.append({"anchor": kind, "heading": heading, "figures": figures, "entries": entries, "baselines": list(names)})
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(Path(__file__).with_suffix(".html.j2").read_text(encoding="utf-8")).render(
        style=style,
        groups=groups,
        reasons=reasons,
        percent=lambda value: units.NONE if value is None else f"{value:.1%}",
        rank=lambda value: units.NONE if value is None else f"{value:.2f}".replace("-", units.MINUS),
    )


def scatter(number: int, rows: Sequence[Row]) -> Figure:
    """Predictions against figures of one class, quantity and source; a colour a device where there are few."""
    kind, quantity, source = rows[0].kind, rows[0].quantity, rows[0].source
    title, units = next(form for suffix, form in FORMS.items() if quantity.endswith(suffix))
    middle = float(np.median([row.measured for row in rows]))
    factor, unit = next(((f, u) for f, u in units if middle >= f), units[-1])
    named = list(dict.fromkeys(row.device for row in rows))
    colours = dict(zip(named, COLOURS, strict=False)) if len(named) <= len(COLOURS) else dict.fromkeys(named, BLUE)
    errors = np.abs([row.predicted / row.measured - 1 for row in rows])

    def plot(axes: Axes) -> str:
        every = [value / factor for row in rows for value in (row.predicted, row.measured)]
        positive_axis(axes, "x", every, 5)
        positive_axis(axes, "y", every, 5)
        ends = np.array(axes.get_xlim())
        axes.plot(ends, ends, color=SOFT, lw=1, zorder=1)
        for band in (BAND, 1 / BAND):
            axes.plot(ends, ends * band, color=FAINT, lw=1, ls=(0, (4, 3)), zorder=1)
        for i, name in enumerate(named):
            mine = [row for row in rows if row.device == name]
            size = 4.6 if len(rows) < MANY else 2.2
            dots(axes, [r.measured / factor for r in mine], [r.predicted / factor for r in mine], size, colours[name], zorder=3)
            if 1 < len(named) <= len(COLOURS):
                place = {"ha": "right", "va": "bottom", "fontsize": 10, "color": colours[name], "transform": axes.transAxes}
                axes.text(0.98, 0.03 + 0.052 * (len(named) - 1 - i), name, **place)
        axes.set_ylim(*ends)
        axes.set_xlabel(f"measured ({unit})")
        axes.set_ylabel(f"predicted ({unit})")
        axes.text(0.03, 0.97, "predicts too much", ha="left", va="top", transform=axes.transAxes, fontsize=10.5, color=SOFT)
        return (
            f"{len(rows)} rows of {len(named)} device{'s' * (len(named) != 1)}; median error {np.median(errors):.1%}. {source}."
        )

    return draw(
        f"{kind}-{number}",
        f"{title}: {source.split(',')[0].split(' (')[0]}",
        f"Scatter of {len(rows)} predictions against outside figures, both axes alike: median error {np.median(errors):.1%}, "
        f"90th percentile {np.percentile(errors, 90):.1%}. Devices: {', '.join(named)}.",
        (372, 352),
        plot,
    )
