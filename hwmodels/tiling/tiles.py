"""The price of a picture that is cut into tiles: what is computed, held and paid then.

A ``Tiling`` gives the tile in pixels of the network's input. Two ways to join tiles exactly (see ``regions``):

- ``recompute``: every tile is computed from its part of the input with a border (halo); the halo is computed again by every
  neighbour. Each tensor of a tile is exactly as large as its readers need: wide near the input, the tile itself at the output.
- ``keep``: strips of the whole width run from top to bottom, and each tensor keeps the last rows that the next strip needs in a
  line buffer. Nothing is computed twice; the buffers take memory all the time.

Price. Tiles of equal shape are lowered once by the kernel of the device's class, and their tables are added with their numbers.
So every tile pays the overhead of its layers and of a call of the runtime, fetches the weights again, and leaves the chip or
not by its own size. A layer that has no rows in a step of ``keep`` is not called. Rows in a line buffer are not copied (the
buffer is a ring) and count as read once.

Memory. Alive are the tensors of one tile and, with ``keep``, all line buffers. Where ``limits.pictures`` of the device is
"resident", the whole input and output pictures are in the same memory all the time, and the tile's own input and output are
copies. Where it is "streamed" they are somewhere else (a camera, a display, external memory), and how they travel is not priced:
neither is it for a picture that is not cut.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hwmodels import cost
from hwmodels.device.device import Device
from hwmodels.pricing.arena import Arena, When
from hwmodels.pricing.placement import NONE
from hwmodels.pricing.table import CostTable, Space
from hwmodels.tiling import regions
from hwmodels.tiling.tiling import Tiling
from hwmodels.workload import Layer, Tensor, Workload

PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Into how many pieces ``candidates`` cuts an axis: steps of a third to a half, evenly in work."""
MOST_WORK = 8.0
"""Tiles whose halo multiplies the arithmetic by more than this are no candidates."""


@dataclass(frozen=True)
class Tile(Workload):
    """The work of one tile. A layer that does nothing has one row all the same, since models need a size, and is not ``active``.

    Attributes:
        held: for every layer, ``{tensor row: pixels}`` that are held while it runs beside what the tile itself computes.
    """

    active: tuple[bool, ...] = ()
    held: tuple[dict[int, int], ...] = ()

    def live_elements(self, channels: np.ndarray | None = None) -> np.ndarray:
        live = super().live_elements(channels)
        for row, tensors in enumerate(self.held):
            for tensor, pixels in tensors.items():
                stored = self.tensors[tensor].channels if channels is None else int(channels[tensor])
                live[row, self.tensors[tensor].group] += pixels * stored
        return live


@dataclass(frozen=True, eq=False)
class PricedTiling:
    """A workload cut into tiles (``tiling`` None: whole) and priced on a device.

    Attributes:
        kinds: the different tiles, and how many there are of each.
        stored_channels: ``int64[T]`` for each kind, channels of its tensors as stored.
        table: the price of all of them together; its ``layers`` count the multiply-accumulates of all tiles.
        pictures: resident whole pictures, ``{tensor row: elements}``.
    """

    tiling: Tiling | None
    workload: Workload
    kinds: tuple[tuple[Workload, int], ...]
    stored_channels: tuple[np.ndarray, ...]
    table: CostTable
    pictures: dict[int, int]

    @property
    def tiles(self) -> int:
        """How many tiles (with a kept halo: steps) a picture has."""
        return sum(count for _, count in self.kinds)

    @cached_property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.table.layers)

    def schedule(self, plan: ArrayLike) -> Iterator[tuple[str, dict[str, int]]]:
        """As ``cost.schedule``, for the tile that needs most memory under ``plan int[D]``."""
        if self.tiling is None or self.table.arenas:
            yield from cost.schedule(self.table, self.workload, plan)
            return
        size = self.table.element_bytes[np.asarray(plan)[self.table.weighted :]]
        peaks = [
            float((tile.live_elements(stored) @ size).max())
            for (tile, _), stored in zip(self.kinds, self.stored_channels, strict=True)
        ]
        worst = int(np.argmax(peaks))
        tile = self.kinds[worst][0]
        assert isinstance(tile, Tile)
        yield from worst_tile(tile, self.pictures, size, self.stored_channels[worst])


class _Axis(NamedTuple):
    """Pieces of an axis that are alike: how many, and how many pixels of every tensor are new, kept before, and kept after."""

    new: np.ndarray
    before: np.ndarray
    after: np.ndarray
    number: int


def _axis(pieces: regions.Pieces) -> list[_Axis]:
    """The pieces of an axis by their shape."""
    new, before = pieces.end - pieces.begin, pieces.kept
    after = np.hstack([before[:, 1:], np.zeros((len(before), 1), dtype=np.int64)])
    tensors = len(new)
    kinds, counts = np.unique(np.vstack([new, before, after]), axis=1, return_counts=True)
    return [
        _Axis(kind[:tensors], kind[tensors : 2 * tensors], kind[2 * tensors :], int(count))
        for kind, count in zip(kinds.T, counts, strict=True)
    ]


def tiles(workload: Workload, tiling: Tiling) -> list[tuple[Tile, int]]:
    """The different tiles of a picture, and how many there are of each.

    Raises:
        UsageError: the tiling does not fit the picture, or a layer sees the whole picture.
    """
    source = next(tensor for tensor in workload.tensors if tensor.producer < 0)
    tiling.check(source.height, source.width)
    regions.check_local(workload)
    cut = regions.keep if tiling.halo == "keep" else regions.recompute
    rows = _axis(cut(workload, regions.ROWS, tiling.height))
    columns = _axis(regions.recompute(workload, regions.COLUMNS, tiling.width))
    return [(_tile(workload, r, c), r.number * c.number) for r, c in itertools.product(rows, columns)]


def _tile(workload: Workload, rows: _Axis, columns: _Axis) -> Tile:
    def tensor(row: int, whole: Tensor) -> Tensor:
        return replace(whole, height=max(1, int(rows.new[row])), width=int(columns.new[row]))

    def layer(whole: Layer) -> Layer:
        target = workload.tensors[whole.output]
        pixels = target.height * target.width
        share = int(rows.new[whole.output] * columns.new[whole.output])
        constants = tuple(constant.part(share, pixels) for constant in whole.constants)
        return replace(whole.with_macs(whole.macs * share // pixels), constants=constants)

    last_layer = len(workload.layers) - 1
    held: list[dict[int, int]] = [{} for _ in workload.layers]
    for row, whole in enumerate(workload.tensors):
        line = int(columns.new[row])
        last = max(whole.readers, default=last_layer)
        for at in range(len(workload.layers)):
            kept = int(rows.before[row] if at <= last else rows.after[row])
            # The row that stands for none takes no memory.
            absent = rows.new[row] == 0 and max(whole.producer, 0) <= at <= last
            if kept or absent:
                held[at][row] = (kept - int(absent)) * line
    return Tile(
        workload.name,
        tuple(map(layer, workload.layers)),
        tuple(tensor(row, whole) for row, whole in enumerate(workload.tensors)),
        workload.group_names,
        workload.uncounted,
        workload.written,
        workload.number_bytes,
        tuple(bool(rows.new[each.output]) for each in workload.layers),
        tuple(held),
    )


def lower(device: Device, workload: Workload, space: Space, tiling: Tiling | None = None) -> PricedTiling:
    """Price every choice of every layer, tile by tile (see ``cost.lower``); a tiling of one tile is no tiling.

    Raises:
        UncountedError, UsageError: as ``cost.lower`` and ``tiles``.
    """
    source = next(tensor for tensor in workload.tensors if tensor.producer < 0)
    if tiling is None or (tiling.height, tiling.width) == (source.height, source.width):
        table = cost.lower(device, workload, space)
        return PricedTiling(None, workload, ((workload, 1),), (table.stored_channels,), table, {})
    kinds = tiles(workload, tiling)
    priced = [(_masked(cost.lower(device, tile, space), tile), count) for tile, count in kinds]
    pictures = _pictures(workload) if device.limits.pictures == "resident" else {}
    stored = tuple(table.stored_channels for table, _ in priced)
    return PricedTiling(tiling, workload, tuple(kinds), stored, _together(priced, workload, pictures), pictures)


_TERMS = ("compute_s", "weight_s", "activation_s", "overhead_s", "latency_s", "energy_j")


def _masked(table: CostTable, tile: Workload) -> CostTable:
    """The table without the layers that do nothing."""
    assert isinstance(tile, Tile)
    active = np.array(tile.active, dtype=np.float64)[:, None, None, None]
    return replace(table, **{name: getattr(table, name) * active for name in _TERMS})


def _together(priced: Sequence[tuple[CostTable, int]], workload: Workload, pictures: dict[int, int]) -> CostTable:
    """One table for all tiles: times, energies and MACs are sums, memory is that of the worst moment."""
    first = priced[0][0]
    sums = {name: sum(count * getattr(table, name) for table, count in priced) for name in _TERMS}
    calls = sum(count for _, count in priced)
    live = np.unique(np.vstack([table.live for table, _ in priced]), axis=0)
    for row, elements in pictures.items():
        live[:, workload.tensors[row].group] += elements
    arenas = tuple(arena for table, _ in priced for arena in table.arenas)
    for row, elements in pictures.items():
        column, size = first.weighted + workload.tensors[row].group, elements * first.element_bytes
        arenas = tuple(arena.beside(When(column, NONE, _by_choice(arena, size))) for arena in arenas)
    layers = tuple(
        layer.with_macs(sum(count * table.layers[row].macs for table, count in priced))
        for row, layer in enumerate(workload.layers)
    )
    return replace(first, **sums, live=live, arenas=arenas, layers=layers, inference_s=calls * first.inference_s)


def _by_choice(arena: Arena, size_bytes: np.ndarray) -> np.ndarray:
    """``size_bytes float64[nA]`` as an arena takes it, ``float64[C, C]``."""
    choices = arena.buffers.size.shape[1]
    return np.tile(np.pad(size_bytes, (0, choices - len(size_bytes)), mode="edge")[:, None], choices)


def _pictures(workload: Workload) -> dict[int, int]:
    ends = (next(i for i, t in enumerate(workload.tensors) if t.producer < 0), workload.layers[-1].output)
    return {row: workload.tensors[row].elements for row in ends}


def worst_tile(
    tile: Tile, pictures: dict[int, int], size: np.ndarray, stored: np.ndarray
) -> Iterator[tuple[str, dict[str, int]]]:
    """For each layer of a tile, what is alive in bytes.

    ``size float64[G]`` is bytes per element of each width group, ``stored int64[T]`` the channels of each tensor as stored.
    """
    last_layer = len(tile.layers) - 1
    for at, layer in enumerate(tile.layers):
        alive = {}
        for row, tensor in enumerate(tile.tensors):
            own = max(tensor.producer, 0) <= at <= max(tensor.readers, default=last_layer)
            pixels = own * tensor.height * tensor.width + tile.held[at].get(row, 0)
            elements = pixels * int(stored[row]) + pictures.get(row, 0)
            if elements:
                alive[tensor.name] = math.ceil(elements * size[tensor.group])
        yield layer.name, alive


def candidates(workload: Workload) -> list[Tiling]:
    """Sizes worth a look: strips with either halo, and tiles that are nearly square, dividing the picture evenly.

    Empty for a network that sees the whole picture. Independent of any device, so that more memory never takes a size away.
    """
    if any(layer.window is None for layer in workload.layers):
        return []
    source = next(tensor for tensor in workload.tensors if tensor.producer < 0)
    found: dict[Tiling, None] = {}
    for height in _even(source.height):
        if height < source.height:
            found[Tiling(height, source.width, "keep")] = None
            found[Tiling(height, source.width, "recompute")] = None
        # As many columns as make the tile nearly square.
        width = min(_even(source.width), key=lambda w, h=height: abs(math.log(w / h)))  # type: ignore[misc]  # mypy infers no lambda with a default
        if width < source.width:
            found[Tiling(height, width, "recompute")] = None
    return [tiling for tiling in found if tiling.halo == "keep" or work(workload, tiling) <= MOST_WORK]


def work(workload: Workload, tiling: Tiling) -> float:
    """Multiply-accumulates of all tiles with their halo computed again, over those of the whole picture."""
    rows = regions.recompute(workload, regions.ROWS, tiling.height)
    columns = regions.recompute(workload, regions.COLUMNS, tiling.width)
    pixels = (rows.end - rows.begin).sum(axis=1) * (columns.end - columns.begin).sum(axis=1)
    done = sum(
        layer.macs * int(pixels[layer.output]) / (workload.tensors[layer.output].height * workload.tensors[layer.output].width)
        for layer in workload.layers
    )
    return done / max(workload.macs, 1)


def _even(length: int) -> list[int]:
    return list(dict.fromkeys(-(-length // parts) for parts in PARTS if parts <= length))


def never_faster(table: CostTable, other: CostTable) -> bool:
    """Whether every plan takes at least as long in ``table`` as in ``other``, by a bound: the least difference of every layer."""
    least = (table.latency_s - other.latency_s).min(axis=(1, 2, 3)).sum()
    return bool(least + table.inference_s - other.inference_s >= 0)
