"""Devices: what a target really executes, how fast, and what it can store; one TOML file each.

A device lists its *native* precisions with their dense multiply-accumulate rates. Any other width runs as the smallest native
precision that holds it, times an unpacking factor; only what is stored and moved shrinks, in the packing of the runtime.
The tables that every device may have are in ``tables``, that of each class of hardware in ``sections``; ``reader`` finds files
and collects their mistakes. The same pydantic classes make ``devices/device.schema.json``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, create_model

from hwmodels.device.facts import Fact, human, quantities
from hwmodels.device.sections.found import SECTIONS
from hwmodels.device.sections.section import Section
from hwmodels.device.tables import Arena, Energy, Limits, Memories, Overhead, Packing, Widths
from hwmodels.device.values import Count, Factor, Flag, Positive, PrecisionKey, Quantity, Table
from hwmodels.errors import UsageError
from hwmodels.numbers import Formats, NumberFormat, Precision, smallest

__all__ = ["Device", "Fact", "Quantity"]


Own = TypeVar("Own", bound=Section)


def _with_sections(described: type[Table]) -> Any:
    """The same class with a table for every class of hardware (see ``sections``), and their names as what ``kind`` may be."""
    added: dict[str, Any] = {"kind": (Literal[tuple(SECTIONS)], ...)}
    added |= {kind: (section | None, None) for kind, section in SECTIONS.items()}
    return create_model(
        described.__name__, __base__=described, __module__=described.__module__, __doc__=described.__doc__, **added
    )


@_with_sections
class Device(Table):
    """A target, as its file describes it. ``rates``: dense MAC/s of the native precisions; the table named ``kind`` is there."""

    schema_version: Literal[1] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    title: str
    kind: str
    aliases: tuple[str, ...] = ()
    runtime: str
    summary: str
    hypothetical: Flag = False
    default_input: tuple[Count, Count]
    rates: Annotated[dict[PrecisionKey, Positive], Field(min_length=1)]
    widths: Widths
    packing: Packing
    memory: Memories
    limits: Limits = Limits()
    overhead: Overhead = Overhead()
    arena: Arena = Arena()
    unpack: dict[PrecisionKey, Factor] = Field(default_factory=dict)
    energy: Energy = Energy()
    sources: dict[str, str] = Field(default_factory=dict)

    @property
    def section(self) -> Section:
        """The table named after its kind."""
        own = getattr(self, self.kind)
        assert isinstance(own, Section)
        return own

    def own(self, section: type[Own]) -> Own:
        """The table named after its kind, for those who know the class of hardware. Raises TypeError if it is another one."""
        found = self.section
        if not isinstance(found, section):
            raise TypeError(f"{self.name} is a {self.kind}, and describes no {section.kind}")
        return found

    @property
    def native(self) -> tuple[Precision, ...]:
        """The precisions with arithmetic of their own, ascending."""
        return tuple(sorted(Precision.parse(key) for key in self.rates))

    @property
    def has_energy(self) -> bool:
        """Whether the file has any figure of energy or power: without one, no energy is predicted."""
        memories = (self.memory.onchip, self.memory.dram, self.memory.flash)
        moved = any(memory is not None and memory.j_per_byte is not None for memory in memories)
        return moved or bool(self.energy.j_per_mac) or self.energy.static_w.value > 0

    @property
    def offered(self) -> Formats:
        """The formats on offer, and how they are written."""
        return Formats(self.weight_formats, self.tensor_formats)

    @property
    def weight_formats(self) -> tuple[NumberFormat, ...]:
        """The formats on offer for weights, ascending."""
        return self.widths.weight_formats

    @property
    def tensor_formats(self) -> tuple[NumberFormat, ...]:
        """The formats on offer for stored tensors, ascending."""
        return self.widths.tensor_formats

    def runs_as(self, weights: NumberFormat, activations: NumberFormat) -> Precision:
        """The smallest native precision that executes stored weights and an input tensor of these formats.

        Raises:
            UsageError: none holds them.
        """
        found = smallest(self.native, Precision(weights, activations))
        if found is None:
            raise UsageError(
                f"{self.name} cannot execute weights of {weights} with activations of {activations}",
                f"Native there: {', '.join(map(str, self.native))}.",
            )
        return found

    def stored_weights(self, weights: NumberFormat, runs_as: Precision) -> NumberFormat:
        """The format in which the runtime keeps weights of a layer that is executed in ``runs_as``. The only place of this rule.

        A runtime with byte containers builds them for the arithmetic, so a floating-point layer has floating-point weights there,
        however few bits they were rounded to; unless it expands narrow ones at load.
        """
        built = self.packing.kind == "bytes" and not self.packing.expanded_at_load
        return runs_as.weights if runs_as.is_float and (weights.is_wide or built) else weights

    def keeps(self, weights: NumberFormat, activations: NumberFormat) -> NumberFormat:
        """The format in which weights of this one are kept for a layer that reads a tensor of that one.

        Raises:
            UsageError: nothing executes them.
        """
        return self.stored_weights(weights, self.runs_as(weights, activations))

    def unpack_factor(self, weight_bits: int, activation_bits: int) -> float:
        """Compute-time factor (>= 1) for stored weights narrower than the precision they run as; 1 where none is listed.

        A factor given for 8-bit activations stands for the other activation widths too, unless they have their own.
        """
        for key in (f"W{weight_bits}A{activation_bits}", f"W{weight_bits}A8"):
            if key in self.unpack:
                return self.unpack[key].value
        return 1.0

    def quantities(self) -> Iterator[tuple[str, Quantity]]:
        """Every number of the file with its dotted key."""
        yield from quantities(self, "")

    def facts(self) -> list[Fact]:
        """Every number with unit, citation (None: assumed) and note, in the order of the file's tables."""
        return [Fact(key, human(key, q.value), self.sources.get(q.source or ""), q.note) for key, q in self.quantities()]

    @property
    def device_sha256(self) -> str:
        """Digest of what the file says: not of its comments and layout, nor of keys that have their defaults, so that a key which
        a later version knows turns no plan away. A default that changes is a change of the program, as a formula is."""
        content = json.dumps(self.model_dump(mode="json", by_alias=True, exclude_defaults=True), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()
