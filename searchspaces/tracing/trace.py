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

import contextlib
import copy
import gc
import io
import itertools
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hwmodels.errors import FileError
from searchspaces.ir.graph import Graph, Node, execute
from searchspaces.ir.module import GraphModule
from searchspaces.ir.simplify import simplify
from searchspaces.ops.registry import operators
from searchspaces.tracing import refusals
from searchspaces.tracing.calls.pooling import UNEVEN
from searchspaces.tracing.formulas import WINDOWS, Differs, TraceSize, depends_on_size, holds_sizes, joined
from searchspaces.tracing.masked import KnownMasks
from searchspaces.tracing.recurrent import Recurrent, stepped
from searchspaces.tracing.sizes import Size, accepted, multiples, runs
from searchspaces.tracing.thresholds import COMPARED, RESTS, changed, rounded
from searchspaces.tracing.walker import Walker

EXAMPLE = (12, 16)
"""Height and width at which modules are exported, if they accept them."""
OTHER = (17, 14)
"""A second size, at which the graph must compute the same function."""
THIRD = (9, 20)
"""A third one."""
PLAIN_SIZES: tuple[Size, ...] = (EXAMPLE, OTHER, THIRD)
LARGE = 64
"""What windows of a network are at most, as a rule."""
TOLERANCE = 1e-4
"""Largest difference of graph and module over the largest output."""
FRAMES = 3
"""A network with state is compared on clips of so many."""
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
    traced = _Traced(module, channels, name, scale)
    if size is not None:
        return _of_one_size(traced, size)
    step, sizes = 1, PLAIN_SIZES
    if any(runs(module, channels, tried) is not None for tried in sizes):
        step, sizes = accepted(module, channels, name)
    if len(sizes) == 1:
        return _of_size(traced, otherwise or sizes[0], sizes[0])
    nodes, uncounted = traced.at(TraceSize(*sizes[0]))
    if uncounted:
        refused = Graph(name, tuple(simplify(nodes)), tuple(uncounted), multiple=step)
        return _in_even_windows(traced, refused, step) or refused
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


class _Traced:
    """A module, exported once at each size and walked.

    Attributes:
        scale: what it enlarges pictures by, None where that is not asked.
        uneven_at: samples that were pooled in windows which are not all alike.
    """

    def __init__(self, module: nn.Module, channels: int, name: str, scale: int | None) -> None:
        self.module, self.channels, self.name, self.scale = module, channels, name, scale
        self.uneven_at = set[TraceSize]()
        self._walked: dict[TraceSize, tuple[list[Node], list[str]]] = {}

    def at(self, sample: TraceSize) -> tuple[list[Node], list[str]]:
        """The nodes, not simplified, and what could not be expressed.

        Raises:
            FileError: torch.export refuses.
        """
        if sample not in self._walked:
            example = torch.rand(sample.count, self.channels, *sample.shape, generator=torch.Generator().manual_seed(0))
            module = self.module
            if isinstance(module, Recurrent):
                program = _exported(stepped(module), (example, *module.start(example)), self.name)
                walker = Walker(program, tuple(example.shape), module.states)
            else:
                walker = Walker(_exported(module, (example,), self.name), tuple(example.shape))
            self._walked[sample] = walker.run(), walker.uncounted
            if any(f".{UNEVEN}" in node.name for node in walker.nodes):
                self.uneven_at.add(sample)
        return self._walked[sample]

    def check(self, graph: Graph, sizes: Sequence[Size]) -> None:
        """See ``check``."""
        check(graph, self.module, self.channels, self.scale, sizes)


def _for_multiples(traced: _Traced, graph: Graph, step: int, sizes: tuple[Size, ...]) -> Graph | None:
    """The graph with the smallest multiple at which it is the module; None where it is for one size alone."""
    for multiple in (step, *(m for m in COARSER if m > step)):
        tried = sizes if multiple == step else (sizes[0], *multiples(multiple)[1:])
        if tried[0][0] % multiple or tried[0][1] % multiple:
            tried = multiples(multiple)
        if holds_sizes(graph.nodes):
            tried = (*tried, *(rounded(size, multiple) for size in RESTS))
        try:
            traced.check(graph, tried)
        except (FileError, ValueError, RuntimeError, IndexError):
            continue
        return replace(graph, multiple=multiple)
    return None


def _goes_on(traced: _Traced, graph: Graph) -> bool:
    """Whether a graph for many sizes is the module at larger ones too."""
    size = changed(traced.module, traced.channels, multiples(graph.multiple)[:2], graph.multiple)
    if size is None or size[0] * size[1] > COMPARED:
        return size is None
    try:
        traced.check(graph, (size,))
    except (FileError, ValueError, RuntimeError, IndexError):
        return False
    return True


def _in_even_windows(traced: _Traced, refused: Graph, step: int) -> Graph | None:
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


def _of_one_size(traced: _Traced, size: Size) -> Graph:
    """The graph for pictures of one size alone, compared with the module at it."""
    graph = _unchecked(traced, size)
    if not graph.uncounted:
        traced.check(graph, (size,))
    return graph


def _of_size(traced: _Traced, size: Size, small: Size) -> Graph:
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
            traced.check(alike, (tried,))
            return wanted
    return _of_one_size(traced, size)


def _unchecked(traced: _Traced, size: Size) -> Graph:
    nodes, uncounted = traced.at(TraceSize(*size))
    return Graph(traced.name, tuple(simplify(nodes)), tuple(uncounted), size=size)


def _calls(graph: Graph) -> list[tuple[object, ...]]:
    """What a graph computes, without the numbers that sizes and constants are."""
    return [(node.name, type(node.op), node.inputs, tuple(node.weights)) for node in graph.nodes]


def _with_formulas(traced: _Traced, step: int, sizes: tuple[Size, ...]) -> Graph | None:
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


def _exported(module: nn.Module, given: tuple[torch.Tensor, ...], name: str) -> Any:
    try:
        with torch.no_grad(), _quiet(), _without_collection(), refusals.own_lines(), KnownMasks(module):
            return torch.export.export(module, given, strict=False)
    except Exception as error:  # whatever the module's own code or the exporter raises
        raise refusals.of_export(error, module, given[0], name) from error


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Without the search for unused objects: an export makes millions that stay, and looking at them took a sixth of its time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


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
