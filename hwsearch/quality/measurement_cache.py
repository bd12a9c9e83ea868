"""What is measured of a network and not of a device, kept for all devices of a run: calibration, damage tables, scores of plans.

Two devices share measurements when their widths mean the same: 16 bits integers on both or half precision on both, zero points on
8-bit activations on both or on neither. Whatever one of them offers is then measured once, on the union of their spaces; every
width is calibrated apart from the others, so each device gets the numbers that it would have got alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from hwmodels.numbers import INT16, NumberFormat
from hwsearch.documents.results import SignalToNoise
from hwsearch.quality.damage import Damage
from hwsearch.quality.evaluate import Score
from hwsearch.quant.calibrate import Calibration, calibrate
from hwsearch.quant.methods import USUAL
from searchspaces.ir.graph import Graph
from searchspaces.networks.registry import LoadedNetwork
from searchspaces.space import PlanRow, SearchSpace

Tables = dict[str, Damage]


@dataclass(eq=False)
class _Alike:
    """Devices whose widths mean the same: the union of their spaces, and what was measured so far."""

    space: SearchSpace
    calibration: Calibration | None = None
    tables: Tables | None = None
    ratios: list[SignalToNoise] | None = None
    scores: dict[PlanRow, Score] = field(default_factory=dict)


class MeasurementCache:
    """Measurements of one network for the devices whose ``spaces`` are given; ``network``: loaded once."""

    def __init__(self, network: LoadedNetwork, spaces: Iterable[SearchSpace]) -> None:
        self.network = network
        kinds: dict[tuple[NumberFormat, bool], list[SearchSpace]] = {}
        for space in spaces:
            kinds.setdefault(_meaning(space), []).append(space)
        self._alike = {meaning: _Alike(union(own)) for meaning, own in kinds.items()}

    def calibration(
        self,
        graph: Graph,
        lows: Sequence[Tensor],
        space: SearchSpace,
        seed: int,
        report: Callable[[str, float], None] | None,
        method: str = USUAL,
        teacher: Graph | None = None,
    ) -> Calibration:
        """The network calibrated for ``space`` by a method; the same one every time."""
        alike = self._alike[_meaning(space)]
        if alike.calibration is None:
            alike.calibration = calibrate(graph, lows, alike.space, method=method, seed=seed, progress=report, teacher=teacher)
        if space.formats == alike.space.formats:
            return alike.calibration
        return alike.calibration.within(space)

    def tables(self, space: SearchSpace, measure: Callable[[Calibration], Tables]) -> Tables:
        """Damage tables of ``space`` by proxy: cut out of those that ``measure`` makes once for all devices alike."""
        alike = self._alike[_meaning(space)]
        if alike.tables is None:
            alike.tables = measure(self._calibrated(alike))
        return {name: replace(table, noise=within(table.noise, alike.space, space)) for name, table in alike.tables.items()}

    def ratios(self, space: SearchSpace, measure: Callable[[Calibration], list[SignalToNoise]]) -> list[SignalToNoise]:
        """Signal to noise of the widths of ``space``, likewise."""
        alike = self._alike[_meaning(space)]
        if alike.ratios is None:
            alike.ratios = measure(self._calibrated(alike))
        offered = {
            (name, d < len(space.layer_names)): {space.widths(d)[c] for c in space.choices(d)}
            for d, name in enumerate(space.names)
        }
        cut = [
            row.model_copy(update={"db": {bits: db for bits, db in row.db.items() if bits in offered[row.name, row.is_weight]}})
            for row in alike.ratios
        ]
        return [row for row in cut if row.db]

    def score(self, plan: PlanRow, measure: Callable[[PlanRow], Score]) -> Score:
        """The score of ``plan``: measured, unless another device has asked for the same widths."""
        scores = self._alike[_meaning(plan.space)].scores
        if plan not in scores:
            scores[plan] = measure(plan)
        return scores[plan]

    def remember(self, space: SearchSpace, known: Mapping[PlanRow, Score]) -> None:
        """Take over what an earlier process has measured for one of the devices."""
        self._alike[_meaning(space)].scores.update(known)

    def _calibrated(self, alike: _Alike) -> Calibration:
        assert alike.calibration is not None, "calibrated before anything is measured"
        return alike.calibration


def _meaning(space: SearchSpace) -> tuple[NumberFormat, bool]:
    """What widths mean: the format above a byte (integers, where a space has none: it disagrees with nobody), and zero points."""
    return space.wide or INT16, space.symmetric_activations


def union(spaces: Sequence[SearchSpace]) -> SearchSpace:
    """The space of every choice that one of ``spaces`` offers; all are of one network."""
    weights = tuple(sorted({fmt for space in spaces for fmt in space.weight_formats}))
    tensors = tuple(sorted({fmt for space in spaces for fmt in space.tensor_formats}))
    first = spaces[0]
    allowed = np.zeros((first.decisions, max(len(weights), len(tensors))), dtype=bool)
    made = replace(first, weight_formats=weights, tensor_formats=tensors, allowed=allowed, counting=None, stored=())
    for space in spaces:
        for d in range(space.decisions):
            allowed[d, [made.widths(d).index(space.widths(d)[c]) for c in space.choices(d)]] = True
    return made


def within(noise: np.ndarray, whole: SearchSpace, space: SearchSpace) -> np.ndarray:
    """The entries ``float64[D, C]`` of a table over ``whole`` that are choices of ``space``; zero where nothing may be chosen."""
    cut = np.zeros(space.allowed.shape)
    for d in range(space.decisions):
        choices = space.choices(d)
        cut[d, choices] = noise[d, [whole.widths(d).index(space.widths(d)[c]) for c in choices]]
    return cut
