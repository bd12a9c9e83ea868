"""Derivatives of normalizations of what few bits have made constant.

A normalization divides a row by its own deviation, and so does its derivative. Where the network normalizes what it has added up,
rows may be of any size: in published HiT-SRF x4 the rows of one tensor lie a factor of 30 apart, and at 4 bits the small ones are
rounded to nothing. Their deviation is then the ``eps`` of the normalization, a 1e14th of what it was, and a derivative grows by
as much: behind a few such blocks it is no number any more (of all windows at 2 and 3 bits, and of five in eight at 4).

A row that varies less than any does in the floating-point network does so by rounding, and where it would lie without is not
known to that accuracy. So its derivative is that of the least row there is. Values stay, and so do all derivatives of other rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ops.reductions.norm import Norm

PICTURES = 8
"""On how many pictures the least rows are looked for."""


class _Scaled(torch.autograd.Function):
    """A tensor as it is, of whose gradient ``share`` arrives."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Tensor) -> Tensor:
        ctx.save_for_backward(share)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (share,) = ctx.saved_tensors
        return gradient * share, None


def least_rows(network: Graph, pictures: Sequence[Tensor]) -> dict[str, float]:
    """What the normalizations of a network divide by at least, by name, on the first of ``pictures [1, C, h, w]``."""
    sources = {node.inputs[0] for node in network.nodes if isinstance(node.op, Norm)}
    found: dict[str, float] = {}
    for picture in pictures[:PICTURES] if sources else ():
        read: dict[str, Tensor] = {}

        def keep(node: Node, y: Tensor, read: dict[str, Tensor] = read) -> None:
            if node.name in sources:
                read[node.name] = y
            if isinstance(node.op, Norm):
                least = float(node.op.divisor(read[node.inputs[0]]).min())
                found[node.name] = min(found.get(node.name, least), least)

        with torch.no_grad():
            execute(network.at(*picture.shape[2:]), picture, keep)
    return found


def damped(op: Norm, x: Tensor, least: float) -> Tensor:
    """What a normalization reads, whose derivatives are those of rows that are divided by ``least`` or more."""
    with torch.no_grad():
        share = (op.divisor(x) / least).clamp_max(1)
    if bool(share.min() == 1):
        return x
    scaled: Tensor = _Scaled.apply(x, share)  # type: ignore[no-untyped-call]  # torch does not type it
    return scaled
