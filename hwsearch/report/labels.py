"""Labels beside points of a scatter: direct labels need no legend, if they neither overlap nor hide what they name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from hwsearch.report.canvas import INK

SIZE = 11.0
GAP = 7.0
"""Between a point and the label beside it, in pixels."""
MARGIN = 4.0
"""Around a label, in pixels: points that are nearer are hidden by it."""


@dataclass(frozen=True)
class Label:
    """A text that belongs to a point in data units."""

    x: float
    y: float
    text: str
    colour: str = INK
    weight: str = "normal"


@dataclass(frozen=True)
class _Box:
    """A rectangle in pixels, y upwards."""

    left: float
    bottom: float
    right: float
    top: float

    def beyond(self, frame: _Box) -> float:
        """By how many pixels it sticks out of ``frame``."""
        across = max(0.0, frame.left - self.left) + max(0.0, self.right - frame.right)
        return across + max(0.0, frame.bottom - self.bottom) + max(0.0, self.top - frame.top)

    def holds(self, points: np.ndarray) -> int:
        """How many of ``points [N, 2]`` lie in it or within ``MARGIN`` of it."""
        x, y = points.T
        inside = (x > self.left - MARGIN) & (x < self.right + MARGIN) & (y > self.bottom - MARGIN) & (y < self.top + MARGIN)
        return int(inside.sum())

    def overlap(self, other: _Box) -> float:
        """Shared area, with a little air around both."""
        across = min(self.right, other.right) - max(self.left, other.left) + 4
        return max(0.0, across) * max(0.0, min(self.top, other.top) - max(self.bottom, other.bottom) + 2)


def place(axes: Axes, labels: Sequence[Label], obstacles: np.ndarray) -> None:
    """Write labels beside their points, clear of each other and of ``obstacles [N, 2]`` (data units) where that is possible.

    Greedy, in the order given: each label takes the free place nearest to its point, and a thin line joins the two where that is
    not next to it.
    """
    sheet = axes.figure
    renderer = sheet.canvas.get_renderer()  # type: ignore[attr-defined]  # matplotlib's stubs know no Agg canvas
    sheet.draw_without_rendering()  # type: ignore[union-attr]  # matplotlib's stubs know no Agg canvas
    area = axes.get_window_extent(renderer)
    frame = _Box(area.x0, area.y0, area.x1, area.y1)
    points = axes.transData.transform(obstacles) if len(obstacles) else np.empty((0, 2))
    points = np.vstack([points, *(axes.transData.transform([(item.x, item.y)]) for item in labels)])
    taken: list[_Box] = []
    for item in labels:
        probe = axes.text(0, 0, item.text, fontsize=SIZE, fontweight=item.weight)
        extent = probe.get_window_extent(renderer)
        probe.remove()
        width, height = extent.width, extent.height
        px, py = axes.transData.transform((item.x, item.y))
        best: tuple[float, float, float] | None = None
        for distance in (GAP, 2.4 * GAP, 4 * GAP, 6 * GAP, 9 * GAP, 13 * GAP):
            for angle in np.deg2rad((0, 180, 90, -90, 35, -35, 145, -145, 65, -65, 115, -115)):
                cx = px + math.cos(angle) * (distance + width / 2)
                cy = py + math.sin(angle) * (distance + height / 2)
                box = _Box(cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
                steep = 0.0 if abs(math.cos(angle)) > 0.9 else 2.0
                clash = 60 * box.beyond(frame) + 12 * box.holds(points) + 8 * sum(box.overlap(other) for other in taken)
                cost = clash + 1.1 * (distance - GAP) + steep
                if best is None or cost < best[0]:
                    best = (cost, cx, cy)
        assert best is not None
        _, cx, cy = best
        taken.append(_Box(cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2))
        _write(axes, item, (px, py), (cx, cy), (width, height))


def _write(
    axes: Axes,
    item: Label,
    point: tuple[float, float],
    centre: tuple[float, float],
    extent: tuple[float, float],
) -> None:
    (px, py), (cx, cy), (width, height) = point, centre, extent
    # Anchored at the end that faces the point: a narrower font then stays beside it.
    side = "left" if cx - width / 2 >= px else "right" if cx + width / 2 <= px else "center"
    x = {"left": cx - width / 2, "right": cx + width / 2, "center": cx}[side]
    back = axes.transData.inverted()
    near_x, near_y = min(max(px, cx - width / 2), cx + width / 2), min(max(py, cy - height / 2), cy + height / 2)
    if math.hypot(near_x - px, near_y - py) > 1.7 * GAP:
        line = back.transform([(px, py), (near_x, near_y)])
        axes.plot(line[:, 0], line[:, 1], color=item.colour, lw=0.7, zorder=4)
    tx, ty = back.transform((x, cy))
    text = axes.text(
        tx, ty, item.text, color=item.colour, fontsize=SIZE, fontweight=item.weight, ha=side, va="center_baseline", zorder=6
    )
    text.set_in_layout(False)
    text.set_gid("halo")  # a white outline by the page's style: see canvas
