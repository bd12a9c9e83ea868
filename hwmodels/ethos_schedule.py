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
STRIPES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
"""Rows that a cascade may make at a time."""


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
        chained = layer.op in CASCADED and following.op in CASCADED and following.inputs[0] == layer.output
        # A transposed convolution reads its input whole.
        if chained and workload.tensors[following.output].height <= tensor.height:
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
    for layer in workload.layers:
        # Both operands of an element-wise operation are in one memory.
        if layer.op in ("add", "mul") and not all(inner[i] for i in layer.inputs):
            inner[list(layer.inputs)] = False
    return inner


@numba.njit(cache=True, nogil=True)
def cascades(
    seconds: np.ndarray, whole_in: np.ndarray, whole_out: np.ndarray, possible: np.ndarray, held: np.ndarray, capacity: float
) -> np.ndarray:
    """The cuts that need the least time, and how many rows each cascade makes at a time.

    Args:
        seconds: ``float64[S + 1, L, 2, 2]``, time of each layer when it makes as many rows at a time as each of S choices says, and
            (last) all rows; with its input on chip (1) or outside (0), and its output.
        whole_in, whole_out: ``bool[L]``, whether these are on chip anyway.
        possible: ``bool[L]``, the output of a layer may stay in a rolling buffer.
        held: ``float64[S, L]``, bytes on chip while a layer is part of a cascade: its buffer and its weights.
    Returns:
        ``int64[L]``: the choice of rows of the cascade in which the output of the layer stays on chip, -1 where it does not;
        the last layer of a cascade has S more than its choice, other layers outside cascades -1.
    """
    choices, count = held.shape
    best = np.full(count + 1, np.inf)
    origin, chosen = np.zeros(count + 1, dtype=np.int64), np.full(count + 1, -1, dtype=np.int64)
    best[0] = 0.0
    for first in range(count):
        source, target = 1 if whole_in[first] else 0, 1 if whole_out[first] else 0
        alone = best[first] + seconds[choices, first, source, target]
        if alone < best[first + 1]:
            best[first + 1], origin[first + 1], chosen[first + 1] = alone, first, -1
        if not possible[first]:
            continue
        for choice in range(choices):
            total, used = best[first] + seconds[choice, first, source, 1], held[choice, first]
            for last in range(first + 1, count):
                weights = held[choice, last]
                target = 1 if whole_out[last] else 0
                if used > capacity:
                    break
                if total + seconds[choice, last, 1, target] < best[last + 1]:
                    best[last + 1], origin[last + 1], chosen[last + 1] = total + seconds[choice, last, 1, target], first, choice
                used += weights
                if not possible[last]:
                    break
                total += seconds[choice, last, 1, 1]
    found = np.full(count, -1, dtype=np.int64)
    last = count
    while last > 0:
        first, choice = origin[last], chosen[last]
        if choice >= 0:
            found[first : last - 1] = choice
            found[last - 1] = choices + choice
        last = first
    return found


def onchip_bytes(chain: Links, found: np.ndarray, weights: np.ndarray, whole_bytes: float, capacity: float) -> float:
    """Bytes on chip: the whole feature maps there, or the largest cascade, whose rows grow while they fit."""
    most, choices = whole_bytes, len(STRIPES)
    start = 0
    while start < len(found):
        stop = start
        while 0 <= found[stop] < choices:
            stop += 1
        if stop > start:
            used, constants = 0.0, weights[start : stop + 1].sum()
            for rows in range(1, int(chain.rows[start:stop].max()) + 1):
                size = chain.buffer_bytes(rows)[start:stop].sum() + constants
                if size > capacity and used:
                    break
                used = max(used, size)
            most = max(most, min(used, capacity))
        start = stop + 1
    return most
