"""The networks that timings are of: built-in ones, a person's own code, model files; each at one size, in one precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hwmodels.device.device import Device
from hwmodels.errors import HwsearchError, UncountedError, UsageError
from hwmodels.numbers import Precision
from hwmodels.workload import Workload
from searchspaces.data.scale import Scale, exact, scale_text
from searchspaces.ir.graph import Graph
from searchspaces.ir.lower import to_workload
from searchspaces.networks import registry
from searchspaces.tracing.trace import trace

LARGEST_SIDE = 100_000
"""Of a picture, in pixels."""


@dataclass(frozen=True, eq=False)
class TimedNetwork:
    """What was timed. ``nodes``: names of everything in its graph, of which the workload's layers are a part."""

    workload: Workload
    nodes: tuple[str, ...]
    precision: Precision
    words: str


@dataclass
class Library:
    """Networks by what a line says of them, read once.

    Attributes:
        models: a person's own by name: ``FILE.py:CALLABLE``, or a model file.
    """

    models: Mapping[str, str] = field(default_factory=dict)
    _graphs: dict[tuple[str, Scale | None, str], tuple[Graph, int]] = field(default_factory=dict)
    _workloads: dict[tuple[str, Scale | None, str, int, int], Workload] = field(default_factory=dict)

    def workload(self, name: str, scale: Scale | None, arguments: str, height: int, width: int) -> Workload:
        """The network at one size.

        Raises:
            UsageError, FileError: it cannot be made so.
        """
        key = (name, scale, arguments, height, width)
        if key not in self._workloads:
            graph, enlarged = self.graph(name, scale, arguments)
            if graph.size is not None and graph.size != (height * enlarged, width * enlarged):
                raise UsageError(f"{name} is made for pictures of {graph.size[0]}x{graph.size[1]}, not {height}x{width}")
            self._workloads[key] = to_workload(graph, height * enlarged, width * enlarged)
        return self._workloads[key]

    def graph(self, name: str, scale: Scale | None, arguments: str) -> tuple[Graph, int]:
        """The network, and how much larger its input is than the picture that is meant."""
        key = (name, scale, arguments)
        if key not in self._graphs:
            self._graphs[key] = self._made(name, scale, arguments)
        return self._graphs[key]

    def _made(self, name: str, scale: Scale | None, arguments: str) -> tuple[Graph, int]:
        own = self.models.get(name)
        if own is not None and ":" not in Path(own).name:
            return _of_file(Path(own)), 1
        if own is not None:
            loaded = registry.load_file(own, scale=scale, of_pictures=False)
            return trace(loaded.module, loaded.channels, name), 1
        spec = registry.spec(name)
        chosen = {**spec.arguments, **_arguments(arguments)}
        factor = spec.check_scale(scale or spec.scales[0])
        module = registry.build(name, factor, **_arguments(arguments))
        graph = trace(module, spec.channels or int(chosen["channels"]), name)
        return graph, factor if spec.input_kind == "upsampled" else 1

    def subject(self, cells: Mapping[str, str], device: Device) -> tuple[list[str], TimedNetwork | None]:
        """What the words of a line or a command mean, or everything that is wrong with them.

        Args:
            cells: ``network``, ``height``, ``width``, ``precision``, and where wanted ``scale`` and ``arguments``.
        """
        problems: list[str] = []
        size = []
        for name in ("height", "width"):
            if not cells[name].isdigit() or not 0 < int(cells[name]) < LARGEST_SIDE:
                problems.append(f"{name} {cells[name]!r} is not a whole number of pixels above 0")
            else:
                size.append(int(cells[name]))
        scale, arguments = cells.get("scale", ""), cells.get("arguments", "")
        factor: Scale | None = None
        try:
            factor = exact(scale) if scale else None
            scaled = True
        except HwsearchError as error:
            problems.append(str(error).replace("\n", ". "))
            scaled = False
        precision = None
        try:
            precision = Precision.parse(cells["precision"])
            if not any(native.holds(precision) for native in device.native):
                natives = ", ".join(map(str, device.native))
                problems.append(f"precision {precision} is not executed by {device.name} (its rates: {natives})")
        except HwsearchError as error:
            problems.append(str(error).replace("\n", ". "))
        workload: Workload | None = None
        nodes: tuple[str, ...] = ()
        if scaled:
            height, width = size if len(size) == 2 else (24, 32)  # a wrong size does not hide what else is wrong
            try:
                workload = self.workload(cells["network"], factor, arguments, height, width)
                nodes = tuple(node.name for node in self.graph(cells["network"], factor, arguments)[0].nodes)
            except HwsearchError as error:
                problems.append(str(error).replace("\n", ". "))
        if problems or workload is None or precision is None:
            return problems, None
        words = (cells["network"], arguments, f"x{scale_text(factor)}" if factor else "", f"{size[0]}x{size[1]}", str(precision))
        return [], TimedNetwork(workload, nodes, precision, " ".join(filter(None, words)))


def _of_file(path: Path) -> Graph:
    """The network of a model file, to be priced in another precision than the file may have."""
    from hwsearch.formats.reading.readers import inspect

    graph = inspect(path).graph
    if graph.uncounted:
        raise UncountedError(list(graph.uncounted), f"{path} has them, so its time cannot be explained layer by layer.")
    return graph


def finite(text: str) -> float:
    """A finite number, or NaN."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _arguments(text: str) -> dict[str, int | float | str]:
    """``d=32 s=5`` as arguments of a network; ``registry.build`` checks them."""
    found: dict[str, int | float | str] = {}
    for word in text.split():
        key, _, value = word.partition("=")
        number = finite(value)
        found[key] = value if math.isnan(number) else int(number) if value.isdigit() else number
    return found
