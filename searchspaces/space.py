"""What may be chosen: the widths that the network allows and the device can store, with ties, pins and scope.

A plan is a row of choice indices. Its first columns choose the weight width of each weighted layer (an index into
``weight_bits``), the remaining columns the width of each width group of tensors (an index into ``activation_bits``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwmodels.counting import Counting
from hwmodels.errors import UsageError, closest
from hwmodels.numbers import INT16, NumberFormat, Offered
from hwmodels.numbers import offered as formats_of
from hwmodels.workload import Workload
from searchspaces.scopes import SCOPES, Scope


@dataclass(frozen=True, eq=False)
class SearchSpace(Offered):
    """Choices of a workload on a device.

    Attributes:
        weight_formats, tensor_formats: the number formats on offer, ascending; no two of one width, so that a width names one.
        layer_names: the weighted layers, one weight decision each.
        group_names: the width groups, one activation decision each.
        allowed: ``bool[decisions, choices]``, ``choices = max(len(weight_bits), len(activation_bits))``; pins and scope as a
            mask.
        symmetric_activations: the device's runtime has no zero points on 8-bit activations.
        outside: decisions that the scope leaves out.
        counting: what the literature counts of a plan; None for a space that was made without a network.
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

    @property
    def formats(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the formats for weights and for tensors: what a choice means, whatever the device."""
        return tuple(map(str, self.weight_formats)), tuple(map(str, self.tensor_formats))

    @property
    def wide(self) -> NumberFormat | None:
        """The format above a byte that this space offers; None where it offers none."""
        return next((fmt for fmt in (*self.tensor_formats, *self.weight_formats) if fmt.is_wide), None)

    @property
    def decisions(self) -> int:
        return len(self.layer_names) + len(self.group_names)

    @property
    def names(self) -> tuple[str, ...]:
        return self.layer_names + self.group_names

    @property
    def size(self) -> float:
        """Number of plans in the space."""
        return float(np.prod(self.allowed.sum(axis=1), dtype=float))

    def choices(self, decision: int) -> np.ndarray:
        """Allowed choice indices of one decision, ascending in width."""
        return np.flatnonzero(self.allowed[decision])

    def widths(self, decision: int) -> tuple[int, ...]:
        return self.weight_bits if decision < len(self.layer_names) else self.activation_bits

    def uniform(self, weight_bits: int, activation_bits: int) -> np.ndarray:
        """The plan ``int8[decisions]`` nearest to one width everywhere; pinned decisions keep their pin, and a width that
        is not on offer becomes the next wider one."""
        plan = np.empty(self.decisions, dtype=np.int8)
        for d in range(self.decisions):
            wanted = weight_bits if d < len(self.layer_names) else activation_bits
            widths, options = self.widths(d), self.choices(d)
            wide_enough = [c for c in options if widths[c] >= wanted]
            plan[d] = wide_enough[0] if wide_enough else options[-1]
        return plan

    def has_widths(self, plan: np.ndarray, weight_bits: int, activation_bits: int) -> bool:
        """Whether the plan has these widths somewhere inside the scope: those outside it name no plan."""
        inside = set(range(self.decisions)) - self.outside
        found = {(d < len(self.layer_names), self.widths(d)[plan[d]]) for d in inside}
        return {(True, weight_bits), (False, activation_bits)} <= found

    def random(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Uniformly random plans, ``int8[count, decisions]``."""
        columns = [rng.choice(self.choices(d), size=count) for d in range(self.decisions)]
        return np.stack(columns, axis=1).astype(np.int8)

    def bits(self, plan: np.ndarray) -> tuple[dict[str, int], dict[str, int]]:
        """A plan as ``{layer: weight bits}, {group: activation bits}``."""
        split = len(self.layer_names)
        weights = {n: self.weight_bits[c] for n, c in zip(self.layer_names, plan[:split], strict=True)}
        activations = {n: self.activation_bits[c] for n, c in zip(self.group_names, plan[split:], strict=True)}
        return weights, activations

    def plan(self, weights: Mapping[str, int], activations: Mapping[str, int]) -> np.ndarray:
        """The inverse of ``bits``.

        Raises:
            UsageError: a name is missing or unknown, or a width is not on offer.
        """
        row = np.empty(self.decisions, dtype=np.int8)
        for names, given, widths, offset in (
            (self.layer_names, weights, self.weight_bits, 0),
            (self.group_names, activations, self.activation_bits, len(self.layer_names)),
        ):
            for unknown in set(given) - set(names):
                raise UsageError(f"the plan names {unknown!r}, which this network has not", closest(unknown, names))
            for i, name in enumerate(names):
                if name not in given:
                    raise UsageError(f"the plan has no width for {name!r}")
                if given[name] not in widths:
                    raise UsageError(
                        f"{given[name]} bits for {name!r} are not on offer", f"Widths here: {', '.join(map(str, widths))}."
                    )
                row[offset + i] = widths.index(given[name])
        return row


def build_space(
    workload: Workload,
    weight_bits: tuple[int, ...],
    activation_bits: tuple[int, ...],
    *,
    wide: NumberFormat | None = INT16,
    symmetric_activations: bool = False,
    scope: Scope = "all",
    outside_bits: tuple[int, int] | None = None,
    pins: Mapping[str, int] | None = None,
) -> SearchSpace:
    """The space of a workload for the widths that a device offers.

    Args:
        weight_bits, activation_bits: the widths to search, ascending.
        wide: what a width above a byte means: a 16-bit integer, or half precision.
        scope: which layers are searched at all (see ``scopes``). The others, and the tensors that none of the searched layers
            reads, have one width.
        outside_bits: that width, of weights and of tensors; it need not be among the widths to search. None: the widest of them.
        pins: layer or width-group name -> bits that it must have.
    Raises:
        UsageError: a pin names nothing, or asks for a width that is not on offer.
    """
    layer_names = tuple(workload.layers[i].name for i in workload.weighted)
    group_names = workload.group_names
    count = len(layer_names)
    kept = outside_bits or (weight_bits[-1], activation_bits[-1])
    inside = SCOPES[scope].inside(workload)
    offered = weight_bits, activation_bits
    if scope != "all":
        weight_bits = tuple(sorted({*weight_bits, kept[0]}))
        activation_bits = tuple(sorted({*activation_bits, kept[1]}))
    allowed = np.zeros((count + len(group_names), max(len(weight_bits), len(activation_bits))), dtype=bool)
    allowed[:count, [weight_bits.index(bits) for bits in offered[0]]] = True
    allowed[count:, [activation_bits.index(bits) for bits in offered[1]]] = True
    names = layer_names + group_names

    def pin(decision: int, index: int) -> None:
        allowed[decision] = False
        allowed[decision, index] = True

    outside: frozenset[int] = frozenset()
    if scope != "all":
        read = {workload.tensors[tensor].group for row in inside for tensor in workload.layers[row].inputs}
        searched = {d for d, row in enumerate(workload.weighted) if row in inside} | {count + group for group in read}
        outside = frozenset(range(len(names))) - searched
        for decision in outside:
            pin(decision, weight_bits.index(kept[0]) if decision < count else activation_bits.index(kept[1]))
    for name, bits in (pins or {}).items():
        if name not in names:
            raise UsageError(f"--pin names {name!r}, which this network has not", closest(name, names))
        for decision in (i for i, known in enumerate(names) if known == name):
            widths = weight_bits if decision < count else activation_bits
            if bits not in widths:
                raise UsageError(f"--pin {name}={bits}: not on offer", f"Widths: {', '.join(map(str, widths))}.")
            pin(decision, widths.index(bits))
    named = str(wide or INT16)
    return SearchSpace(
        formats_of(weight_bits, named),
        formats_of(activation_bits, named),
        layer_names,
        group_names,
        allowed,
        symmetric_activations,
        scope,
        outside,
        Counting.of(workload, weight_bits, activation_bits, inside),
    )
