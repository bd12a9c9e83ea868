"""What may be chosen: the widths that the network allows and the device can store, with ties, pins and scope.

A plan (``PlanRow``) is a row of choice indices. Its first columns choose the number format of the weights of each weighted layer
(an index into ``weight_formats``), the others that of each width group of tensors (an index into ``tensor_formats``). Many plans
at once, to price or to predict, are a matrix ``int8[P, decisions]`` of such rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import SupportsIndex, overload

import numpy as np
from numpy.typing import DTypeLike

from hwmodels.counting import Counting
from hwmodels.errors import UsageError, closest
from hwmodels.numbers import INT16, NumberFormat, Offered, Width, bits_of, formats_of
from hwmodels.workload import Workload
from searchspaces.scopes import SCOPES, Scope


@dataclass(frozen=True, eq=False)
class SearchSpace(Offered):
    """Choices of a workload on a device.

    Attributes:
        weight_formats, tensor_formats: the number formats on offer, ascending.
        layer_names: the weighted layers, one weight decision each.
        group_names: the width groups, one activation decision each.
        allowed: ``bool[decisions, choices]``, ``choices = max(len(weight_bits), len(activation_bits))``; pins and scope as a
            mask.
        symmetric_activations: the device's runtime has no zero points on 8-bit activations.
        outside: decisions that the scope leaves out.
        counting: what the literature counts of a plan; None for a space that was made without a network.
        stored: ``[weight choice][tensor choice]``, the format in which the device keeps weights of a layer that reads such a
            tensor; empty: as chosen. Then a layer whose 8-bit weights would be kept in half precision has 16 bits: rounding them
            would change nothing but the quality (see ``row``).
    """

    weight_formats: tuple[NumberFormat, ...]
    tensor_formats: tuple[NumberFormat, ...]
    layer_names: tuple[str, ...]
    group_names: tuple[str, ...]
    allowed: np.ndarray
    symmetric_activations: bool = False
    scope: Scope = "all"
    outside: frozenset[int] = frozenset()
    counting: Counting | None = None
    stored: tuple[tuple[NumberFormat, ...], ...] = ()

    @property
    def formats(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the formats for weights and for tensors: what a choice means, whatever the device."""
        return tuple(map(str, self.weight_formats)), tuple(map(str, self.tensor_formats))

    @property
    def decisions(self) -> int:
        return len(self.layer_names) + len(self.group_names)

    @property
    def names(self) -> tuple[str, ...]:
        return self.layer_names + self.group_names

    @property
    def size(self) -> float:
        """Number of plans in the space, those that are stored alike counted once."""
        layers = len(self.layer_names)
        options = [self.choices(d) for d in range(self.decisions)]
        if self._kept is None or self.counting is None:
            return float(np.prod([len(own) for own in options], dtype=float))
        found = float(np.prod([len(options[d]) for d in np.flatnonzero(self._reads < 0)], dtype=float))
        for group, widths in enumerate(options[layers:]):
            readers = np.flatnonzero(self._reads == group)
            found *= sum(
                float(np.prod([len(set(self._kept[d, options[d], width])) for d in readers], dtype=float)) for width in widths
            )
        return found

    def choices(self, decision: int) -> np.ndarray:
        """Allowed choice indices of one decision, ascending in width."""
        return np.flatnonzero(self.allowed[decision])

    def widths(self, decision: int) -> tuple[Width, ...]:
        """The formats that one decision chooses from, as they are written."""
        return self._widths[0] if decision < len(self.layer_names) else self._widths[1]

    @cached_property
    def _widths(self) -> tuple[tuple[Width, ...], tuple[Width, ...]]:
        return self.weight_widths, self.tensor_widths

    def row(self, choices: Iterable[SupportsIndex]) -> PlanRow:
        """The plan of these choice indices, one a decision.

        Where the device would keep the weights of a layer in another format that is on offer, that is the layer's format: plans
        that are stored alike are one plan.
        """
        chosen = [int(choice) for choice in choices]
        if self._kept is not None and self.counting is not None:
            layers = len(self.layer_names)
            for d, group in enumerate(self._reads):
                if group >= 0:
                    chosen[d] = int(self._kept[d, chosen[d], chosen[layers + group]])
        return PlanRow(self, tuple(chosen))

    @cached_property
    def _kept(self) -> np.ndarray | None:
        """What a weight choice of a layer comes to beside a choice of what it reads, ``int8[layers, nW, nA]``: itself where the
        other format may not be chosen. None where every choice is kept as it is."""
        if not self.stored or self.counting is None:
            return None
        widths, tensors = len(self.weight_formats), len(self.tensor_formats)
        kept = np.empty((len(self.layer_names), widths, tensors), dtype=np.int8)
        for w, formats in enumerate(self.stored):
            for a, fmt in enumerate(formats):
                other = self.weight_formats.index(fmt) if fmt in self.weight_formats else w
                kept[:, w, a] = np.where(self.allowed[: len(kept), other], other, w)
        return None if (kept == np.arange(widths)[None, :, None]).all() else kept

    @cached_property
    def _reads(self) -> np.ndarray:
        """The width group that the layers of each weight decision read, ``int64[layers]``; -1 where they read several, so that
        no one width decides how the device keeps their weights."""
        assert self.counting is not None
        found = np.full(len(self.layer_names), -1, dtype=np.int64)
        for d in range(len(found)):
            groups = set(self.counting.reads[self.counting.column == d].tolist())
            found[d] = groups.pop() if len(groups) == 1 else -1
        return found

    def uniform(self, weights: Width, tensors: Width) -> PlanRow:
        """The plan nearest to one width everywhere; pinned decisions keep their pin, and a width that is not on offer becomes
        the next wider one."""
        layers = len(self.layer_names)
        return self.nearest([weights if d < layers else tensors for d in range(self.decisions)])

    def nearest(self, wanted: Sequence[Width]) -> PlanRow:
        """The plan nearest to a width for each decision: the allowed one, or the next of as many bits or more; the widest where
        there is none."""
        found = []
        for d, width in enumerate(wanted):
            widths, options, bits = self.widths(d), self.choices(d), bits_of(width)
            exact = next((c for c in options if widths[c] == width), None)
            wider = (c for c in options if bits_of(widths[c]) >= bits)
            found.append(next(wider, options[-1]) if exact is None else exact)
        return self.row(found)

    def allows(self, choices: Sequence[int]) -> bool:
        """Whether choice indices are a plan of this space."""
        kinds = self.allowed.shape[1]
        return len(choices) == self.decisions and all(0 <= c < kinds and self.allowed[d, c] for d, c in enumerate(choices))

    def has_widths(self, plan: PlanLike, weights: Width, tensors: Width) -> bool:
        """Whether the plan has these widths somewhere inside the scope: those outside it name no plan."""
        inside = set(range(self.decisions)) - self.outside
        found = {(d < len(self.layer_names), self.widths(d)[plan[d]]) for d in inside}
        return {(True, weights), (False, tensors)} <= found

    def random(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Uniformly random plans, ``int8[count, decisions]``."""
        columns = [rng.choice(self.choices(d), size=count) for d in range(self.decisions)]
        return np.stack(columns, axis=1).astype(np.int8)

    def named(self, plan: PlanLike) -> tuple[dict[str, Width], dict[str, Width]]:
        """A plan as it is written: ``{layer: width of its weights}, {group: width of its tensors}``."""
        widths = [self.widths(d)[c] for d, c in enumerate(plan)]
        split = len(self.layer_names)
        return dict(zip(self.layer_names, widths[:split], strict=True)), dict(zip(self.group_names, widths[split:], strict=True))

    def plan(self, weights: Mapping[str, Width], tensors: Mapping[str, Width]) -> PlanRow:
        """The inverse of ``named``.

        Raises:
            UsageError: a name is missing or unknown, or a width is not on offer.
        """
        row = []
        for names, given, widths in (
            (self.layer_names, weights, self.weight_widths),
            (self.group_names, tensors, self.tensor_widths),
        ):
            for unknown in set(given) - set(names):
                raise UsageError(f"the plan names {unknown!r}, which this network does not have", closest(unknown, names))
            for name in names:
                if name not in given:
                    raise UsageError(f"the plan has no width for {name!r}")
                if given[name] not in widths:
                    raise UsageError(f"{written(given[name])} for {name!r} is not on offer", f"Widths here: {listed(widths)}.")
                row.append(widths.index(given[name]))
        return self.row(row)


@dataclass(frozen=True, eq=False)
class PlanRow(Sequence[int]):
    """One plan: a choice for every decision of its space, as an immutable sequence of indices.

    Hashable. Two plans are equal where they choose the same number formats for the same decisions, whatever else their spaces
    offer: a plan that one device measured is known to another that has its widths. As an array it is ``int8[decisions]``.
    """

    space: SearchSpace
    choices: tuple[int, ...]

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[int, ...]: ...
    def __getitem__(self, at: int | slice) -> int | tuple[int, ...]:
        return self.choices[at]

    def __len__(self) -> int:
        return len(self.choices)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.choices, dtype=np.int8 if dtype is None else dtype)

    @cached_property
    def formats(self) -> tuple[NumberFormat, ...]:
        """The number format that each decision chooses."""
        layers = len(self.space.layer_names)
        weights, tensors = self.space.weight_formats, self.space.tensor_formats
        return tuple((weights if d < layers else tensors)[choice] for d, choice in enumerate(self.choices))

    @cached_property
    def digest(self) -> str:
        """Name of the plan among those of its space, the same on every machine."""
        return hashlib.sha256(np.asarray(self).tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlanRow) and self.formats == other.formats and self.space.names == other.space.names

    def __hash__(self) -> int:
        return hash(self.formats)


PlanLike = PlanRow | np.ndarray | Sequence[int]
"""Indices of one plan, one a decision, where it does not matter what else a plan knows."""


def matrix(plans: Iterable[PlanRow]) -> np.ndarray:
    """``int8[P, decisions]`` of one plan or more."""
    return np.stack([np.asarray(plan) for plan in plans])


def distinct(plans: Iterable[PlanRow]) -> list[PlanRow]:
    """Each plan once, in the order of its first appearance."""
    return list(dict.fromkeys(plans))


def build_space(
    workload: Workload,
    weights: Sequence[Width | NumberFormat],
    tensors: Sequence[Width | NumberFormat],
    *,
    wide: NumberFormat | None = INT16,
    symmetric_activations: bool = False,
    scope: Scope = "all",
    outside: tuple[Width | NumberFormat, Width | NumberFormat] | None = None,
    pins: Mapping[str, Width] | None = None,
    stored: Callable[[NumberFormat, NumberFormat], NumberFormat] | None = None,
) -> SearchSpace:
    """The space of a workload for the formats that a device offers.

    Args:
        weights, tensors: the formats to search, or their widths.
        wide: what a width above a byte means: a 16-bit integer, or half precision.
        scope: which layers are searched at all (see ``scopes``). The others, and the tensors that none of the searched layers
            reads, have one width.
        outside: that width, of weights and of tensors; it need not be among the widths to search. None: the widest of them.
        pins: layer or width-group name -> width that it must have.
        stored: (format of weights, of what the layer reads) -> the format in which the device keeps them; None: as it is.
    Raises:
        UsageError: a pin names nothing, or asks for a width that is not on offer.
    """
    layer_names = tuple(workload.layers[i].name for i in workload.weighted)
    group_names = workload.group_names
    count, names = len(layer_names), layer_names + group_names
    meant, inside = wide or INT16, SCOPES[scope].inside(workload)
    searched = [tuple(sorted({*formats_of(own, meant)})) for own in (weights, tensors)]
    rest = formats_of(outside or [own[-1] for own in searched], meant)
    offered = searched if scope == "all" else [tuple(sorted({*own, fmt})) for own, fmt in zip(searched, rest, strict=True)]
    without = frozenset[int]() if scope == "all" else _outside(workload, inside)
    pinned = {decision: rest[decision >= count] for decision in without}
    pinned |= _pinned(pins or {}, names, [offered[decision >= count] for decision in range(len(names))], meant)
    allowed = np.zeros((len(names), max(map(len, offered))), dtype=bool)
    for decision in range(len(names)):
        kind = int(decision >= count)
        own = [pinned[decision]] if decision in pinned else searched[kind]
        allowed[decision, [offered[kind].index(fmt) for fmt in own]] = True
    kept = () if stored is None else tuple(tuple(stored(fmt, read) for read in offered[1]) for fmt in offered[0])
    tensor_bits = [fmt.bits for fmt in offered[1]]
    stored_bits = [[fmt.bits for fmt in own] for own in kept] or [[fmt.bits] * len(tensor_bits) for fmt in offered[0]]
    return SearchSpace(
        offered[0],
        offered[1],
        layer_names,
        group_names,
        allowed,
        symmetric_activations,
        scope,
        without,
        Counting.of(workload, stored_bits, tensor_bits, inside),
        kept,
    )


def _outside(workload: Workload, inside: Collection[int]) -> frozenset[int]:
    """Decisions that are not searched: layers of which a part is not among the rows ``inside``, and tensors that none of these
    reads."""
    count, column = len(workload.weighted), workload.weight_columns
    read = {workload.tensors[tensor].group for row in inside for tensor in workload.layers[row].inputs}
    left_out = {column[row] for row in workload.weighing if row not in inside}
    within = {column[row] for row in inside} - left_out | {count + group for group in read}
    return frozenset(range(count + len(workload.group_names))) - within


def _pinned(
    pins: Mapping[str, Width], names: Sequence[str], offered: Sequence[Sequence[NumberFormat]], wide: NumberFormat
) -> dict[int, NumberFormat]:
    """Decision -> the format that its pin asks for, one of those ``offered`` to it.

    Raises:
        UsageError: a pin names nothing, or asks for a width that is not on offer.
    """
    found = {}
    for name, width in pins.items():
        if name not in names:
            raise UsageError(f"--pin names {name!r}, which this network does not have", closest(name, names))
        (fmt,) = formats_of([width], wide)
        for decision in (i for i, known in enumerate(names) if known == name):
            if fmt not in offered[decision]:
                raise UsageError(f"--pin {name}={width}: not on offer", f"Widths: {listed(offered[decision])}.")
            found[decision] = fmt
    return found


def written(width: Width) -> str:
    """A width in a sentence: ``8 bits``, ``fp8e4m3``."""
    return f"{width} bits" if isinstance(width, int) else width


def listed(widths: Iterable[Width | NumberFormat]) -> str:
    return ", ".join(map(str, widths))
