"""A graph beside the module that it was traced from: both are executed on the same random pictures."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from hwmodels.errors import FileError
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.tracing.recurrent import Recurrent
from searchspaces.tracing.sizes import EXAMPLE, OTHER, Size

TOLERANCE = 1e-4
"""Largest difference of graph and module over the largest output."""
FRAMES = 3
"""A network with state is compared on clips of so many."""


def check(
    graph: Graph, module: nn.Module, channels: int, scale: int | None = None, sizes: Sequence[Size] = (EXAMPLE, OTHER)
) -> float:
    """Execute graph and module on random pictures of several sizes; returns the largest difference over the largest output.

    A network may blow up rounding on random pictures: where the two differ, they are compared again in double precision. Where
    the module itself gives something else then, noise is no picture for it (attention without a scale picks one of many alike),
    and they are compared on a smooth one.

    Raises:
        FileError: they differ by more than 1e-4, or the output has not ``scale`` times the size of the input.
    """
    worst = 0.0
    random = torch.Generator().manual_seed(1)
    for place, (height, width) in enumerate(sizes):
        x = torch.rand(FRAMES if isinstance(module, Recurrent) else 1, channels, height, width, generator=random)
        with torch.no_grad():
            try:
                expected = module(x)
            except Exception:
                if place == 0:
                    raise
                continue  # made for sizes of its own, such as multiples of a window
            found = execute(graph, x)
        if not torch.isfinite(expected).all():
            raise FileError(
                f"{graph.name}: on a picture of noise from 0 to 1 the network gives values that are not finite"
                + _where(graph, x),
                "Its weights overflow, or it takes a root or a logarithm of what is not above zero.",
            )
        wanted = None if scale is None else (len(x), channels, height * scale, width * scale)
        if wanted is not None and tuple(expected.shape) != wanted:
            raise FileError(
                f"{graph.name}: a picture {tuple(x.shape)} becomes {tuple(expected.shape)}, not {wanted}",
                "Check the scale, and that the network returns a picture of as many channels as it reads.",
            )
        if found.shape != expected.shape:
            raise FileError(f"{graph.name}: traced at one picture size, the network has another shape at another size")
        difference = _difference(found, expected)
        if not difference < TOLERANCE:
            difference, own = _differences_in_double(graph, module, x, expected)
            if not difference < TOLERANCE and TOLERANCE < own < math.inf:
                picture = _smooth(x)
                with torch.no_grad():
                    difference = _difference(execute(graph, picture), module(picture))
        if not difference < TOLERANCE:
            raise FileError(
                f"{graph.name}: the traced graph differs from the network by {difference:.1e} at {height}x{width} pixels "
                "(height x width)",
                "The network decides by the size of the picture, or changes a tensor that is read elsewhere.",
            )
        worst = max(worst, difference)
    return worst


def refuse_memory(module: nn.Module, channels: int, name: str, size: Size) -> None:
    """Raise FileError where a module that is given one picture twice does not give the same twice: it keeps something of what it
    saw, which a graph of one picture leaves out."""
    x = torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        first, second = module(x), module(x)
    same = first.shape == second.shape and not _difference(second, first) > TOLERANCE
    if not same:
        raise FileError(
            f"{name}: given the same picture twice, the network gives two different ones",
            "It keeps something from call to call. A network with state derives from searchspaces.tracing.recurrent.Recurrent "
            "and gives its states beside the picture (see CONTRIBUTING.md); what only counts calls is to be left out.",
        )


def _where(graph: Graph, x: torch.Tensor) -> str:
    """The operator that first gives values that are not finite, in words; empty where none does."""
    broken: list[str] = []

    def look(node: Node, value: torch.Tensor) -> None:
        if not broken and not torch.isfinite(value).all():
            broken.append(f", first {node.name}")

    with torch.no_grad():
        execute(graph, x, look)
    return broken[0] if broken else ""


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


def _differences_in_double(graph: Graph, module: nn.Module, x: torch.Tensor, expected: torch.Tensor) -> tuple[float, float]:
    """The difference of copies in double precision, and that of the module from its own output in single precision; infinite
    where the module cannot be run in it."""
    nodes = tuple(replace(n, weights={role: weight.double() for role, weight in n.weights.items()}) for n in graph.nodes)
    try:
        with torch.no_grad():
            exact = copy.deepcopy(module).double()(x.double())
            return _difference(execute(replace(graph, nodes=nodes), x.double()), exact), _difference(expected.double(), exact)
    except Exception:  # tensors that its code makes in single precision
        return math.inf, math.inf


def _smooth(x: torch.Tensor) -> torch.Tensor:
    """A picture of as many pixels without detail, from a few of the values of ``x``."""
    few = x[..., :4, :4]
    return F.interpolate(few, size=x.shape[-2:], mode="bicubic", align_corners=True).clamp(0, 1)
