"""Files whose pictures are bytes: a conversion to floating point in front, rounding and a conversion back behind.

That is how a network is wrapped for a program that hands over pixels as they are. The conversions belong to the program, not to
the network: readers leave them out, so that what remains is the network for values of 0..255.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Operator = TypeVar("Operator")
Value = TypeVar("Value")
BYTES, UNIT = "0..255", "0..1"


@dataclass(frozen=True)
class BytePictures:
    """Whether the pictures that a file takes (``taken``) and gives (``given``) are bytes."""

    taken: bool
    given: bool

    @property
    def remark(self) -> str:
        """What a user is told; empty where there are none."""
        if not (self.taken or self.given):
            return ""
        does = " and ".join(word for word, true in (("takes", self.taken), ("gives", self.given)) if true)
        return f"It {does} bytes: the network between the conversions is read; rounding is left to the width of its output."

    def value_range(self, of_codes: str) -> str:
        """The range of values that the network between expects, where that of codes is ``of_codes``."""
        if self.taken:
            return BYTES
        return f"{of_codes or UNIT}:{BYTES}" if self.given else of_codes


FLOATING = BytePictures(taken=False, given=False)
"""Pictures as most files have them."""


@dataclass(frozen=True)
class Wiring(Generic[Operator, Value]):
    """Operators of a file, whatever its format.

    Attributes:
        writers: value -> the operator that writes it.
        reads: value -> how often it is read, as an output of the file too.
        kind: ``converts`` (to bytes), ``rounds`` (to the nearest), ``cuts`` (to the next smaller), ``adds``, ``bounds`` (what may
            lie between the rounding of a picture and its conversion), ``moves``; anything else is another operator.
        inputs: what an operator reads, its picture first.
        is_half: whether a value is the constant 0.5.
    """

    writers: Mapping[Value, Operator]
    reads: Mapping[Value, int]
    kind: Callable[[Operator], str]
    inputs: Callable[[Operator], Sequence[Value]]
    is_half: Callable[[Value], bool]

    def before(self, value: Value, passed: tuple[str, ...]) -> Operator | None:
        """What writes a value, before operators of the kinds that are ``passed``; None where nothing does, they go round in a
        circle, or something else reads what is on the way."""
        seen: set[Value] = set()
        while self.reads.get(value) == 1 and value not in seen:
            writer = self.writers.get(value)
            if writer is None or not self.inputs(writer):
                return None
            if self.kind(writer) not in passed:
                return writer
            seen.add(value)
            value = self.inputs(writer)[0]
        return None


def conversions(wiring: Wiring[Operator, Value], output: Value) -> list[tuple[Operator, Value]]:
    """Operators that make bytes of an output of floating point, each with the value that it is to hand on in their place: the
    conversion, the rounding right before it, and a half that is added so that cutting off rounds. Empty where the output is not
    converted."""
    near = ("moves", "bounds")
    converts = wiring.before(output, ("moves",))
    if converts is None or wiring.kind(converts) != "converts":
        return []
    picture = wiring.inputs(converts)[0]
    found = [(converts, picture)]
    before = wiring.before(picture, near)
    if before is not None and (kind := wiring.kind(before)) in ("rounds", "cuts"):
        picture = wiring.inputs(before)[0]
        found.append((before, picture))
        before = wiring.before(picture, near) if kind == "cuts" else None
    if before is not None and wiring.kind(before) == "adds":
        values = wiring.inputs(before)[:2]
        halves = [wiring.is_half(value) for value in values]
        if halves.count(True) == 1 and len(values) == 2:
            found.append((before, values[halves.index(False)]))
    return found
