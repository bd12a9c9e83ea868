"""The figure of the tiles: memory against latency as the tile shrinks, one line for each way to join tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from hwmodels.tiling.tiling import Tiling
from hwsearch.documents import units
from hwsearch.documents.results import TilingPoint
from hwsearch.report.canvas import BLUE, GREEN, INK, ORANGE, RED, Figure, draw, positive_axis
from hwsearch.report.figures import ACTIVATIONS, LATENCY
from hwsearch.report.labels import Label, place

SIZE = (640, 380)
MOST_TIMES = 5
"""Tiles so small that they take more than this many times the least latency are left out of the figure."""
_SERIES: tuple[tuple[str, str, Callable[[Tiling, int], bool]], ...] = (
    ("strips, halo kept", BLUE, lambda tiling, width: tiling.halo == "keep"),
    ("strips, halo recomputed", ORANGE, lambda tiling, width: tiling.halo == "recompute" and tiling.width == width),
    ("tiles, halo recomputed", GREEN, lambda tiling, width: tiling.halo == "recompute" and tiling.width < width),
)


def figure(points: Sequence[TilingPoint], picture_width: int, plan: str, limit: float | None) -> Figure:
    """Peak activations against latency under one plan.

    Args:
        picture_width: of the network's input: tiles of that width are strips.
        limit: bytes of activations that the device has, if it says.
    """
    least_s = min(point.latency_s for point in points)
    shown = [point for point in points if point.latency_s <= MOST_TIMES * least_s]
    factor, unit = ACTIVATIONS.unit([point.peak_activation_bytes for point in shown])
    factor_s, unit_s = LATENCY.unit([least_s])

    def at(point: TilingPoint) -> tuple[float, float]:
        return point.peak_activation_bytes / factor, point.latency_s / factor_s

    def plot(axes: Axes) -> str | None:
        positive_axis(axes, "x", [at(point)[0] for point in shown] + ([limit / factor] if limit else []))
        positive_axis(axes, "y", [at(point)[1] for point in shown])
        axes.set_xlabel(f"peak activation memory ({unit})")
        axes.set_ylabel(f"latency ({unit_s})")
        labels = []
        for text, colour, belongs in _SERIES:
            line = [point for point in shown if point.tiling is not None and belongs(point.tiling, picture_width)]
            if not line:
                continue
            axes.plot(*zip(*map(at, line), strict=True), "-o", color=colour, lw=1.5, ms=4.5, zorder=3, label=text)
            # The ends of a line and its middle tell the sizes of all.
            labels += [Label(*at(line[i]), _size(line[i]), colour) for i in sorted({0, len(line) // 2, len(line) - 1})]
        for point in shown:
            if point.tiling is None:
                axes.plot(*at(point), "D", ms=6, mfc="white", mec=INK, mew=1.2, zorder=4)
                labels.insert(0, Label(*at(point), "whole picture"))
            if point.chosen:
                axes.plot(*at(point), "o", ms=9, mfc="none", mec=RED, mew=2, zorder=5)
                labels.insert(0, Label(*at(point), f"{plan}: {_size(point)}", RED, "bold"))
        if limit:
            axes.axvline(limit / factor, color=INK, lw=1.1, ls=(0, (1, 2)), zorder=2)
            axes.annotate(
                "device limit", (limit / factor, 1), xycoords=("data", "axes fraction"), xytext=(-4, -3),
                textcoords="offset points", rotation=90, ha="right", va="top", fontsize=10.5, color=INK,
            )  # fmt: skip
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, fontsize=10.5, borderpad=0.1)
        place(axes, labels, np.array([at(point) for point in shown]))
        left = len(points) - len(shown)
        return f"{left} smaller sizes, more than {MOST_TIMES} times slower, lie outside the figure." if left else None

    smallest = min((point for point in points if point.fits), key=lambda point: point.latency_s, default=None)
    told = "none of them fits" if smallest is None else f"the fastest that fits is {_size(smallest)}"
    return draw(
        "tiling",
        "Memory against latency as the tile shrinks",
        f"Latency against peak activation memory of {len(points)} ways to cut the picture under {plan}; {told}, with "
        f"{'–' if smallest is None else units.seconds(smallest.latency_s)}.",
        SIZE,
        plot,
    )


def _size(point: TilingPoint) -> str:
    return "whole" if point.tiling is None else f"{point.tiling.height}×{point.tiling.width}"
