"""X-CUBE-AI and ST Edge AI Core: reports of ``validate`` on the board, of the performance application, of the Developer Cloud.

Text, by release: ``duration    : 99.405 ms (average)``, with ``CPU cycles``, ``cycles/MACC`` and ``macc:950717`` or ``complexity:
950717 MACC`` around it (X-CUBE-AI 3 to 6), or ``duration : 21.1 ms by sample (min/max/deviation)`` and ``macc : 950717`` (7 and
later). Sources: ``aiSystemPerformance.c`` of the expansion package, ``print_profiling`` of ST's Python package ``stm_ai_runner``,
and reports in full that ST and users published (X-CUBE-AI 3.3 on an STM32F401; ST Edge AI's "Profiling results v2.0"). JSON: an
object ``exec_time`` with ``duration_ms``, ``cycles`` and ``device`` in the ``graph`` of the report, multiply-accumulates as
``macc`` of the graph or of its nodes, or as ``rom_n_macc`` of the report (source: ``stm32ai_dc`` of ST's model zoo services).

``validate`` may run the generated C on the computer, and prints its duration there in the same words. It counts cycles for each
multiply-accumulate only on a board: a duration with multiply-accumulates and without that ratio is the computer's. A network on
the Neural-ART counts none of either.

The table of nodes that some releases add is not read: its ids are those of ST's own graph after fusion, and which layers of the
network they are is not written there. ``analyze`` runs nothing and so holds no time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hwsearch.boards.profiles.profile import Document, Profile, ProfileReader

_DURATION = re.compile(r"^\s*duration\s*:\s*(\S+)\s*ms\b", re.MULTILINE)
_MACC = re.compile(r"(?:(?<!/)\bmacc\s*[:=]\s*([\d,]+))|(?:complexity\s*:\s*([\d,]+)\s*MACC)", re.IGNORECASE)
_BY_SAMPLE = re.compile(r"^\s*duration\s*:[^\n]*\bby sample\b", re.MULTILINE)
_SIGNS = (
    "cycles/MACC",
    "AI Profiling results",
    "X-CUBE-AI",
    "STM32Cube.AI",
    "ST Edge AI",
    "STEdgeAI",
    "Neural Network Tools for STM32",
)


def recognises(document: Document) -> bool:
    if isinstance(document.json, dict):
        return any(_objects(document.json, "exec_time")) or "rom_n_macc" in document.json
    return any(sign in document.text for sign in _SIGNS)


def read(document: Document) -> Profile:
    return _of_json(document) if isinstance(document.json, dict) else _of_text(document)


def _of_text(document: Document) -> Profile:
    durations = _DURATION.findall(document.text)
    if not durations:
        raise _no_time(document)
    macs = _counted(document.text)
    total_s = document.total(document.seconds(durations[-1], 1e-3, "duration"), "duration")
    if _on_the_computer(document.text):
        raise document.refuse(
            "the report's time is that of the computer: `validate` ran the generated C there",
            "`validate --mode target` (X-CUBE-AI: validation on target) runs the network on the board.",
        )
    return Profile("X-CUBE-AI / ST Edge AI", total_s, macs=(macs[-1] or None) if macs else None, remarks=_REMARKS)


def _on_the_computer(text: str) -> bool:
    """Whether the last duration is one of the Python runner, of a network whose work it counted, on no board."""
    found = list(_BY_SAMPLE.finditer(text))
    if not found:
        return False
    behind = text[found[-1].end() :]
    return any(_counted(behind)[:1]) and "cycles/MACC" not in behind


def _counted(text: str) -> list[int]:
    """The numbers of multiply-accumulates that a text names."""
    return [int((a or b).replace(",", "")) for a, b in _MACC.findall(text) if re.search(r"\d", a or b)]


def _of_json(document: Document) -> Profile:
    times = [found for found in _objects(document.json, "exec_time") if "duration_ms" in found]
    if not times or times[0]["duration_ms"] in (-1, None):
        raise _no_time(document)
    total_s = document.total(document.seconds(times[0]["duration_ms"], 1e-3, "duration_ms"), "duration_ms")
    return Profile("ST Edge AI", total_s, macs=_macs(document.json), remarks=_REMARKS)


_REMARKS = ("the report's table of nodes follows ST's own graph: only the time of the whole network is used.",)


def _no_time(document: Document) -> Exception:
    return document.refuse(
        "the report holds no time: nothing ran on the board",
        "`validate --mode target` (X-CUBE-AI: validation on target) runs the network there and times it; `analyze` does not.",
    )


def _objects(found: Any, key: str, depth: int = 4) -> Iterator[dict[str, Any]]:
    """Objects under ``key`` in an object and the objects and lists in it, ``depth`` levels down."""
    if isinstance(found, dict):
        if isinstance(found.get(key), dict):
            yield found[key]
        inner: list[Any] = list(found.values())
    else:
        inner = found if isinstance(found, list) else []
    if depth:
        for value in inner[:64]:
            yield from _objects(value, key, depth - 1)


def _macs(found: dict[str, Any]) -> int | None:
    """Multiply-accumulates that the report counts."""
    graphs = [found, *(value for value in found.values() if isinstance(value, dict))]
    graphs += [graph for holder in graphs if isinstance(holder.get("graphs"), list) for graph in holder["graphs"]]
    for graph in (graph for graph in graphs if isinstance(graph, dict)):
        for key in ("rom_n_macc", "macc"):
            if isinstance(graph.get(key), int) and graph[key] > 0:
                return int(graph[key])
        nodes = graph.get("nodes")
        if (
            isinstance(nodes, list)
            and nodes
            and all(isinstance(node, dict) and isinstance(node.get("macc"), int) for node in nodes)
        ):
            return sum(node["macc"] for node in nodes) or None
    return None


READER = ProfileReader("a report of X-CUBE-AI or ST Edge AI", recognises, read)
