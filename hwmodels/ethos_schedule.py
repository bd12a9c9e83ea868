"""Which feature maps a documented array keeps on chip: those that fit with all that is alive, and those of cascades.

Where feature maps live in external memory, consecutive operations can run as a cascade, a few rows at a time, with only a rolling
buffer of each feature map between them on chip (and their weights). A cascade goes no further than its buffers fit, and does not
pass a feature map with several readers. Among all cuts of the network into cascades the schedule takes the one that needs the
least time: more memory allows more cuts, so it never slows a network. (Arm's compiler cascades greedily; the difference is part
of the agreement measured in tests/reference/test_vela.py.)
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from hwmodels.ethos_blocks import BRICK, Operation, reach, up
from hwmodels.ethos_operations import stored_elements
from hwmodels.workload import Workload

CASCADED = ("conv", "depthwise", "add", "mul", "unary")


class Links(NamedTuple):
    """Feature maps between consecutive layers that a cascade may keep on chip.

    ``possible bool[L]``: the output of a layer is such a one. ``rows``, ``need``, ``row_bytes`` ``int64[L]``: its height, the
    rows of it that one row of the next output needs, bytes of one row.
    """

    possible: np.ndarray
    rows: np.ndarray
    need: np.ndarray
    row_bytes: np.ndarray

    def buffer_bytes(self, step: int) -> np.ndarray:
        """``int64[L]``: a rolling buffer when ``step`` rows are made at a time, at most the whole feature map."""
        need = self.need + step - 1
        return np.minimum(-(-(step + need) // need) * need, self.rows) * self.row_bytes


def links(workload: Workload, brick: np.ndarray, firsts: list[Operation | None], in_bytes: int) -> Links:
    """The links of a workload; ``firsts`` are the operations of each layer."""
    count = len(workload.layers)
    found = Links(np.zeros(count, dtype=bool), *(np.ones(count, dtype=np.int64) for _ in range(3)))
    for i, layer in enumerate(workload.layers[:-1]):
        tensor, following, op = workload.tensors[layer.output], workload.layers[i + 1], firsts[i + 1]
        if tensor.readers != (i + 1,) or not brick[layer.output] or op is None:
            continue
        if layer.op in CASCADED and following.op in CASCADED and following.inputs[0] == layer.output:
            found.possible[i] = True
            found.rows[i] = tensor.height
            found.need[i] = max(reach(1, op.stride, op.kernel_h, op.spread, 0), 1)
            found.row_bytes[i] = tensor.width * up(tensor.channels, BRICK) * in_bytes
    return found


def kept_whole(workload: Workload, element_bytes: float, capacity: float) -> np.ndarray:
    """``bool[T]``: feature maps between layers that fit on chip together with all that is alive during their life."""
    sizes = stored_elements(workload) * element_bytes
    alive = np.zeros(len(workload.layers))
    inner = np.array([t.producer >= 0 and bool(t.readers) for t in workload.tensors])
    for i in np.flatnonzero(inner):
        tensor = workload.tensors[i]
        alive[tensor.producer : max(tensor.readers) + 1] += sizes[i]
    for i in np.flatnonzero(inner):
        tensor = workload.tensors[i]
        inner[i] = alive[tensor.producer : max(tensor.readers) + 1].max() <= capacity
    return inner


@numba.njit(cache=True, nogil=True)
def cascades(
    seconds: np.ndarray, whole_in: np.ndarray, whole_out: np.ndarray, possible: np.ndarray, held: np.ndarray, capacity: float
) -> np.ndarray:
    """The cuts that need the least time.

    Args:
        seconds: ``float64[L, 2, 2]``, time of each layer with its input (first) and its output on chip (1) or outside (0).
        whole_in, whole_out: ``bool[L]``, whether these are on chip anyway.
        possible: ``bool[L]``, the output of a layer may stay in a rolling buffer.
        held: ``float64[L]``, bytes on chip while a layer is part of a cascade: its buffer and its weights.
    Returns:
        ``bool[L]``: the output of the layer stays in a rolling buffer.
    """
    count = seconds.shape[0]
    best = np.full(count + 1, np.inf)
    origin = np.zeros(count + 1, dtype=np.int64)
    best[0] = 0.0
    for first in range(count):
        source = 1 if whole_in[first] else 0
        total, used = best[first], 0.0
        for last in range(first, count):
            target = 1 if whole_out[last] else 0
            if total + seconds[last, source, target] < best[last + 1]:
                best[last + 1], origin[last + 1] = total + seconds[last, source, target], first
            used += held[last]
            if not possible[last] or used > capacity:
                break
            total += seconds[last, source, 1]
            source = 1
    kept = np.zeros(count, dtype=np.bool_)
    last = count
    while last > 0:
        first = origin[last]
        kept[first : last - 1] = True
        last = first
    return kept


def onchip_bytes(links_: Links, kept: np.ndarray, weights: np.ndarray, whole_bytes: float, capacity: float) -> float:
    """Bytes on chip: the whole feature maps there, or the largest cascade, whose rows grow while they fit."""
    most = whole_bytes
    starts = np.flatnonzero(kept & ~np.concatenate(([False], kept[:-1])))
    for start in starts:
        stop = start
        while kept[stop]:
            stop += 1
        constants = weights[start : stop + 1].sum()
        used = 0.0
        for step in range(1, int(links_.rows[start:stop].max()) + 1):
            size = links_.buffer_bytes(step)[start:stop].sum() + constants
            if size > capacity and used:
                break
            used = max(used, size)
        most = max(most, min(used, capacity))
    return most
