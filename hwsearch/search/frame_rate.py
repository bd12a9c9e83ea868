"""Video: a rate in pictures a second as a limit on latency, and the headroom that a plan leaves.

Assumption: one picture after another, nothing of the next begins before the last is done, so the rate is one over the latency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwmodels.errors import BudgetError
from hwmodels.pricing.table import CostTable
from hwsearch.search.exact import exact
from searchspaces.space import SearchSpace


def headroom(latency_s: float, fps: float) -> float:
    """Share of the time between two pictures that is left over; negative where the rate is not held."""
    return 1.0 - latency_s * fps


def budgets_with(budgets: Mapping[str, float], fps: float | None) -> dict[str, float]:
    """``budgets`` with the latency that ``fps`` pictures a second allow."""
    if fps is None:
        return dict(budgets)
    return {**budgets, "latency": min(1.0 / fps, budgets.get("latency", float("inf")))}


def check_rate(fps: float, tables: Sequence[CostTable], space: SearchSpace, budgets: Mapping[str, float]) -> None:
    """Raise BudgetError where no plan within the device's limits and the other budgets holds the rate; says the best rate.

    Args:
        tables: one for each way to cut the picture.
    """
    least_s = exact.least_latency_s(tables, space, budgets)
    # Where nothing fits at all, that is the message, and others give it.
    if least_s is not None and least_s * fps > 1 + 1e-9:
        raise BudgetError(
            f"{fps:g} pictures a second are out of reach: the fastest plan within the memory and the other budgets makes "
            f"{1 / least_s:.3g} a second ({1e3 * least_s:.4g} ms a picture, {1e3 / fps:.4g} ms allowed)",
            f"Ask for --fps {_below(1 / least_s)} or less, a smaller --input, a smaller network, or a faster device.",
        )


def _below(rate: float) -> str:
    """A rate in few digits, not above ``rate``."""
    digits = 0 if rate >= 10 else 1 if rate >= 1 else 3
    factor = 10.0**digits
    return f"{int(rate * factor) / factor:g}"
