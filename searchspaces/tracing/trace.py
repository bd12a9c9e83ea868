"""From a module to the canonical graph.

The module is exported by ``torch.export`` at a small picture size, its ATen calls are translated one by one (``walker``, and the
handlers in ``aten*``), and the result is simplified exactly (``simplify``). What cannot be translated becomes an ``unknown`` node
and is listed in ``Graph.uncounted``. The graph is executed and compared with the module, at other picture sizes too, because a
traced shape may hide in a constant.

Where sizes of the graph depend on the picture, a second trace at another size shows how (``formulas``). Where that has no
formula, a mask of windows for instance, the graph is one for a single size (``Graph.size``): ``trace`` makes it at whatever size
is asked for.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from hwmodels.errors import FileError
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ir.lower import propagate, to_workload
from searchspaces.ir.module import GraphModule
from searchspaces.ir.simplify import simplify
from searchspaces.tracing.formulas import WINDOWS, Differs, Sample, depends_on_size, joined
from searchspaces.tracing.sizes import Size, accepted, multiples, runs
from searchspaces.tracing.walker import Walker

__all__ = ["check", "propagate", "to_workload", "trace"]

EXAMPLE = (12, 16)
"""Height and width at which modules are exported, if they accept them."""
OTHER = (17, 14)
"""A second size, at which the graph must compute the same function."""
THIRD = (9, 20)
"""A third one."""
PLAIN_SIZES: tuple[Size, ...] = (EXAMPLE, OTHER, THIRD)
COARSER = (2, 4, 8, 16)
"""Multiples that are tried where a graph is not the module's at every size."""


def trace(module: nn.Module, channels: int, name: str, scale: int | None = None, size: Size | None = None) -> Graph:
    """Translate ``module`` (``[N, channels, H, W] -> [N, channels, scale*H, scale*W]``, range 0..1) to the canonical graph.

    Nodes carry the module paths of their layers. A layer that is called twice stands twice, the second as ``path@2``.

    Args:
        size: height and width of the pictures that the graph is for, where it cannot be for all (``Graph.size``); by default
            the smallest that suits the network.
    Raises:
        FileError: torch.export refuses the module (with its words), the module does not map a picture to a picture of
            ``scale`` times the size, or the graph computes something else than the module.
    """
    module.eval()
    if isinstance(module, GraphModule):  # a network that was read from a file
        return replace(module.at(size), name=name)
    if size is not None:
        return _of_one_size(module, channels, name, scale, size)
    step, sizes = 1, PLAIN_SIZES
    if any(runs(module, channels, tried) is not None for tried in sizes):
        step, sizes = accepted(module, channels, name)
    if len(sizes) == 1:
        return _of_one_size(module, channels, name, scale, sizes[0])
    nodes, uncounted = _walked(module, channels, name, Sample(*sizes[0]))
    if uncounted:
        return Graph(name, tuple(simplify(nodes)), tuple(uncounted), multiple=step)
    found = None
    if not depends_on_size(nodes):
        found = _for_multiples(Graph(name, tuple(simplify(nodes))), module, channels, scale, step, sizes)
    else:
        if sizes[0] == EXAMPLE:
            step, sizes = accepted(module, channels, name)
            nodes, uncounted = _walked(module, channels, name, Sample(*sizes[0]))
        found = _with_formulas(module, channels, name, nodes, step, sizes, scale)
    return found or _of_one_size(module, channels, name, scale, sizes[0])


def _for_multiples(
    graph: Graph, module: nn.Module, channels: int, scale: int | None, step: int, sizes: tuple[Size, ...]
) -> Graph | None:
    """The graph with the smallest multiple at which it is the module; None where it is for one size alone."""
    for multiple in (step, *(m for m in COARSER if m > step)):
        tried = sizes if multiple == step else (sizes[0], *multiples(multiple)[1:])
        if tried[0][0] % multiple or tried[0][1] % multiple:
            tried = multiples(multiple)
        try:
            check(graph, module, channels, scale, tried)
        except (FileError, ValueError, RuntimeError, IndexError):
            continue
        return replace(graph, multiple=multiple)
    return None


def _of_one_size(module: nn.Module, channels: int, name: str, scale: int | None, size: Size) -> Graph:
    """The graph for pictures of one size alone."""
    nodes, uncounted = _walked(module, channels, name, Sample(*size))
    graph = Graph(name, tuple(simplify(nodes)), tuple(uncounted), size=size)
    if not graph.uncounted:
        check(graph, module, channels, scale, (size,))
    return graph


def _with_formulas(
    module: nn.Module,
    channels: int,
    name: str,
    nodes: Sequence[Node],
    step: int,
    sizes: tuple[Size, ...],
    scale: int | None,
) -> Graph | None:
    """The graph with formulas for its sizes; None where it has none that hold."""
    for count in (2, 1):  # some calls are composed in another way for several pictures at once
        samples = (Sample(*sizes[0]), Sample(*sizes[1], count))
        try:
            second, uncounted = _walked(module, channels, name, samples[1])
        except FileError:
            continue
        tried: list[list[Node]] = []
        for window in WINDOWS if not uncounted else ():
            try:
                found = joined(nodes, second, samples, window)
            except Differs:
                continue
            if any([n.op for n in found] == [n.op for n in other] for other in tried):
                continue
            tried.append(found)
            graph = Graph(name, tuple(simplify(found)))
            checked = _for_multiples(graph, module, channels, scale, step, sizes)
            if checked is not None:
                return checked
    return None


def _walked(module: nn.Module, channels: int, name: str, sample: Sample) -> tuple[list[Node], list[str]]:
    example = torch.rand(sample.count, channels, *sample.shape, generator=torch.Generator().manual_seed(0))
    walker = Walker(_exported(module, example, name), tuple(example.shape))
    return walker.run(), walker.uncounted


def _exported(module: nn.Module, example: torch.Tensor, name: str) -> Any:
    try:
        with torch.no_grad(), _quiet():
            return torch.export.export(module, (example,), strict=False)
    except Exception as error:  # whatever the module's own code or the exporter raises
        first = (str(error).strip().splitlines() or [""])[0]
        raise FileError(
            f"{name}: torch.export cannot trace this network: {type(error).__name__}: {first}",
            "A network must take one picture tensor, and must not decide by the values in it.",
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own log lines and dumps: what the exporter refuses is in the exception."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def check(
    graph: Graph, module: nn.Module, channels: int, scale: int | None = None, sizes: Sequence[Size] = (EXAMPLE, OTHER)
) -> float:
    """Execute graph and module on random pictures of several sizes; returns the largest difference over the largest output.

    Raises:
        FileError: they differ by more than 1e-4, or the output has not ``scale`` times the size of the input.
    """
    worst = 0.0
    random = torch.Generator().manual_seed(1)
    for place, (height, width) in enumerate(sizes):
        x = torch.rand(1, channels, height, width, generator=random)
        with torch.no_grad():
            try:
                expected = module(x)
            except Exception:
                if place == 0:
                    raise
                continue  # made for sizes of its own, such as multiples of a window
            found = execute(graph, x)
        wanted = None if scale is None else (1, channels, height * scale, width * scale)
        if wanted is not None and tuple(expected.shape) != wanted:
            raise FileError(
                f"{graph.name}: a picture {tuple(x.shape)} becomes {tuple(expected.shape)}, not {wanted}",
                "Check the scale, and that the network returns a picture of as many channels as it reads.",
            )
        if found.shape != expected.shape:
            raise FileError(f"{graph.name}: traced at one picture size, the network has another shape at another size")
        difference = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))
        if not difference < 1e-4:
            raise FileError(
                f"{graph.name}: the traced graph differs from the network by {difference:.1e} at {width}x{height} pixels",
                "The network decides by the size of the picture, or changes a tensor that is read elsewhere.",
            )
        worst = max(worst, difference)
    return worst
