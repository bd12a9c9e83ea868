"""TensorFlow Lite's and LiteRT's ``benchmark_model``: what it prints, with or without ``--enable_op_profiling=true``.

The whole inference stands in a line ``Inference timings in us: Init: 100, First inference: 90, Warmup (avg): 85, Inference (avg):
84`` (source: ``BenchmarkLoggingListener::OnBenchmarkEnd``, ``tensorflow/lite/tools/benchmark/benchmark_model.cc``). Operators
stand in the table ``Run Order`` under ``Operator-wise Profiling Info for Regular Benchmark Runs``: columns set apart by tabs, or
by commas in the CSV that ``--profiling_output_csv_file`` (later ``--op_profiling_output_file``) names; older releases have a
column ``start`` (source: ``tensorflow/core/util/stats_calculator.cc``, ``HeaderString`` and ``ColumnString``). Commas within a
kernel's name are not quoted; in the last column they come out as tabs. ``mem KB`` is not needed.

A row's name is that of the operator's output tensor, ``[name;merged name]:index``. Delegates hide operators: XNNPACK shows
its own kernels, ``Delegate/Convolution (NHWC, QS8) IGEMM:3``, which name nothing of the network.
"""

from __future__ import annotations

import re

from hwsearch.boards.profiles.profile import Document, Profile, ProfileReader, TimedOperation

_WHOLE = re.compile(r"Inference timings in us:.*Inference \(avg\):\s*(\S+)")
_TABLE = re.compile(r"\[node type\].*\[avg ms\].*\[Name\]")
_CSV = re.compile(r"^node type, ?(start, ?)?first, ?avg_ms, ?%, ?cdf%, ?mem KB, ?times called, ?name\s*$")
_NOT_OPERATORS = ("ModifyGraphWithDelegate", "AllocateTensors", "LiteRT::Run")


def recognises(document: Document) -> bool:
    return any(_WHOLE.search(line) or _TABLE.search(line) or _CSV.match(line.strip()) for line in document.text.splitlines())


def read(document: Document) -> Profile:
    whole = _WHOLE.findall(document.text)
    steps = _steps(document)
    remarks = []
    if any("Delegate" in step.name for step in steps):
        remarks.append("kernels of a delegate do not say which operators they execute.")
    if whole:
        total_s = document.total(document.seconds(whole[-1].rstrip(","), 1e-6, "Inference (avg)"), "Inference (avg)")
        return Profile("benchmark_model", total_s, tuple(steps), remarks=tuple(remarks))
    if not steps:
        raise document.refuse(
            "no line with Inference (avg), and no operator of a regular run", "Pass all that benchmark_model printed."
        )
    total_s = document.total(sum(step.seconds for step in steps), "the sum of all operators")
    return Profile("benchmark_model's table of operators", total_s, tuple(steps), with_call=False, remarks=tuple(remarks))


def _steps(document: Document) -> list[TimedOperation]:
    """Rows of the last table that begins with an operator: those before it time the start of the program."""
    tables: list[list[TimedOperation]] = []
    columns: list[str] | None = None
    by_commas, in_order = False, True
    for number, line in enumerate(document.text.splitlines(), 1):
        if "======" in line:
            in_order, columns = "Run Order" in line, None
        elif _TABLE.search(line) or _CSV.match(line.strip()):
            by_commas = _CSV.match(line.strip()) is not None
            columns = [name.strip(" []").lower().replace("_", " ") for name in line.strip().split("," if by_commas else "\t")]
            if in_order:
                tables.append([])
        elif columns is not None and in_order and line.strip():
            step = _row(document, number, line, columns, by_commas)
            if step is None:
                columns = None
            else:
                tables[-1].append(step)
        elif not line.strip():
            columns = None
    found = [[step for step in table if not step.name.startswith(_NOT_OPERATORS)] for table in tables]
    return next((table for table in reversed(found) if table), [])


def _row(document: Document, number: int, line: str, columns: list[str], by_commas: bool) -> TimedOperation | None:
    """One operator; None where the line is no row of the table."""
    cells = [cell.strip() for cell in (line.strip().split(",") if by_commas else line.strip().split("\t"))]
    surplus = len(cells) - len(columns)
    if surplus < 0:
        return None
    if by_commas and surplus:  # commas in the first cell, a kernel's name
        cells = [",".join(cells[: surplus + 1]), *cells[surplus + 1 :]]
    row = dict(zip(columns, cells, strict=False))
    if "%" not in row.get("cdf%", ""):
        return None
    name = row["name"] if by_commas or not surplus else "\t".join(cells[len(columns) - 1 :])
    seconds = document.seconds(row["avg ms"], 1e-3, f"line {number}: avg ms")
    return TimedOperation(name, seconds, parts(name))


def parts(name: str) -> tuple[str, ...]:
    """Names of tensors: ``[a;b]:7`` is what was written as a and b before they were merged."""
    bare = re.sub(r":\d+$", "", name.strip())
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    return tuple(part.strip() for part in bare.split(";") if part.strip())


READER = ProfileReader("the output of benchmark_model", recognises, read)
