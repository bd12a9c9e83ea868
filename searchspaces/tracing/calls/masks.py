"""Masks of attention that hold minus infinity: places of which a softmax shall make nothing.

No grid of integers holds infinity, and none has to: a softmax gives zero for what lies far enough below the largest score. So
such a mask is an addition, as that of shifted windows is.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

from searchspaces.ops.maps.elementwise import Add
from searchspaces.ops.reading import NotRead
from searchspaces.tracing.aten import Walk, written_name
from searchspaces.tracing.calls.writes import in_place

FAR = -1e4
"""What is added for minus infinity: ``exp`` of it is zero in single precision, half precision holds it, and scores are small
beside it. Ranges of integers do not reach so far (``hwsearch.quant.ranges.masked``)."""
_PASSES = (
    *("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "permute", "transpose"),
    *("contiguous", "clone", "to", "_to_copy", "alias", "detach"),
)
_SOFTMAX = "softmax", "_softmax", "_safe_softmax"


def infinite(call: fx.Node, constant: Tensor) -> Tensor | None:
    """Where the constant of a call is minus infinity; None where it is so nowhere.

    Raises:
        NotRead: it has other infinities, or something else than a softmax reads the call's result.
    """
    found = torch.isinf(constant)
    if not bool(found.any()):
        return None
    if bool((constant[found] > 0).any()) or not only_softmax(call):
        raise NotRead("fills with infinity, which no format holds")
    return found


def hidden(walk: Walk, call: fx.Node, name: str, places: Tensor) -> str:
    """The scores ``name`` without those at ``places``."""
    return walk.emit(call, Add(), (name,), {"other": torch.zeros(places.shape).masked_fill(places, FAR)}, suffix="mask")


def only_softmax(call: fx.Node) -> bool:
    """Whether softmax alone reads what a call gives, views of it included; what it changes in place counts as its result."""
    readers = set(call.users)
    if in_place(call) and isinstance(call.args[0], fx.Node):
        readers |= {reader for reader in call.args[0].users if call < reader}
    return bool(readers) and all(
        written_name(reader) in _SOFTMAX or (written_name(reader) in _PASSES and only_softmax(reader)) for reader in readers
    )
