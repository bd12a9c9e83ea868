"""Blocks of a network, and the network without some of them: what ships is smaller, and everything else sees no more than that.

A block is a part of a module, with parts of its own that have weights, which gives a tensor of the shape of the one it is given.
Most are residual, ``x + f(x)``: without it ``x`` passes, as in slimmable networks (QuantSR, NeurIPS 2023; stochastic depth, Huang
et al. 2016). It is named as in the module's state dict, ``IMDB3`` or ``body.layers.0.1``. What is left computes something else,
and is to be trained: methods that train take the whole network for their target (``LoadedNetwork.whole``).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from hwmodels.errors import UsageError
from searchspaces.ir.module import GraphModule
from searchspaces.networks.registry import LoadedNetwork

SIDE = 64
"""Pixels of a picture's side on which shapes are seen, where the network names no size."""


class Dropped(nn.Module):
    """Where a block was: what it is given first passes."""

    def forward(self, x: Tensor, *others: object, **named: object) -> Tensor:
        return x


def blocks(network: LoadedNetwork) -> tuple[str, ...]:
    """Names of all blocks, outer ones before those in them, in the order of the module."""
    if isinstance(network.module, GraphModule):
        return ()
    alike: set[str] = set()

    def watch(name: str) -> object:
        def seen(part: nn.Module, given: tuple[object, ...], result: object) -> None:
            first = given[0] if given else None
            if isinstance(first, Tensor) and isinstance(result, Tensor) and first.shape == result.shape:
                alike.add(name)
            else:
                alike.discard(name)

        return seen

    composite = {name: part for name, part in network.module.named_modules() if name and _has_weighted_parts(part)}
    handles = [part.register_forward_hook(watch(name)) for name, part in composite.items()]
    try:
        with torch.no_grad():
            network.module(torch.zeros(1, network.channels, *(network.size or (SIDE, SIDE))))
    finally:
        for handle in handles:
            handle.remove()
    return tuple(name for name in composite if name in alike)


def _has_weighted_parts(part: nn.Module) -> bool:
    return any(next(child.parameters(), None) is not None for child in part.children())


def inside(name: str, other: str) -> bool:
    """Whether the block ``name`` lies in the block ``other``."""
    return name.startswith(f"{other}.")


def without(network: LoadedNetwork, names: Iterable[str]) -> LoadedNetwork:
    """The network without some blocks.

    Raises:
        UsageError: one is none of its blocks, or lies in another that is dropped, or no block would be left.
    """
    dropped, known = tuple(dict.fromkeys(names)), blocks(network)
    outer = [name for name in known if not any(inside(name, other) for other in known)]
    for name in dropped:
        if name not in known:
            listed = (
                f"Blocks: {', '.join(outer)}, and parts of them." if known else "It has none: no part gives the shape it takes."
            )
            raise UsageError(f"{network.name} has no block {name!r} to drop", listed)
        if around := next((other for other in dropped if inside(name, other)), None):
            raise UsageError(f"the block {name} lies in {around}, which is dropped", "Name one of them.")
    if dropped and not set(outer) - set(dropped):
        raise UsageError(f"{network.name} would have no block left", f"Keep one of {', '.join(outer)}.")
    module = copy.deepcopy(network.module)
    for name in dropped:
        module.set_submodule(name, Dropped())
    return replace(network, module=module.eval(), dropped=dropped)
