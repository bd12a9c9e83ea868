"""Which whole feature maps between layers stay on the chip of a documented array, beside what cascades hold there.

Every feature map that something on the array writes and something on the array reads is a candidate. Those that never have to
share a crowded moment stay; those that do not fit alone leave. The rest compete: of all choices that fit, the one whose feature
maps are read and written most often. Rivals are weighed up to 20 at a time, in the order in which they begin to live, and each
such group keeps clear of what was kept before it.

Feature maps that lie in one place live together: the parts of a concatenation that are written into it, and the result of an
element-wise operation that overwrites an operand which nobody else reads.

The rules are those of Arm's compiler (ethos-u-vela 5.2.0, Apache-2.0: live ranges, fast storage), whose exhaustive search is an
integer program here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hwmodels.classes.ethos.storage import beside, in_place, settled, share_views, stored_elements
from hwmodels.workload import Workload

MOST_RIVALS = 20
TIE = 1e-5
"""Of the accesses of the busiest rival, what the first rival is preferred by, each further one by half of that: less than choices
differ in that are no ties. The solver sees no difference from about the fifth on."""


@dataclass
class Range:
    """Tensors in one place: ``size_bytes`` of the largest, alive from layer ``first`` to ``last``; ``access``: elements read and
    written in all."""

    tensors: list[int]
    size_bytes: float
    first: int
    last: int
    access: float = 0.0
    layers: slice = field(init=False)

    def __post_init__(self) -> None:
        self.layers = slice(self.first, self.last + 1)


def ranges_of(
    workload: Workload,
    brick: np.ndarray,
    candidates: np.ndarray,
    element_bytes: float,
    access: np.ndarray,
    absorbed: Sequence[bool] = (),
) -> list[Range]:
    """The live ranges of the candidates ``bool[T]``, in the order in which they begin.

    Args:
        brick: ``bool[T]``, tensors stored in bricks.
        access: ``float64[T]``, elements of each tensor that are read and written.
        absorbed: layers that the output unit does as part of the layer before; none where empty. What lies between the two is
            nowhere.
    """
    candidates = candidates.copy()
    for row in np.flatnonzero(absorbed).tolist():
        candidates[workload.layers[row - 1].output] = False
    opens = _opens(workload, absorbed)
    stored, place = stored_elements(workload, brick) * element_bytes, _places(workload, brick, candidates, opens)
    members: dict[int, list[int]] = {}
    for i in np.flatnonzero(candidates):
        members.setdefault(place[i], []).append(int(i))
    found = []
    for tensors in members.values():
        each = [workload.tensors[i] for i in tensors]
        first = min(opens[max(t.producer, 0)] for t in each)
        last = max(max(t.readers, default=len(workload.layers) - 1) for t in each)
        size = max(float(stored[i]) for i in tensors)
        found.append(Range(tensors, size, first, last, float(access[tensors].sum())))
    return sorted(found, key=lambda one: one.first)


def _opens(workload: Workload, absorbed: Sequence[bool]) -> list[int]:
    """For every layer the first of those that run together with it (``absorbed`` as in ``ranges_of``)."""
    found = list(range(len(workload.layers)))
    for row in np.flatnonzero(absorbed).tolist():
        found[row] = found[row - 1]
    return found


def _places(workload: Workload, brick: np.ndarray, candidates: np.ndarray, opens: Sequence[int]) -> list[int]:
    """For every tensor, the tensor in whose place it lies; what is stored otherwise (``brick bool[T]``) overwrites nothing. Of
    layers that run together (``opens``: the first of them) the result may overwrite what the first reads, if that is
    element-wise."""
    place = in_place(workload)
    for row, layer in enumerate(workload.layers):
        opening = workload.layers[opens[row]]
        if not layer.maps() or not opening.maps() or not candidates[layer.output]:
            continue
        target = workload.tensors[layer.output]
        for i in dict.fromkeys(opening.inputs):
            source = workload.tensors[i]
            alone = candidates[i] and len(source.readers) == 1
            apart = place[layer.output] == layer.output and place[i] != layer.output
            alike = (source.channels, source.height, source.width) == (target.channels, target.height, target.width)
            if alone and apart and alike and brick[i] == brick[layer.output]:
                place[layer.output] = place[i]
                break
    return settled(place)


def kept_whole(
    workload: Workload,
    brick: np.ndarray,
    element_bytes: float,
    taken: np.ndarray,
    rolling: np.ndarray,
    ends: np.ndarray,
    access: np.ndarray,
    capacity: float,
    absorbed: Sequence[bool],
) -> np.ndarray:
    """``bool[T]``: feature maps between layers that stay on chip whole.

    Args:
        brick: ``bool[T]``, tensors stored in bricks.
        taken: ``float64[L]``, bytes that cascades hold on chip while each layer runs.
        rolling: ``bool[T]``, feature maps inside of cascades, which are never whole.
        ends: ``bool[T]``, what cascades end in, which leaves the chip.
        access: ``float64[T]``, elements of each tensor that are read and written.
        absorbed: layers that the output unit does as part of the layer before.
    """
    kept: np.ndarray = np.array([t.producer >= 0 and bool(t.readers) for t in workload.tensors]) & ~rolling & ~ends
    switches = [i for i, layer in enumerate(workload.layers) if beside(layer)]
    for i in switches:
        kept[[*workload.layers[i].inputs, workload.layers[i].output]] = False
    for row in reversed(np.flatnonzero(absorbed).tolist()):
        # What lies between the two is nowhere, unless in the place of the result.
        kept[workload.layers[row - 1].output] &= kept[workload.layers[row].output]
    share_views(workload, kept)
    ranges = ranges_of(workload, brick, kept, element_bytes, access, absorbed)
    # What is on chip does not survive while the processor beside the array works.
    for one in [r for r in ranges if any(r.first <= i <= r.last for i in switches)]:
        kept[one.tensors] = False
        ranges.remove(one)
    most = taken.copy()
    for one in ranges:
        most[one.layers] += one.size_bytes
    rivals, sure = [], taken.copy()
    for one in ranges:
        if (taken[one.layers] + one.size_bytes).max() > capacity:
            kept[one.tensors] = False
            most[one.layers] -= one.size_bytes
    for one in ranges:
        if not kept[one.tensors[0]]:
            continue
        if most[one.layers].max() <= capacity:
            sure[one.layers] += one.size_bytes
        else:
            rivals.append(one)
    for group in _groups(rivals):
        for one, stays in zip(group, _best(group, sure, capacity), strict=True):
            kept[one.tensors] = stays
            if stays:
                sure[one.layers] += one.size_bytes
    return _operands_together(workload, kept, rolling, absorbed)


def _groups(rivals: list[Range]) -> list[list[Range]]:
    """Rivals whose lives overlap, one after the other, at most ``MOST_RIVALS`` and one together."""
    found: list[list[Range]] = []
    last = -1
    for one in rivals:
        if found and one.first <= last and len(found[-1]) <= MOST_RIVALS:
            found[-1].append(one)
            last = max(last, one.last)
        else:
            found.append([one])
            last = one.last
    return found


def _best(rivals: list[Range], taken: np.ndarray, capacity: float) -> list[bool]:
    """Which rivals stay: of all choices that fit beside ``taken float64[L]`` at every moment, that with the most accesses; of
    several such, that with the earliest rivals, as a search finds it that keeps each first."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    begin, end = min(one.first for one in rivals), max(one.last for one in rivals)
    sizes = np.zeros((end + 1 - begin, len(rivals)))
    for column, one in enumerate(rivals):
        sizes[one.first - begin : one.last + 1 - begin, column] = one.size_bytes
    free = capacity - taken[begin : end + 1]
    access = np.array([one.access for one in rivals])
    earlier = TIE * 0.5 ** np.arange(len(rivals))
    scaled = np.maximum(access / max(access.max(), 1.0), 1e-9) + earlier
    rows, where = np.unique(np.concatenate([sizes, free[:, None]], axis=1), axis=0, return_index=True)
    fits = LinearConstraint(rows[:, :-1], -np.inf, free[where])
    solved = milp(-scaled, integrality=np.ones(len(rivals)), bounds=Bounds(0, 1), constraints=fits, options={"mip_rel_gap": 0.0})
    # Nothing kept always fits, so there is a solution.
    return [bool(stays > 0.5) for stays in solved.x]


def _operands_together(workload: Workload, kept: np.ndarray, rolling: np.ndarray, absorbed: Sequence[bool]) -> np.ndarray:
    """Operands of an element-wise operation are in one memory, but for one that something else than such an operation reads. Of
    an absorbed one they are the operands that stream in, and the input of the operation that it is a part of, with all of its
    operands where that is element-wise too."""
    together, begin = kept.copy(), 0
    for row, (layer, merged) in enumerate(zip(workload.layers, absorbed, strict=True)):
        begin = begin if merged else row
        if not layer.maps() or len(layer.inputs) < 2:
            continue
        opens = workload.layers[begin]
        rows = range(begin if opens.maps() else row, row + 1)
        streamed = [i for r in rows for i in workload.layers[r].inputs if not absorbed[r] or i != workload.layers[r - 1].output]
        beside = [*streamed, *opens.inputs[: int(merged)]]
        if all(together[i] or rolling[i] for i in beside):
            continue
        for i in streamed:
            if all(workload.layers[r].maps() for r in workload.tensors[i].readers):
                together[i] = False
    return together
