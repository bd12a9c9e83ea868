"""From a module to the canonical graph.

The module is exported by ``torch.export`` at a small picture size, its ATen calls are translated one by one (``walker``, and the
handlers in ``calls``), and the result is simplified exactly (``simplify``). What cannot be translated becomes an ``unknown`` node
and is listed in ``Graph.uncounted``. The graph is executed and compared with the module, at other picture sizes too, because a
traced shape may hide in a constant.

Where sizes of the graph depend on the picture, a second trace at another size shows how (``formulas``). Where that has no
formula, a mask of windows for instance, the graph is one for a single size (``Graph.size``): ``trace`` makes it at whatever size
is asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from hwmodels.errors import FileError
from searchspaces.ir.graph import Graph, Node
from searchspaces.ir.module import GraphModule
from searchspaces.ir.simplify import simplify
from searchspaces.ops.registry import operators
from searchspaces.tracing.compared import check, refuse_memory
from searchspaces.tracing.exported import Traced
from searchspaces.tracing.formulas import WINDOWS, Differs, TraceSize, depends_on_size, holds_sizes, joined
from searchspaces.tracing.recurrent import Recurrent
from searchspaces.tracing.sizes import EXAMPLE, PLAIN_SIZES, Size, accepted, multiples, runs
from searchspaces.tracing.thresholds import COMPARED, RESTS, changed, rounded

LARGE = 64
"""What windows of a network are at most, as a rule."""
COARSER = (2, 4, 8, 16)
"""Multiples that are tried where a graph is not the module's at every size."""


def trace(
    module: nn.Module, channels: int, name: str, scale: int | None = None, size: Size | None = None, otherwise: Size | None = None
) -> Graph:
    """Translate ``module`` (``[N, channels, H, W] -> [N, channels, scale*H, scale*W]``, range 0..1) to the canonical graph.

    Nodes carry the module paths of their layers. A layer that is called twice stands twice, the second as ``path@2``.

    Args:
        size: height and width of the pictures that the graph is for, and it is compared with the module at them.
        otherwise: the same, of a graph that cannot be for all sizes (``Graph.size``) alone; by default the smallest that suits
            the network. Such a graph is compared with the module at a small size where it has the same operators there: at that
            of a whole picture the comparison would take minutes.
    Raises:
        FileError: torch.export refuses the module (with its words), the module does not map a picture to a picture of
            ``scale`` times the size, or the graph computes something else than the module.
    """
    module.eval()
    len(operators())  # those of packages and plug-ins say how calls of theirs are read
    if not isinstance(module, Recurrent) and any(isinstance(inner, Recurrent) for inner in module.modules()):
        raise FileError(f"{name}: a network with state stands inside {type(module).__name__}, which would forget its state")
    if isinstance(module, GraphModule):  # a network that was read from a file
        return replace(module.at(size or otherwise), name=name)
    traced = Traced(module, channels, name, scale)
    if size is not None:
        return _of_one_size(traced, size)
    step, sizes = 1, PLAIN_SIZES
    if any(runs(module, channels, tried) is not None for tried in sizes):
        step, sizes = accepted(module, channels, name, otherwise)
    if len(sizes) == 1:
        return _of_size(traced, otherwise or sizes[0], sizes[0])
    nodes, uncounted = traced.at(TraceSize(*sizes[0]))
    if uncounted:
        refused = Graph(name, tuple(simplify(nodes)), tuple(uncounted), multiple=step)
        return _in_even_windows(traced, refused, step) or refused
    if not isinstance(module, Recurrent):
        refuse_memory(module, channels, name, sizes[0])
    found = None
    if not depends_on_size(nodes):
        found = _for_multiples(traced, Graph(name, tuple(simplify(nodes))), step, sizes)
    if found is None or found.multiple > step:  # a size may hide in what is not cut off at the smallest one
        other = _with_formulas(traced, *(accepted(module, channels, name) if sizes[0] == EXAMPLE else (step, sizes)))
        found = other if found is None or (other is not None and other.multiple < found.multiple) else found
    if found is not None and not _goes_on(traced, found):
        found = None
    found = found or _of_size(traced, otherwise or sizes[0], sizes[0])
    return _in_even_windows(traced, found, step) or found


def _for_multiples(traced: Traced, graph: Graph, step: int, sizes: tuple[Size, ...]) -> Graph | None:
    """The graph with the smallest multiple at which it is the module; None where it is for one size alone."""
    for multiple in (step, *(m for m in COARSER if m > step)):
        tried = sizes if multiple == step else (sizes[0], *multiples(multiple)[1:])
        if tried[0][0] % multiple or tried[0][1] % multiple:
            tried = multiples(multiple)
        if holds_sizes(graph.nodes):
            tried = (*tried, *(rounded(size, multiple) for size in RESTS))
        try:
            _check(traced, graph, tried)
        except (FileError, ValueError, RuntimeError, IndexError):
            continue
        return replace(graph, multiple=multiple)
    return None


def _goes_on(traced: Traced, graph: Graph) -> bool:
    """Whether a graph for many sizes is the module at larger ones too."""
    size = changed(traced.module, traced.channels, multiples(graph.multiple)[:2], graph.multiple)
    if size is None or size[0] * size[1] > COMPARED:
        return size is None
    try:
        _check(traced, graph, (size,))
    except (FileError, ValueError, RuntimeError, IndexError):
        return False
    return True


def _in_even_windows(traced: Traced, refused: Graph, step: int) -> Graph | None:
    """The graph for multiples of a size at which windows whose number is a part of the picture's side are all alike; None where
    they are not what stands in the way, or no multiple is known."""
    if not traced.uneven_at or not (refused.uncounted or refused.size):
        return None
    for multiple in (m for m in COARSER if m > step):
        sizes = multiples(multiple)
        if any(runs(traced.module, traced.channels, size) is not None for size in sizes):
            continue
        nodes, uncounted = traced.at(TraceSize(*sizes[0]))
        if uncounted:
            continue
        if depends_on_size(nodes):
            found = _with_formulas(traced, multiple, sizes)
        else:
            found = _for_multiples(traced, Graph(traced.name, tuple(simplify(nodes))), multiple, sizes)
        if found is not None:
            return found
    return None


def _of_one_size(traced: Traced, size: Size) -> Graph:
    """The graph for pictures of one size alone, compared with the module at it."""
    graph = _unchecked(traced, size)
    if not graph.uncounted:
        if not isinstance(traced.module, Recurrent):
            refuse_memory(traced.module, traced.channels, traced.name, size)
        _check(traced, graph, (size,))
    return graph


def _of_size(traced: Traced, size: Size, small: Size) -> Graph:
    """The same, compared at a small size where that has the same operators: the one given, or one that is as far beyond whole
    windows as ``size`` is."""
    wanted = _unchecked(traced, size)
    beyond = (size[0] % LARGE + LARGE, size[1] % LARGE + LARGE)
    for tried in (small, beyond):
        if wanted.uncounted or 2 * tried[0] * tried[1] > size[0] * size[1]:
            continue
        try:
            alike = _unchecked(traced, tried)
        except FileError:  # it does not run at that size
            continue
        if _calls(alike) == _calls(wanted):
            _check(traced, alike, (tried,))
            return wanted
    return _of_one_size(traced, size)


def _unchecked(traced: Traced, size: Size) -> Graph:
    nodes, uncounted = traced.at(TraceSize(*size))
    return Graph(traced.name, tuple(simplify(nodes)), tuple(uncounted), size=size)


def _calls(graph: Graph) -> list[tuple[object, ...]]:
    """What a graph computes, without the numbers that sizes and constants are."""
    return [(node.name, type(node.op), node.inputs, tuple(node.weights)) for node in graph.nodes]


def _with_formulas(traced: Traced, step: int, sizes: tuple[Size, ...]) -> Graph | None:
    """The graph with formulas for its sizes; None where it has none that hold."""
    nodes, _ = traced.at(TraceSize(*sizes[0]))
    best: Graph | None = None
    for count in (2, 1):  # some calls are composed in another way for several pictures at once
        samples = (TraceSize(*sizes[0]), TraceSize(*sizes[1], count))
        if samples[0] in traced.uneven_at:  # windows of several widths are written out one by one: no formula has them
            return None
        try:
            second, uncounted = traced.at(samples[1])
        except FileError:
            continue
        tried: list[list[Node]] = []
        for window, own in itertools.product(WINDOWS, (False, True)) if not uncounted else ():
            try:
                found = joined(nodes, second, samples, window, own=own)
            except Differs as difference:
                if difference.for_any_count:
                    return None
                continue
            if any([n.op for n in found] == [n.op for n in other] for other in tried):
                continue
            tried.append(found)
            checked = _for_multiples(traced, Graph(traced.name, tuple(simplify(found))), step, sizes)
            if checked is not None and (best is None or checked.multiple < best.multiple):
                best = checked
            if best is not None and best.multiple == step:
                return best
        if best is not None:
            return best
    return None


def _check(traced: Traced, graph: Graph, sizes: Sequence[Size]) -> None:
    """Raise FileError where a graph is not the module at one of the sizes."""
    check(graph, traced.module, traced.channels, traced.scale, sizes)
