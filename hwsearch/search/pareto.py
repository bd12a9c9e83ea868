"""Non-dominated plans, the knee, hypervolume, and the choice of plans by budget. Every objective is minimised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hwmodels.errors import BudgetError

if TYPE_CHECKING:
    from hwmodels.cost import Objectives

PRICES = ("latency_s", "memory_bytes")
"""What plans of a front cost, beside what they lose: known without measuring them."""
LIMITS = {
    "latency": "latency_s",
    "weights": "weight_bytes",
    "memory": "memory_bytes",
    "energy": "energy_j",
    "loss": "loss_db",
    "mean_bits": "mean_bits",
    "bitops": "bitops",
}
"""Budget as people name it -> objective."""
_UNITS = {
    "latency_s": ("ms", 1e3),
    "energy_j": ("mJ", 1e3),
    "loss_db": ("dB", 1.0),
    "mean_bits": ("bits", 1.0),
    "bitops": ("G", 1e-9),
}

_BLOCK = 64
"""Rows that are compared with the front, and with one another, at once."""


def non_dominated(values: np.ndarray) -> np.ndarray:
    """``bool[N]``: rows of ``values float64[N, M]`` that no other row equals or beats in everything and beats in something.

    Of equal rows the first is kept. Rows that hold a NaN are never kept.
    """
    values = np.asarray(values, dtype=np.float64)
    keep: np.ndarray = ~np.isnan(values).any(axis=1)
    # In lexicographic order a row can only be dominated by an earlier one, and then by one that is kept.
    order = np.lexsort((np.arange(len(values)), *values.T[::-1]))
    order = order[keep[order]]
    front = np.empty((0, values.shape[1]))
    for start in range(0, len(order), _BLOCK):
        rows = order[start : start + _BLOCK]
        block = values[rows]
        beaten = _no_worse(front, block).any(axis=0) | np.triu(_no_worse(block, block), 1).any(axis=0)
        keep[rows[beaten]] = False
        front = np.concatenate([front, block[~beaten]])
    return keep


def _no_worse(these: np.ndarray, those: np.ndarray) -> np.ndarray:
    """``bool[A, B]``: row a of ``these float64[A, M]`` equals or beats row b of ``those float64[B, M]`` in everything."""
    found = np.ones((len(these), len(those)), dtype=bool)
    for own, other in zip(these.T, those.T, strict=True):
        found &= own[:, None] <= other
    return found


def knee(losses: np.ndarray, prices: np.ndarray) -> int:
    """Index of the point furthest below the chord from the cheapest to the best, in log price and loss, both normalised to 0..1.

    Args:
        losses: ``float64[N]``, quality lost; prices: ``float64[N]`` > 0, such as latency.
    """
    losses, prices = np.asarray(losses, dtype=np.float64), np.log(np.maximum(np.asarray(prices, dtype=np.float64), 1e-300))
    first, last = int(np.lexsort((losses, prices))[0]), int(np.lexsort((prices, losses))[0])
    wide, high = prices[last] - prices[first], losses[first] - losses[last]
    if wide <= 0 or high <= 0:
        return last
    below = 1.0 - (prices - prices[first]) / wide - (losses - losses[last]) / high
    below[(prices > prices[last]) | (losses > losses[first])] = -np.inf
    return int(np.argmax(below))


def hypervolume(values: np.ndarray, reference: np.ndarray) -> float:
    """Exact volume dominated by ``values float64[N, M]`` up to ``reference float64[M]``; M is 1, 2 or 3.

    Sweep over the last objective; the area of the first two grows as points come in.
    """
    values, reference = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    values = values[np.all(values < reference, axis=1)]
    if not len(values):
        return 0.0
    if values.shape[1] == 1:
        return float(reference[0] - values.min())
    if values.shape[1] == 2:
        order = np.lexsort((values[:, 1], values[:, 0]))
        best = np.minimum.accumulate(values[order, 1])
        edges = np.append(values[order, 0], reference[0])
        return float(np.sum((edges[1:] - edges[:-1]) * (reference[1] - best)))
    if values.shape[1] == 3:
        order = np.argsort(values[:, 2], kind="stable")
        edges = np.append(values[order, 2], reference[2])
        return float(
            sum(
                (edges[i + 1] - edges[i]) * hypervolume(values[order[: i + 1], :2], reference[:2])
                for i in range(len(order))
                if edges[i + 1] > edges[i]
            )
        )
    raise ValueError("hypervolume is implemented for one, two and three objectives")


def columns(losses: np.ndarray, objectives: Objectives) -> dict[str, np.ndarray]:
    """Objective -> ``float64[N]`` of simulated losses and estimated prices; ``memory_bytes`` is weights plus peak activations."""
    weights = np.asarray(objectives.weight_bytes, dtype=np.float64)
    peak = np.asarray(objectives.peak_activation_bytes, dtype=np.float64)
    return {
        "loss_db": np.asarray(losses, dtype=np.float64),
        "latency_s": np.asarray(objectives.latency_s, dtype=np.float64),
        "weight_bytes": weights,
        "peak_activation_bytes": peak,
        "memory_bytes": weights + peak,
        "energy_j": np.asarray(objectives.energy_j, dtype=np.float64),
    }


def _within(values: Mapping[str, np.ndarray], limits: Mapping[str, float | None]) -> np.ndarray:
    usable = np.ones(len(values["latency_s"]), dtype=bool)
    for name, limit in limits.items():
        if limit is not None:
            usable &= values[name] <= limit
    return usable


def front_of(losses: np.ndarray, objectives: Objectives, limits: Mapping[str, float | None]) -> list[int]:
    """Rows of the plans that meet the device's hard limits and are not dominated in (loss, latency, memory), by latency."""
    values = columns(losses, objectives)
    rows = np.flatnonzero(_within(values, limits))
    if not len(rows):
        return []
    points = np.stack([values[name][rows] for name in ("latency_s", "loss_db", "memory_bytes")], axis=1)
    rows = rows[non_dominated(points)]
    return [int(r) for r in rows[np.lexsort((values["memory_bytes"][rows], values["loss_db"][rows], values["latency_s"][rows]))]]


def choose(
    front: list[int],
    losses: np.ndarray,
    objectives: Objectives,
    budgets: Mapping[str, float],
    limits: Mapping[str, float | None],
    counted: Mapping[str, np.ndarray] | None = None,
) -> dict[str, int]:
    """Role -> row: "knee", "best quality", "fastest", "smallest", and "budget" where budgets are given.

    The plan of a budget loses least quality among those within it; where the quality itself is budgeted, it is the fastest.

    Args:
        counted: further objectives that may be budgeted (``counting.COUNTED``), ``float64[N]`` each.
    Raises:
        BudgetError: no simulated plan is within the budgets; says the best reachable value of each one that is out of reach.
    """
    values = columns(losses, objectives) | dict(counted or {})
    rows = np.array(front, dtype=np.int64)
    loss, latency, memory = (values[name][rows] for name in ("loss_db", "latency_s", "memory_bytes"))
    # The knee is that of the trade-off of loss against latency; where latency does not vary, of loss against memory.
    price = latency if latency.max() > latency.min() * (1 + 1e-9) else memory
    plane = np.flatnonzero(non_dominated(np.stack([price, loss], axis=1)))
    picks = {
        "knee": int(rows[plane[knee(loss[plane], price[plane])]]),
        "best quality": int(rows[np.lexsort((memory, latency, loss))[0]]),
        "fastest": int(rows[np.lexsort((memory, loss, latency))[0]]),
        "smallest": int(rows[np.lexsort((loss, latency, memory))[0]]),
    }
    if budgets:
        picks["budget"] = pick(values, budgets, limits)
    return picks


def pick(values: Mapping[str, np.ndarray], budgets: Mapping[str, float], limits: Mapping[str, float | None]) -> int:
    """The first row of ``within``."""
    return within(values, budgets, limits)[0]


def within(values: Mapping[str, np.ndarray], budgets: Mapping[str, float], limits: Mapping[str, float | None]) -> list[int]:
    """Rows of all plans within the hard limits and budgets (keys as in ``budgets.UNITS``, SI units), in the order in which the
    budgets choose them.

    Raises:
        BudgetError: there are none; see ``choose``.
    """
    wanted = {LIMITS[name]: limit for name, limit in budgets.items()}
    hard = _within(values, limits)
    usable = np.flatnonzero(hard & _within(values, wanted))
    if not len(usable):
        raise _unreachable(values, wanted, hard)
    # Weights alone may be budgeted, which the front does not know as an objective: hence all plans, not the front alone.
    order = ("latency_s", "memory_bytes", "loss_db") if "loss" in budgets else ("loss_db", "latency_s", "memory_bytes")
    rows: list[int] = usable[np.lexsort([values[name][usable] for name in reversed(order)])].tolist()
    return rows


def _unreachable(values: Mapping[str, np.ndarray], wanted: Mapping[str, float], hard: np.ndarray) -> BudgetError:
    facts = []
    for name, limit in wanted.items():
        others = {other: value for other, value in wanted.items() if other != name}
        usable = hard & _within(values, others)
        if usable.any():
            best = float(values[name][usable].min())
            suffix = " together with the other budgets" if others else ""
            facts.append(
                f"the best reached{suffix} is {quantity(name, best)}, the budget is {quantity(name, limit)} ({label(name)})"
            )
    message = "no simulated plan meets the budget" + (
        ": " + "; ".join(facts) if facts else "s, and none meets all but one of them"
    )
    return BudgetError(message, "Raise the budget, allow more widths, or give the search more evaluations.")


def label(name: str) -> str:
    """An objective's name for people."""
    known = {value: key for key, value in LIMITS.items()} | {"noise": "loss", "peak_activation_bytes": "activation memory"}
    return known.get(name, name).replace("_", " ")


def in_words(hard: Mapping[str, float], budgets: Mapping[str, float]) -> dict[str, tuple[str, float]]:
    """Limit in words -> objective and value: hard limits of a device by objective, and budgets by the names of ``LIMITS``."""
    found = {f"the device's {label(name)}": (name, float(limit)) for name, limit in hard.items()}
    return found | {f"the budget on {name.replace('_', ' ')}": (LIMITS[name], limit) for name, limit in budgets.items()}


def quantity(name: str, value: float) -> str:
    """A value of an objective in human units."""
    if name.endswith("_bytes"):
        return f"{value / 1024:.6g} KiB" if value >= 10240 else f"{value:.0f} bytes"
    unit, factor = _UNITS.get(name, ("", 1.0))
    return f"{value * factor:.4g} {unit}".strip()
