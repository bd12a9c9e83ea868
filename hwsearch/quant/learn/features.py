"""What of two networks is compared while one is trained to be like the other: tensors in their middle, and distances of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from searchspaces.ir.graph import Graph
from searchspaces.ir.shapes import known_channel_axes
from searchspaces.ops.maps.elementwise import Add

Distance = Callable[[Tensor, Tensor], Tensor]
"""Of two features ``[N, ...]``."""


def feature_names(graph: Graph) -> list[str]:
    """Tensors whose distance is part of the loss: sums, which are the ends of residual blocks and of layers with branches, or
    every layer's result where there are none. Only those of pictures ``[N, C, H, W]``: tokens have no place of their own for each
    picture."""
    axes = known_channel_axes(graph)
    sums = [node.name for node in graph.nodes if isinstance(node.op, Add) and axes[node.name] == 1]
    return sums or [node.name for node in graph.convs[:-1] if axes[node.name] == 1]


def _unit(x: Tensor) -> Tensor:
    """Each picture of ``[N, ...]`` as a vector of length one."""
    flat = x.flatten(1)
    length: Tensor = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return flat / length.clamp_min(1e-12)


def of_directions(f: Tensor, g: Tensor) -> Tensor:
    """``|| f / ||f|| - g / ||g|| ||``, the mean over pictures."""
    apart: Tensor = torch.linalg.vector_norm(_unit(f) - _unit(g), dim=1)
    return apart.mean()


def of_energies(f: Tensor, g: Tensor) -> Tensor:
    """The mean squared difference of where two features have their energy: the mean square over channels, as a unit vector."""
    return (_unit(f.square().mean(dim=1)) - _unit(g.square().mean(dim=1))).square().mean()


def of_units(f: Tensor, g: Tensor) -> Tensor:
    """The mean squared difference of two features as vectors of length one."""
    return (_unit(f) - _unit(g)).square().mean()


def of_steps(f: Tensor, g: Tensor) -> Tensor:
    """The mean absolute difference of two pictures in 0..1, in steps of 8 bits."""
    return 255 * (f - g).abs().mean()


def of_squares(f: Tensor, g: Tensor) -> Tensor:
    """The mean squared difference of two pictures in 0..1, in squares of 8-bit steps."""
    return (255 * (f - g)).square().mean()


def of_lengths(f: Tensor, g: Tensor) -> Tensor:
    """``|| f - g ||`` of each picture, the mean over pictures."""
    apart: Tensor = torch.linalg.vector_norm((f - g).flatten(1), dim=1)
    return apart.mean()
