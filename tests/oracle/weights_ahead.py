"""Time of networks whose weights arrive beside the work, ahead of their layer as far as there is room, and its derivatives."""

from __future__ import annotations

import numpy as np

from hwmodels.classes.hexagon import head_start
from hwmodels.compiled import compiled


@compiled
def total_s(
    busy_s: np.ndarray, arriving_s: np.ndarray, ahead_s: float, begins: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Seconds of ``C`` networks, whose layers lie one after another.

    Args:
        busy_s, arriving_s: ``float64[L]``, what a layer works, and what its weights take to arrive.
        ahead_s: how far weights may be ahead of the work.
        begins: ``int64[C]``, the first layer of each network.

    Returns:
        ``float64[C]`` seconds, their derivatives by ``busy_s`` and by ``arriving_s``, ``float64[L]`` each, and by ``ahead_s``,
        ``float64[C]``.
    """
    networks, layers = len(begins), len(busy_s)
    seconds, by_busy, by_arriving, by_ahead = np.zeros(networks), np.zeros(layers), np.zeros(layers), np.zeros(networks)
    waited, full = np.zeros(layers, dtype=np.bool_), np.zeros(layers, dtype=np.bool_)
    for network in range(networks):
        first, last = begins[network], begins[network + 1] if network + 1 < networks else layers
        ahead = 0.0
        for layer in range(first, last):
            spare = ahead + busy_s[layer] - arriving_s[layer]
            waited[layer], full[layer] = spare < 0.0, spare > ahead_s
            seconds[network] += max(busy_s[layer], arriving_s[layer] - ahead)
            ahead = head_start(ahead, busy_s[layer], arriving_s[layer], ahead_s)
        by_head_start = 0.0  # of the time of all layers behind
        for layer in range(last - 1, first - 1, -1):
            if waited[layer]:
                by_busy[layer], by_arriving[layer], by_head_start = 0.0, 1.0, -1.0
            elif full[layer]:
                by_ahead[network] += by_head_start
                by_busy[layer], by_arriving[layer], by_head_start = 1.0, 0.0, 0.0
            else:
                by_busy[layer], by_arriving[layer] = 1.0 + by_head_start, -by_head_start
    return seconds, by_busy, by_arriving, by_ahead
