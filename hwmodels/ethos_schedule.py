"""Which feature maps a documented array keeps on chip: those that fit with all that is alive, and those of cascades.

Where feature maps live in external memory, consecutive operations run as a cascade, a few rows at a time, with only a rolling
buffer of each feature map between them on chip (and their weights). As Arm's compiler does it, a cascade goes on until the next
operation fits on chip whole or the smallest buffers no longer fit, does not pass a feature map with several readers, and then
makes as many rows at a time as the memory allows. These rules look at sizes only, not at speeds.
"""

from __future__ import annotations

from typing import NamedTuple

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
        chained = layer.op in CASCADED and following.op in CASCADED and following.inputs[0] == layer.output
        # A transposed convolution reads its input whole.
        if chained and workload.tensors[following.output].height <= tensor.height:
            found.possible[i] = True
            found.rows[i] = tensor.height
            found.need[i] = max(reach(1, op.stride, op.kernel_h, op.spread, 0), 1)
            found.row_bytes[i] = tensor.width * up(tensor.channels, BRICK) * in_bytes
    return found


def alive_bytes(workload: Workload, element_bytes: float) -> np.ndarray:
    """``float64[L]``: bytes of the feature maps between layers that are alive while each layer runs, all of them whole."""
    alive = np.zeros(len(workload.layers))
    for tensor, size in zip(workload.tensors, stored_elements(workload) * element_bytes, strict=True):
        if tensor.producer >= 0 and tensor.readers:
            alive[tensor.producer : max(tensor.readers) + 1] += size
    return alive


def kept_whole(workload: Workload, element_bytes: float, capacity: float) -> np.ndarray:
    """``bool[T]``: feature maps between layers that fit on chip together with all that is alive during their life."""
    alive = alive_bytes(workload, element_bytes)
    inner = np.array([t.producer >= 0 and bool(t.readers) for t in workload.tensors])
    for i in np.flatnonzero(inner):
        tensor = workload.tensors[i]
        inner[i] = alive[tensor.producer : max(tensor.readers) + 1].max() <= capacity
    for layer in workload.layers:
        # Both operands of an element-wise operation are in one memory.
        if layer.op in ("add", "mul") and not all(inner[i] for i in layer.inputs):
            inner[list(layer.inputs)] = False
    return inner


def cascades(chain: Links, whole_bytes: np.ndarray, weights: np.ndarray, capacity: float) -> tuple[np.ndarray, float]:
    """The cascades of a network.

    Args:
        whole_bytes: ``float64[L]``, feature maps that a layer reads and writes, whole.
        weights: ``float64[L]``, encoded weights of each layer.
    Returns:
        ``int64[L]``, rows that a layer of a cascade makes at a time (0: not in a cascade; negative in its last layer), and the
        bytes on chip of the largest cascade.
    """
    count = len(whole_bytes)
    rows, most, first = np.zeros(count, dtype=np.int64), 0.0, 0
    smallest = chain.buffer_bytes(1)
    while first < count:
        last, used = first, 0.0
        while last + 1 < count and chain.possible[last] and whole_bytes[last + 1] >= capacity:
            used += smallest[last]
            if used > capacity:
                break
            last += 1
        if last > first:
            constants = float(weights[first : last + 1].sum())
            size = float(smallest[first:last].sum()) + constants
            at_a_time = 1
            for step in range(2, (int(chain.rows[first:last].max()) + 1) // 2 + 1):
                more = float(chain.buffer_bytes(step)[first:last].sum()) + constants
                if more > capacity:
                    break
                at_a_time, size = step, more
            rows[first:last], rows[last] = at_a_time, -at_a_time
            most = max(most, min(size, capacity))
        first = last + 1
    return rows, most
