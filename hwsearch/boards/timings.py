"""Timings as a person writes them down, in a CSV file: one network, one layer of it, or a profiler's output a line.

========== ============================================================================================
network    a built-in network (`hwsearch networks`), or a name given with ``--model NAME=FILE``
arguments  of the network, as ``d=32 s=5``; may be empty or left out
scale      enlargement; may be empty or left out for the network's first
height     of the picture that goes in, in pixels
width      of the picture that goes in, in pixels
size       in place of both, as ``--input`` has it: ``180x320`` is height x width
layer      one layer, by the name that `hwsearch estimate` shows; empty or left out for the whole network
precision  of the whole network: W8A8, W8A16, FP16, ...
latency_ms milliseconds; or ``latency_us``, or ``latency_s``
profile    in its place, or where it is empty: a file of ``hwsearch.boards.profiles``, seen from the CSV file
========== ============================================================================================

Lines that begin with ``#`` are remarks. Spreadsheets write tabs between cells, or semicolons and decimal commas; people write
units behind headings (``latency (ms)``, ``height [px]``): all of that is understood. The file names no code: modules of one's own
are given on the command line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hwmodels.device.device import Device
from hwmodels.errors import FileError, UsageError, closest
from hwmodels.fitting.constants import Measurement
from hwsearch.boards.library import Library, TimedNetwork, finite
from hwsearch.boards.profiles import found as profiles
from hwsearch.boards.profiles.match import match
from hwsearch.boards.profiles.profile import Document, Profile, open_document

REQUIRED = ("network", "height", "width", "precision")
OPTIONAL = ("arguments", "scale", "layer", "profile")
LATENCIES = {"latency_ms": 1e-3, "latency_us": 1e-6, "latency_s": 1.0}
SIZE = re.compile(r"(\d{1,5})\s*[xX×]\s*(\d{1,5})")
"""Height x width in one cell."""
LENGTHS = ("px", "pixel", "pixels")
UNIT = re.compile(r"(?P<name>\w+?)(?:[ _]*[\[(]\s*(?P<unit>\w+)\s*[\])]|[ _-]+(?P<behind>\w+))")
"""A heading with a unit in brackets, or behind a space."""
SECONDS = {
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "usec", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("s", "sec", "second", "seconds"), "s"),
}
THOUSANDS = re.compile(r"[1-9]\d{0,2},\d{3}")
"""A number whose comma may be one of decimals or of thousands."""
REMARKS = ("#", "sep=")
"""What lines begin with that are none of the table."""
LONGEST_S = 86_400.0
"""A day: what takes longer was not timed."""
LONGEST = 64
"""Characters of a heading that may name a column: matching grows with the square of them."""
SAME_MACS = 1.25
"""Factor between the multiply-accumulates that a tool counts and ours; tools differ in what else than products they count."""


class TimingFileError(FileError):
    """A file of timings with mistakes; ``problems`` lists every one of them."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        self.problems = problems
        lines = "\n".join(f"  - {problem}" for problem in problems)
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        size = "size (180x320) in place of height and width"
        columns = f"Columns: {', '.join((*REQUIRED, *OPTIONAL))}, and one of {', '.join(LATENCIES)}, or profile; {size}."
        super().__init__(f"{path}: {count}\n{lines}", columns)


@dataclass(frozen=True, eq=False)
class Timings:
    """What was measured, and what a person must know of it."""

    measurements: list[Measurement]
    remarks: tuple[str, ...] = ()


def read(path: Path, device: Device, library: Library | None = None, said: Mapping[str, str] | None = None) -> Timings:
    """The timings of a file, each checked against the network and against what ``device`` executes.

    Args:
        path: a CSV file as above, or what a profiler wrote; which of them, its content tells.
        said: for a profile, which says none of it: ``network``, ``height``, ``width``, ``precision``, ``scale``, ``arguments``.
    Raises:
        FileError: the file cannot be read, or is a damaged profile.
        TimingFileError: a CSV file with mistakes; all are listed with their line numbers.
        UsageError: a profile without ``said``, or something else with it; ``said`` is wrong.
    """
    library = library or Library()
    document = open_document(path)
    profile = profiles.read(document)
    if profile is None:
        if said:
            raise UsageError(
                f"{path}: no profile that is known ({', '.join(reader.name for reader in profiles.readers())})",
                "A CSV file of timings names network, size and precision itself: leave the options out.",
            )
        if document.text.lstrip().startswith(("{", "[")):
            raise FileError(
                f"{path}: JSON, but no profile that is known ({', '.join(reader.name for reader in profiles.readers())})",
                "Hand in the whole of what one of these tools wrote, or write the times into a CSV file.",
            )
        return _of_csv(document, device, library)
    missing = [name for name in REQUIRED if name not in (said or {})]
    if missing or said is None:
        raise UsageError(
            f"{path} is what {profile.tool} writes; which network it is of, at which size and precision, does not stand in it",
            "Add --network NAME --input HEIGHTxWIDTH --precision W8A8 (a model file: --model NAME=FILE --network NAME), or name "
            "several profiles in a CSV file, in a column `profile`.",
        )
    problems, subject = library.subject(said, device)
    if subject is None:
        raise UsageError(f"{path}: the options that describe it are wrong: {'; '.join(problems)}")
    return of_profile(profile, document, subject)


def of_profile(profile: Profile, document: Document, subject: TimedNetwork) -> Timings:
    """The time of the whole network, and of its layers as far as they can be told apart.

    Raises:
        FileError: the profile is of another network, or nothing of it can be used.
    """
    workload = subject.workload
    if profile.macs is not None and not 1 / SAME_MACS <= profile.macs / workload.macs <= SAME_MACS:
        raise document.refuse(
            f"it is of a network of {profile.macs / 1e6:.4g} million multiply-accumulates, "
            f"{subject.words} has {workload.macs / 1e6:.4g}",
            "Name the network and the input size that were timed.",
        )
    matched = match(profile, workload, subject.nodes)
    name = document.path.name
    found = []
    if matched.total_is_usable:
        everything = () if profile.with_call else tuple(layer.name for layer in workload.layers)
        found.append(Measurement(workload, subject.precision, profile.total_s, f"{name}: {subject.words}", everything))
    for layers, seconds in matched.times:
        short = layers[0] if len(layers) == 1 else f"{layers[0]} and {len(layers) - 1} more"
        found.append(Measurement(workload, subject.precision, seconds, f"{name}: {short} {subject.precision}", layers))
    if not found:
        raise document.refuse(" ".join(matched.remarks), "Profile a network that runs on the device as a whole.")
    whole = "the whole network" if profile.with_call else "all layers, without the fixed time of an inference"
    parts = f"{len(matched.times)} groups of layers" if matched.times else "no single layer"
    first = f"{name}, {profile.tool}: {whole if matched.total_is_usable else 'not the whole'}, and {parts}."
    return Timings(found, (first, *(f"{name}: {remark}" for remark in matched.remarks)))


def _of_csv(document: Document, device: Device, library: Library) -> Timings:
    path = document.path
    separator = _separator(document.text)
    rows = list(_rows(document.text, separator))
    if not rows:
        raise TimingFileError(path, ["the file is empty"])
    (_, header), *body = rows
    names = [_heading(name.strip().lower()) for name in header]
    if problems := _header_problems(names):
        raise TimingFileError(path, problems)
    found: list[Measurement] = []
    problems, remarks = list[str](), list[str]()
    times = [place for place, name in enumerate(names) if name in LATENCIES]
    # Spreadsheets separate by semicolons where a comma is one of decimals; a point is then one of thousands.
    written = [cells[place].strip() for _, cells in body for place in times if place < len(cells) and "," in cells[place]]
    commas = separator == ";" and bool(written)
    if commas and all(THOUSANDS.fullmatch(cell) for cell in written):
        remarks.append(
            f"{written[0]!r} is read as {written[0].replace(',', '.')}, beside semicolons: leave commas of thousands out."
        )
    for line, cells in body:
        if len(cells) != len(names):
            comma = "; a number with a decimal comma needs semicolons between the cells" if separator == "," else ""
            problems.append(f"line {line}: {len(cells)} cells under {len(names)} columns{comma}")
            continue
        line_of = dict(zip(names, map(str.strip, cells), strict=True))
        if commas and (both := [line_of[names[place]] for place in times if "." in line_of[names[place]]]):
            problems.append(f"line {line}: {both[0]!r} has a point where other lines have a decimal comma")
            continue
        if commas:
            line_of |= {names[place]: line_of[names[place]].replace(",", ".") for place in times}
        if "size" in line_of:
            size = SIZE.fullmatch(line_of["size"])
            if size is None:
                problems.append(f"line {line}: size {line_of['size']!r} is no height x width in pixels, as 180x320")
                continue
            line_of |= {"height": size[1], "width": size[2]}
        wrong, read = _line(line_of, device, library, f"line {line}", path.parent)
        problems += [f"line {line}: {problem}" for problem in wrong]
        found += read.measurements
        remarks += read.remarks
    if not body:
        problems = ["no line with a timing"]
    if problems:
        raise TimingFileError(path, problems)
    return Timings(found, tuple(remarks))


def _separator(text: str) -> str:
    """What stands between the cells of the first line that says something: the mark that stands there most often."""
    header = next((line for line in text.splitlines() if line.strip() and not _is_remark(line)), "")
    return max((",", ";", "\t"), key=header.count)


def _is_remark(text: str) -> bool:
    """Whether a line is none of the table, by how it or its first cell begins."""
    return text.lstrip(' \t"').lower().startswith(REMARKS)


def _heading(text: str) -> str:
    """The column that a heading names, its unit in brackets understood."""
    found = UNIT.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        return text
    name, unit = found["name"], (found["unit"] or found["behind"]).replace("\u00b5", "u").replace("\u03bc", "u")
    if name in ("height", "width", "size") and unit in LENGTHS:
        return name
    return f"{name}_{SECONDS[unit]}" if name == "latency" and unit in SECONDS else text


def _rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each line that says something; a spreadsheet's ``sep=;`` says nothing."""
    reader = csv.reader(text.splitlines(), delimiter=separator)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) and not _is_remark(cells[0]):
                yield reader.line_num, cells
    except csv.Error as error:  # a cell of more than 128 KiB: no table
        yield reader.line_num, [f"({error})"]


def _header_problems(names: list[str]) -> list[str]:
    known = (*REQUIRED, *OPTIONAL, *LATENCIES, "size")
    if not set(names) & set(known):
        return ["line 1: no column has a name that is known; the first line names them, with commas, semicolons or tabs between"]
    sides = {"height", "width"}
    problems = [f"line 1: unknown column {name[:40]!r}. {closest(name[:40], known)}" for name in names if name not in known]
    problems += [f"line 1: column {name!r} stands twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    required = [name for name in REQUIRED if "size" not in names or name not in sides]
    problems += [f"line 1: column {name!r} is missing" for name in required if name not in names]
    if "size" in names and sides & {*names}:
        problems.append("line 1: size stands in place of height and width: leave it out, or both of them")
    times = sum(name in LATENCIES for name in set(names))
    if times > 1 or (not times and "profile" not in names):
        problems.append(f"line 1: one column of {', '.join(LATENCIES)} is needed, or profile")
    return problems


def _not_a_time(unit: str, cell: str, latency_s: float) -> str:
    if latency_s > LONGEST_S:
        return f"{unit} {cell!r} is more than a day"
    comma = "; decimals have a point" if re.fullmatch(r"\d+,\d+", cell) else ""
    return f"{unit} {cell!r} is not a number above 0, without a unit{comma}"


def _line(cells: Mapping[str, str], device: Device, library: Library, label: str, folder: Path) -> tuple[list[str], Timings]:
    """What is wrong with a line, or what it measured."""
    problems, subject = library.subject(cells, device)
    unit = next((name for name in LATENCIES if name in cells), None)
    profile, layer = cells.get("profile", ""), cells.get("layer", "")
    latency_s = finite(cells[unit]) * LATENCIES[unit] if unit else 0.0
    if profile and unit and cells[unit]:
        problems.append(f"both {unit} and a profile: leave one of them empty")
    elif not profile and not 0 < latency_s <= LONGEST_S:
        problems.append(_not_a_time(unit, cells[unit], latency_s) if unit else "no profile is named")
    if subject is not None and layer and layer not in (names := [row.name for row in subject.workload.layers]):
        problems.append(f"{subject.workload.name} has no layer {layer!r}. {closest(layer, names)}")
    if profile and layer:
        problems.append("a profile tells its layers itself: leave the layer empty")
    if problems or subject is None:
        return problems, Timings([])
    if not profile:
        text = f"{label}: {subject.words}" + (f" {layer}" if layer else "")
        return [], Timings([Measurement(subject.workload, subject.precision, latency_s, text, (layer,) if layer else ())])
    try:
        document = open_document(folder / profile)
        known = profiles.read(document)
        if known is None:
            return [f"{profile}: no profile that is known ({', '.join(reader.name for reader in profiles.readers())})"], Timings(
                []
            )
        return [], of_profile(known, document, subject)
    except FileError as error:
        return [str(error).replace("\n", ". ")], Timings([])
