"""Where the feature maps of a documented array live while a network runs: on chip or in external memory.

Where feature maps live in external memory, consecutive layers may run as a cascade: a few rows at a time, with only a rolling
buffer of each feature map between them on chip, and their weights. A cascade ends where a feature map has several readers, where
the next layer fits on chip whole, or where the buffers no longer fit. Every cascade then makes as many rows at a time as leave
it, or the pieces it falls into, inside the memory. What is left of the memory holds whole feature maps between layers; where
they compete, those that are large, long alive and seldom used leave the chip.

The rules follow the scheduler of Arm's compiler (ethos-u-vela 5.2.0, Apache-2.0: scheduling and cascade building); they look at
sizes only, not at speeds. Its exhaustive search among competing feature maps is replaced by the order above.

Example: three 3x3 convolutions of stride 1 on maps of 48 rows of 1 KiB, 2 KiB of weights each, 64 KiB on chip. Input and output
of a layer are 96 KiB: none runs whole on chip. One row at a time, a buffer between two layers holds 6 rows, one that is written
and three that are read in multiples of three: two buffers and all weights are 18 KiB, so the three are a cascade. It is widened
as far as it goes: 12 rows at a time need buffers of 28 rows, 62 KiB with the weights; at 13 the third layer would no longer
belong to it and fits nowhere alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from hwmodels.classes.ethos.blocks import BRICK, Array, Operation, reach, up
from hwmodels.classes.ethos.buffering import Copies, Weighing, copies
from hwmodels.classes.ethos.residence import kept_whole, ranges_of
from hwmodels.classes.ethos.terms import Homes
from hwmodels.workload import Layer, Workload


class Schedule(NamedTuple):
    """What stays on chip when all feature maps have one width.

    ``inside bool[T]``: tensors on chip. ``rows int64[L]``: rows that a layer of a cascade makes at a time, 0 for all.
    ``copies``: of weights on chip.
    ``onchip_bytes``: the most on-chip memory in use, feature maps and weights of cascades.
    """

    inside: np.ndarray
    rows: np.ndarray
    copies: Copies
    onchip_bytes: float


class Weights(NamedTuple):
    """The weights of a workload on an array: ``weigh`` tells the operations of a layer that makes so many rows at a time (0:
    all), ``aside`` which layers run beside the array."""

    weigh: Callable[[int, int], list[Weighing]]
    aside: list[bool]
    array: Array
    homes: Homes

    def copies(
        self, rows: np.ndarray, free: np.ndarray, cascades: Sequence[tuple[int, int]] = (), wanted: np.ndarray | None = None
    ) -> Copies:
        """The copies of all weights where layers make ``rows int64[L]`` at a time and ``free float64[L]`` bytes are left."""
        each = [self.weigh(row, int(rows[row])) for row in range(len(rows))]
        for first, last in cascades:
            for row in range(first, last + 1):
                each[row] = [op._replace(sliced=False, inside=row > first, hides=op.hides and row == first) for op in each[row]]
        none = np.zeros(len(rows))
        return copies(each, free, cascades, none if wanted is None else wanted, self.aside, self.array, self.homes)


class Cascade(NamedTuple):
    """Layers ``first`` to ``last``, the last of which makes ``step`` rows at a time; ``used_bytes`` on chip."""

    first: int
    last: int
    step: int
    used_bytes: float


class Chain(NamedTuple):
    """Consecutive layers as a cascade sees them, all arrays of L.

    ``joins bool``: the output of a layer may be a rolling buffer read by the next. ``height``, ``row_bytes``: of that output.
    ``kernel``, ``stride``: rows that the next layer reads for one of its own, and how far it moves. ``repeats bool``: layers that
    repeat every row of their input, in pairs of rows. ``whole_bytes``: input and output of a layer (an element-wise one
    overwrites its input). ``all_bytes``: the same without overwriting.
    """

    joins: np.ndarray
    height: np.ndarray
    row_bytes: np.ndarray
    kernel: np.ndarray
    stride: np.ndarray
    repeats: np.ndarray
    whole_bytes: np.ndarray
    all_bytes: np.ndarray

    def steps(self, first: int, last: int, step: int) -> np.ndarray:
        """``int64``: rows that layers ``first`` to ``last`` make at a time when the last one makes ``step``."""
        made = np.full(last + 1 - first, step, dtype=np.int64)
        for i in range(last - 1, first - 1, -1):
            rows = int(made[i + 1 - first]) * int(self.stride[i]) // (1 + int(self.repeats[i + 1]))
            made[i - first] = rows + rows % 2 * int(self.repeats[i])
        return made

    def buffers(self, first: int, last: int, step: int) -> np.ndarray:
        """``int64``: bytes of the rolling buffers behind layers ``first`` to ``last - 1``: what is being written and what is
        being read, in multiples of the latter, which may be a little more than the whole feature map."""
        made = self.steps(first, last, step)
        repeated = self.repeats[first + 1 : last + 1].astype(np.int64)
        read = -(-((made[1:] - 1) * self.stride[first:last] + self.kernel[first:last] + repeated) // (1 + repeated))
        read = np.minimum(read, self.height[first:last])
        rows = -(-(made[:-1] + read) // read) * read
        found: np.ndarray = rows * self.row_bytes[first:last]
        return found


def chain_of(
    workload: Workload,
    brick: np.ndarray,
    firsts: list[Operation | None],
    absorbed: list[bool],
    element_bytes: int,
    separate: bool,
) -> Chain:
    """The layers of a workload as a chain.

    Args:
        firsts: the first operation of each layer, None where the array does nothing.
        absorbed: layers that the output unit does as part of the layer before; both stay out of cascades.
        separate: whether the array is a U85's: it enlarges by repeated pixels in an operation of its own, outside of cascades.
    """
    count = len(workload.layers)
    height, row_bytes, kernel, stride = (np.ones(count, dtype=np.int64) for _ in range(4))
    # What a pixel shuffle needs beyond its bricks is not known to the compiler yet.
    channels = [up(t.channels, BRICK) if whole else t.channels for t, whole in zip(workload.tensors, brick, strict=True)]
    stored = [t.height * t.width * deep * float(element_bytes) for t, deep in zip(workload.tensors, channels, strict=True)]
    overwrites = [layer.maps() for layer in workload.layers]
    both = np.array([stored[layer.inputs[0]] + stored[layer.output] for layer in workload.layers])
    least = np.array(
        [stored[layer.inputs[0]] if over else b for layer, over, b in zip(workload.layers, overwrites, both, strict=True)]
    )
    repeats = np.array([not separate and op is not None and op.nearest > 0 for op in firsts], dtype=bool)
    chain = Chain(np.zeros(count, dtype=bool), height, row_bytes, kernel, stride, repeats, least, both)
    alone = [absorbed[i] or (i + 1 < count and absorbed[i + 1]) for i in range(count)]
    for i, layer in enumerate(workload.layers[:-1]):
        tensor, following, op = workload.tensors[layer.output], workload.layers[i + 1], firsts[i + 1]
        if tensor.readers != (i + 1,) or not brick[layer.output] or op is None or alone[i] or alone[i + 1]:
            continue
        fit = (_cascades(layer) or repeats[i]) and (_cascades(following) or repeats[i + 1])
        fit = fit and following.inputs[0] == layer.output
        # A transposed convolution reads its input whole.
        if fit and (repeats[i + 1] or workload.tensors[following.output].height <= tensor.height):
            chain.joins[i] = True
            chain.height[i] = tensor.height
            chain.row_bytes[i] = tensor.width * up(tensor.channels, BRICK) * element_bytes
            chain.kernel[i] = max(reach(1, op.stride, op.kernel_h, op.spread, 0), 1)
            chain.stride[i] = op.stride
    return chain


def _cascades(layer: Layer) -> bool:
    """Whether a layer can make its output a few rows at a time."""
    return layer.maps() or (layer.contracts and not layer.product)


def cascades(chain: Chain, first: int, last: int, step: int, weights: np.ndarray, capacity: float) -> list[Cascade]:
    """Layers ``first`` to ``last`` in groups, each as long as it goes, front to back, when the last layer makes ``step`` rows and
    ``weights float64[L]`` bytes are on the chip for each layer."""
    found, begin = [], first
    buffers = chain.buffers(first, last, step)
    steps = chain.steps(first, last, step)
    while begin <= last:
        end, used = begin, float(weights[begin])
        while end < last and chain.joins[end] and chain.whole_bytes[end + 1] >= capacity:
            more = used + float(buffers[end - first] + weights[end + 1])
            if more > capacity or steps[end - first] >= chain.height[end]:
                break
            end, used = end + 1, more
        if end > begin:
            found.append(Cascade(begin, end, int(steps[end - first]), used))
        begin = end + 1
    return found


def widened(chain: Chain, cascade: Cascade, weights: np.ndarray, capacity: float) -> list[Cascade]:
    """A cascade that makes one row at a time, with as many rows at a time as the memory allows.

    More rows may break it into several; not into more than two rows at a time do, and no layer may be left alone that does not
    fit on chip whole.
    """
    best = [cascade]
    most = 0
    for step in range(2, int(chain.height[cascade.last - 1]) // 2 + 1):
        found = cascades(chain, cascade.first, cascade.last, step, weights, capacity)
        most = len(found) if step == 2 else most
        together = {layer for each in found for layer in range(each.first, each.last + 1)}
        alone = [i for i in range(cascade.first, cascade.last + 1) if i not in together]
        if len(found) > most or any(chain.all_bytes[i] + weights[i] > capacity for i in alone):
            break
        best = found
    return best


def schedule(
    workload: Workload,
    brick: np.ndarray,
    chain: Chain,
    element_bytes: float,
    access: np.ndarray,
    capacity: float,
    weights: Weights,
    absorbed: Sequence[bool],
) -> Schedule:
    """The schedule of a workload whose feature maps live in external memory, with ``capacity`` bytes on chip.

    Args:
        brick: ``bool[T]``, tensors stored in bricks.
        access: ``float64[T]``, elements of each tensor that are read and written.
        absorbed: layers that the output unit does as part of the layer before.
    """
    count = len(workload.layers)
    narrow = cascades(chain, 0, count - 1, 1, np.zeros(count), capacity)
    rows, taken = np.zeros(count, dtype=np.int64), np.zeros(count)
    for cascade in narrow:
        rows[cascade.first : cascade.last + 1] = chain.steps(cascade.first, cascade.last, cascade.step)
        taken[cascade.first : cascade.last + 1] = cascade.used_bytes
    # What a cascade copies when it makes as few rows at a time as it can is planned for when it makes more.
    early = weights.copies(rows, capacity - taken, [(each.first, each.last) for each in narrow])
    wanted = np.array([float(sum(sum(one.sizes) for one in each if one is not None)) for each in early.found])
    wanted[rows == 0] = 0.0
    found = [wide for each in narrow for wide in widened(chain, each, wanted, capacity)]
    rows[:], taken[:] = 0, 0.0
    rolling, ends = (np.zeros(len(workload.tensors), dtype=bool) for _ in range(2))
    for cascade in found:
        layers = slice(cascade.first, cascade.last + 1)
        rows[layers] = chain.steps(cascade.first, cascade.last, cascade.step)
        taken[layers] = chain.buffers(cascade.first, cascade.last, cascade.step).sum()
        rolling[[workload.layers[i].output for i in range(cascade.first, cascade.last)]] = True
        ends[workload.layers[cascade.last].output] = True
        if cascade.step == 1:
            wanted[layers] = 0.0  # nothing is planned anew
    copied = weights.copies(rows, capacity - taken, [(each.first, each.last) for each in found], wanted)
    taken += copied.held
    kept = kept_whole(workload, brick, element_bytes, taken, rolling, ends, access, capacity, absorbed)
    for one in ranges_of(workload, brick, kept, element_bytes, access, absorbed):
        taken[one.layers] += one.size_bytes
    return Schedule(kept | rolling, rows, copied, float(taken.max(initial=0.0)))


def all_inside(workload: Workload, brick: np.ndarray, element_bytes: float, weights: Weights, capacity: float) -> Schedule:
    """The schedule of a device without external memory for feature maps: everything on chip, whole."""
    count = len(workload.layers)
    everything, whole = np.ones(len(workload.tensors), dtype=bool), np.zeros(count, dtype=np.int64)
    alive = np.zeros(count)
    for one in ranges_of(workload, brick, everything, element_bytes, np.zeros(len(workload.tensors))):
        alive[one.layers] += one.size_bytes
    copied = weights.copies(whole, capacity - alive)
    return Schedule(everything, whole, copied, float((alive + copied.held).max()))
