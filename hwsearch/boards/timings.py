"""Timings in a CSV file, as a person writes them down: one network or one layer a line.

========== ============================================================================================
network    a built-in network (`hwsearch networks`), or a name given with ``--model NAME=FILE.py:CALLABLE``
arguments  of the network, as ``d=32 s=5``; may be empty or left out
scale      enlargement; may be empty or left out for the network's first
height     of the picture that goes in, in pixels
width      of the picture that goes in, in pixels
layer      one layer, by the name that `hwsearch estimate` shows; empty or left out for the whole network
precision  of the whole network: W8A8, W8A16, FP16, ...
latency_ms milliseconds; or ``latency_us``, or ``latency_s``
========== ============================================================================================

Lines that begin with ``#`` are remarks. The file names no code: modules of one's own are given on the command line.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hwmodels.device.device import Device
from hwmodels.errors import FileError, HwsearchError, closest
from hwmodels.fitting.constants import Measurement
from hwmodels.numbers import Precision
from hwmodels.workload import Workload
from searchspaces.ir.graph import Graph
from searchspaces.networks import registry
from searchspaces.tracing.trace import to_workload, trace

REQUIRED = ("network", "height", "width", "precision")
OPTIONAL = ("arguments", "scale", "layer")
LATENCIES = {"latency_ms": 1e-3, "latency_us": 1e-6, "latency_s": 1.0}


class TimingFileError(FileError):
    """A file of timings with mistakes; ``problems`` lists every one of them."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        self.problems = problems
        lines = "\n".join(f"  - {problem}" for problem in problems)
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        columns = f"Columns: {', '.join((*REQUIRED, *OPTIONAL))}, and one of {', '.join(LATENCIES)}."
        super().__init__(f"{path}: {count}\n{lines}", columns)


@dataclass
class Library:
    """Networks by what a line says of them, traced once. ``models``: a person's own, by name, as ``FILE.py:CALLABLE``."""

    models: Mapping[str, str] = field(default_factory=dict)
    _graphs: dict[tuple[str, int | None, str], tuple[Graph, int]] = field(default_factory=dict)
    _workloads: dict[tuple[str, int | None, str, int, int], Workload] = field(default_factory=dict)

    def workload(self, name: str, scale: int | None, arguments: str, height: int, width: int) -> Workload:
        """The network at one size.

        Raises:
            UsageError, FileError: it cannot be made so.
        """
        key = (name, scale, arguments, height, width)
        if key not in self._workloads:
            if key[:3] not in self._graphs:
                self._graphs[key[:3]] = self._graph(name, scale, arguments)
            graph, enlarged = self._graphs[key[:3]]
            self._workloads[key] = to_workload(graph, height * enlarged, width * enlarged)
        return self._workloads[key]

    def _graph(self, name: str, scale: int | None, arguments: str) -> tuple[Graph, int]:
        if name in self.models:
            own = registry.load_file(self.models[name], scale=scale)
            return trace(own.module, own.channels, name), 1
        spec = registry.spec(name)
        chosen = {**spec.arguments, **_arguments(arguments)}
        factor = scale or spec.scales[0]
        module = registry.build(name, factor, **_arguments(arguments))
        graph = trace(module, spec.channels or int(chosen["channels"]), name)
        return graph, factor if spec.input_kind == "upsampled" else 1


def read(path: Path, device: Device, library: Library | None = None) -> list[Measurement]:
    """The timings of a file, each checked against the network and against what ``device`` executes.

    Raises:
        FileError: the file cannot be read.
        TimingFileError: it has mistakes; all are listed with their line numbers.
    """
    library = library or Library()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileError(
            f"{path}: no such file", "Give a CSV file with the columns of `hwsearch devices calibrate --help`."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: {getattr(error, 'strerror', None) or 'not a text file in UTF-8'}") from None
    rows = list(_rows(text))
    if not rows:
        raise TimingFileError(path, ["the file is empty"])
    (_, header), *body = rows
    names = [name.strip().lower() for name in header]
    if problems := _header_problems(names):
        raise TimingFileError(path, problems)
    problems, found = [], []
    for line, cells in body:
        if len(cells) != len(names):
            problems.append(f"line {line}: {len(cells)} cells under {len(names)} columns")
            continue
        wrong, measured = _measurement(dict(zip(names, map(str.strip, cells), strict=True)), device, library, f"line {line}")
        problems += [f"line {line}: {problem}" for problem in wrong]
        if measured is not None:
            found.append(measured)
    if not body:
        problems = ["no line with a timing"]
    if problems:
        raise TimingFileError(path, problems)
    return found


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each line that says something."""
    reader = csv.reader(text.splitlines())
    for cells in reader:
        if any(cell.strip() for cell in cells) and not cells[0].lstrip().startswith("#"):
            yield reader.line_num, cells


def _header_problems(names: list[str]) -> list[str]:
    known = (*REQUIRED, *OPTIONAL, *LATENCIES)
    problems = [f"line 1: unknown column {name!r}. {closest(name, known)}" for name in names if name not in known]
    problems += [f"line 1: column {name!r} stands twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    problems += [f"line 1: column {name!r} is missing" for name in REQUIRED if name not in names]
    if sum(name in LATENCIES for name in set(names)) != 1:
        problems.append(f"line 1: one column of {', '.join(LATENCIES)} is needed")
    return problems


def _measurement(cells: Mapping[str, str], device: Device, library: Library, label: str) -> tuple[list[str], Measurement | None]:
    """What is wrong with a line, or its timing."""
    problems: list[str] = []
    unit = next(name for name in LATENCIES if name in cells)
    size = []
    for name in ("height", "width"):
        if not cells[name].isdigit() or not 0 < int(cells[name]) < 100_000:
            problems.append(f"{name} {cells[name]!r} is not a whole number of pixels above 0")
        else:
            size.append(int(cells[name]))
    scale = cells.get("scale", "")
    if scale and not scale.isdigit():
        problems.append(f"scale {scale!r} is not a whole number")
    latency_s = _positive(cells[unit]) * LATENCIES[unit]
    if not latency_s > 0:
        problems.append(f"{unit} {cells[unit]!r} is not a number above 0")
    precision = None
    try:
        precision = Precision.parse(cells["precision"])
        if not any(native.holds(precision) for native in device.native):
            natives = ", ".join(map(str, device.native))
            problems.append(f"precision {precision} is not executed by {device.name} (its rates: {natives})")
    except HwsearchError as error:
        problems.append(str(error).replace("\n", ". "))
    workload = None
    if not scale or scale.isdigit():
        height, width = size if len(size) == 2 else (24, 32)  # a wrong size does not hide what else is wrong
        try:
            factor = int(scale) if scale else None
            workload = library.workload(cells["network"], factor, cells.get("arguments", ""), height, width)
        except HwsearchError as error:
            problems.append(str(error).replace("\n", ". "))
    layer = cells.get("layer") or None
    if workload is not None and layer is not None and layer not in (names := [row.name for row in workload.layers]):
        problems.append(f"{workload.name} has no layer {layer!r}. {closest(layer, names)}")
    if problems or workload is None or precision is None:
        return problems, None
    words = (cells["network"], cells.get("arguments", ""), f"x{scale}" if scale else "", f"{size[0]}x{size[1]}", layer or "")
    return [], Measurement(workload, precision, latency_s, f"{label}: {' '.join(filter(None, (*words, str(precision))))}", layer)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _arguments(text: str) -> dict[str, int | float | str]:
    """``d=32 s=5`` as arguments of a network; ``networks.build`` checks them."""
    found: dict[str, int | float | str] = {}
    for word in text.split():
        key, _, value = word.partition("=")
        number = _positive(value)
        found[key] = value if math.isnan(number) else int(number) if value.isdigit() else number
    return found
