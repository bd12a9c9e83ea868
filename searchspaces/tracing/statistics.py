"""Recognises mean and standard deviation over a whole map when a network spells them out in elementary operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx  # arguments of traced calls are of many types; Any stands for "a call, if the checks before it hold"

from searchspaces.tracing.aten import written_name


@dataclass(frozen=True)
class Moment:
    """``kind`` ("mean" or "std", of the population) over height and width of ``source``."""

    kind: str
    source: fx.Node


def _name(node: Any) -> str:
    return written_name(node) if isinstance(node, fx.Node) else ""


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(int(side) for side in node.meta["val"].shape)


def _summed(node: Any) -> Any:
    """x, when ``node`` is the sum of x over height and width in one step or two."""
    over: list[int] = []
    while _name(node) == "sum" and len(node.args) > 1 and node.args[1]:
        over += [d % len(_shape(node.args[0])) for d in node.args[1]]
        node = node.args[0]
    return node if sorted(over) == [2, 3] and len(_shape(node)) == 4 else None


def _averaged(node: Any) -> Any:
    """x, when ``node`` is the mean of x over height and width."""
    if _name(node) == "mean" and len(node.args) > 1 and node.args[1]:
        source = node.args[0]
        return source if len(_shape(source)) == 4 and sorted(d % 4 for d in node.args[1]) == [2, 3] else None
    if _name(node) == "div":
        source = _summed(node.args[0])
        if source is not None and node.args[1] == _shape(source)[2] * _shape(source)[3]:
            return source
    return None


def of_population(call: Any) -> bool:
    """Whether a call of ``var`` or ``std`` is over height and width, without Bessel's correction."""
    schema = call.target._schema
    bound: dict[str, Any] = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    bound.update(zip((a.name for a in schema.arguments), call.args, strict=False))
    bound.update(call.kwargs)
    corrected = bound.get("correction", bound.get("unbiased", True))
    dims = bound.get("dim")
    whole = len(_shape(call.args[0])) == 4 and dims is not None and sorted(d % 4 for d in dims) == [2, 3]
    return whole and corrected in (0, False)


def match_moment(node: Any) -> Moment | None:
    """The moment that ``node`` computes, if it does; a mean that is one operator already is left to its handler."""
    if _name(node) == "div":
        source = _averaged(node)
        return Moment("mean", source) if source is not None else None
    deviation: Any = None
    if _name(node) == "sqrt" or (_name(node) == "pow" and node.args[1] == 0.5):
        deviation = node.args[0]
    if deviation is None:
        return None
    if _name(deviation) == "var":
        return Moment("std", deviation.args[0]) if of_population(deviation) else None
    squared = _averaged(deviation)
    if squared is None or _name(squared) != "pow" or squared.args[1] != 2:
        return None
    centred = squared.args[0]
    if _name(centred) != "sub" or _averaged(centred.args[1]) is not centred.args[0]:
        return None
    return Moment("std", centred.args[0])
