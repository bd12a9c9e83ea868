"""The figure and the sentences of ``hypervolume``, from its rows: network, method, seed, evaluations, hypervolume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import matplotlib as mpl
import numpy as np

mpl.use("svg")

from matplotlib import pyplot as plt

OURS = "ours"
COLOURS = {
    "ours": "#0b6e4f",
    "TPE": "#c0392b",
    "NSGA-II": "#2c6fbb",
    "uniform": "#8a8a8a",
    "greedy by SQNR": "#d68910",
}
Row = dict[str, object]


def curves(rows: Sequence[Row], network: str, method: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each seed, the evaluations and the volumes."""
    own = [row for row in rows if row["network"] == network and row["method"] == method]
    found = []
    for seed in sorted({row["seed"] for row in own}):
        points = [(row["evaluations"], row["hypervolume"]) for row in own if row["seed"] == seed]
        found.append(tuple(np.array(column, dtype=np.float64) for column in zip(*points, strict=True)))
    return found


def _at(curve: tuple[np.ndarray, np.ndarray], grid: np.ndarray) -> np.ndarray:
    """The volume after each number of evaluations: a search that has ended keeps what it has."""
    return curve[1][np.searchsorted(curve[0], grid, side="right") - 1]


def draw(rows: Sequence[Row], path: Path) -> None:
    """One panel a network: the median over seeds, and the range from the worst to the best."""
    names = list(dict.fromkeys(str(row["network"]) for row in rows))
    most = int(max(row["evaluations"] for row in rows))
    grid = np.unique(np.geomspace(1, most, 200).astype(int))
    mpl.rcParams |= {"svg.hashsalt": "hypervolume", "svg.fonttype": "none"}
    figure, axes = plt.subplots(1, len(names), figsize=(5.2 * len(names), 4.2), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for method, colour in COLOURS.items():
            found = curves(rows, name, method)
            if not found:
                continue
            values = np.stack([_at(curve, grid) for curve in found])
            axis.fill_between(grid, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
            label = (
                f"{method} ({len(found)} seed{'s' if len(found) > 1 else ''})"
                if method not in ("uniform", "greedy by SQNR")
                else method
            )
            axis.plot(grid, np.median(values, axis=0), color=colour, label=label, linewidth=2 if method == OURS else 1.4)
        axis.axvline(60, color="#bbbbbb", linewidth=1, linestyle=":")
        axis.set_xscale("log")
        axis.set_xlabel("plans measured")
        axis.set_title(name)
        axis.legend(fontsize=8, loc="lower right")
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("hypervolume, share of the box")
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def verdicts(rows: Sequence[Row]) -> list[str]:
    """For each network and other method: after how many evaluations our search has what the other ends with, in the median over
    seeds; the worst of our seeds against the best of the other's in brackets."""
    lines = []
    for name in dict.fromkeys(str(row["network"]) for row in rows):
        ours = curves(rows, name, OURS)
        for method in [m for m in COLOURS if m != OURS]:
            others = [(float(counts[-1]), float(volumes[-1])) for counts, volumes in curves(rows, name, method)]
            if not ours or not others:
                continue
            needed = [_reaches(curve, median(volume for _, volume in others)) for curve in ours]
            hardest = max(_reaches(curve, max(volume for _, volume in others)) for curve in ours)
            lines.append(
                f"{name}: {method} ends at {median(v for _, v in others):.4f} after {median(c for c, _ in others):.0f} plans "
                f"({len(others)} seeds); ours is there after {_shown(median(needed))} ({len(ours)} seeds; worst against best "
                f"{_shown(hardest)})"
            )
    return lines


def _reaches(curve: tuple[np.ndarray, np.ndarray], volume: float) -> float:
    """The number of evaluations after which a curve is at ``volume``; infinite where it never is."""
    reached = np.flatnonzero(curve[1] >= volume)
    return float(curve[0][reached[0]]) if len(reached) else np.inf


def _shown(count: float) -> str:
    return f"{count:.0f}" if np.isfinite(count) else "never"
