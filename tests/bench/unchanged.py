"""Whether what worked still gives the same answers, bit for bit: records what the command line says and writes, and compares.

    python tests/bench/unchanged.py record FOLDER [--checkout DIR] [--only PART]
    python tests/bench/unchanged.py compare FOLDER [FOLDER] [--checkout DIR] [--only PART]

``record`` runs the code of ``--checkout`` (by default the one that this file is in) through ``hwsearch.cli.main``, in one process
of one thread, about ten minutes, and writes one JSON document a subject into FOLDER. ``compare`` reads two such folders, or
records the present code and compares it with one; it prints the first differences by their path and how many there are by
document, and exits with 1 if there are any.

Only interfaces that users have are asked: commands with ``--json`` and files on disk. So a recording of one version is comparable
with another whose modules and types are named differently. Parts (see ``unchanged_parts``):

    catalogue  every device with all its numbers, networks, exporters, proxies
    prices     every shipped device x every built-in network x several plans, layer by layer
    damage     all proxies beside measured plans
    runs       whole seeded runs on three kinds of device: damage, measured plans, fronts, integers; questions to them; exports

Record both on one kind of processor: sums in floating point, and which kernels run, depend on it.

Left out of the comparison, because two recordings of one version differ there: what ``unchanged_parts.VOLATILE`` names (times,
versions of libraries, where a run lies), and of a run Optuna's ``journal.log`` and ``report.html``, which hold times and process
names; their contents are in ``evaluations.jsonl`` and ``results.json``.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHOWN = 50
"""Differences that are printed."""
ABOUT, RAW = "about.json", "raw"
"""What was recorded, and the files as they were written: to look into, not compared."""
PARTS = ("catalogue", "prices", "damage", "runs")
_ABSENT = "(absent)"


def prepare(checkout: Path) -> None:
    """Make this process import hwsearch from ``checkout``, run it on one thread, and compile it anew: numba's caches do not
    notice when a function called by a cached one has changed. To be called before numpy, numba or torch are imported."""
    compiled = tempfile.mkdtemp(prefix="unchanged-numba-")
    atexit.register(shutil.rmtree, compiled, ignore_errors=True)
    os.environ.update(
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
        NUMBA_CACHE_DIR=compiled,
        HWSEARCH_HOME=os.devnull,  # a calibrated machine of the developer's is not what ships
        COLUMNS="200",
    )
    sys.path.insert(0, str(checkout))


def differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, before, after) of every leaf of two JSON documents that is not the same; an integer is not the float of its value,
    and a member or an item that only one of them has differs as a whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from differences(before.get(key, _ABSENT), after.get(key, _ABSENT), f"{path}/{key}")
    elif isinstance(before, list) and isinstance(after, list):
        for i in range(max(len(before), len(after))):
            was, now = (items[i] if i < len(items) else _ABSENT for items in (before, after))
            yield from differences(was, now, f"{path}[{i}]")
    elif type(before) is not type(after) or before != after:
        yield path, before, after


def documents(folder: Path, only: str | None) -> dict[str, Any]:
    """The documents of a recording by their names, ``prices/host`` for ``prices/host.json``."""
    found = {}
    for part in PARTS if only is None else (only,):
        for path in sorted([folder / f"{part}.json", *(folder / part).glob("*.json")]):
            if path.is_file():
                found[str(path.relative_to(folder).with_suffix(""))] = json.loads(path.read_text(encoding="utf-8"))
    return found


def compare(before: Path, after: Path, only: str | None = None) -> int:
    """Print what differs between two recordings; returns how many leaves do."""
    ours, theirs = documents(before, only), documents(after, only)
    if not ours:
        raise SystemExit(f"{before} holds no recording" + (f" of {only}" if only else ""))
    counts: Counter[str] = Counter()
    for name in sorted({*ours, *theirs}):
        for path, was, now in differences(ours.get(name, _ABSENT), theirs.get(name, _ABSENT), name):
            if counts.total() < SHOWN:
                print(f"{path}: {_short(was)} -> {_short(now)}")
            counts[name] += 1
    for name, count in counts.most_common():
        print(f"{count:8d} differences in {name}")
    for folder in (before, after):
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8")) if (folder / ABOUT).is_file() else {}
        print(f"{folder}: " + ", ".join(f"{key} {value}" for key, value in about.items()))
    leaves = sum(_leaves(document) for document in ours.values())
    print(f"{counts.total()} differences, {len(ours)} documents, {leaves} values")
    return counts.total()


def _leaves(document: Any) -> int:
    if isinstance(document, dict):
        return sum(map(_leaves, document.values()))
    return sum(map(_leaves, document)) if isinstance(document, list) else 1


def _short(value: Any, most: int = 80) -> str:
    text = value if value is _ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[:most]}..."


def record(folder: Path, checkout: Path, only: str | None, like: Path | None = None) -> None:
    """Record the code of ``checkout`` into ``folder``, which must be new or empty; ``like``: what it will be compared with."""
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty")
    if not (checkout / "hwsearch" / "cli").is_dir():
        raise SystemExit(f"{checkout} is not a checkout of hwsearch")
    prepare(checkout)
    from unchanged_parts import Recorder

    recorder = Recorder(folder.absolute(), checkout, like)
    for part in PARTS if only is None else (only,):
        recorder.record(part)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--checkout", type=Path, default=Path(__file__).parents[2], help="whose code is recorded")
    parser.add_argument("--only", choices=PARTS, help="one part")
    given = parser.parse_args()
    checkout = given.checkout.resolve()
    if len(given.folders) > (2 if given.action == "compare" else 1):
        parser.error("too many folders")
    if given.action == "record":
        record(given.folders[0], checkout, given.only)
        return 0
    if len(given.folders) == 2:
        return int(compare(given.folders[0], given.folders[1], given.only) > 0)
    with tempfile.TemporaryDirectory(prefix="unchanged-") as folder:
        record(Path(folder), checkout, given.only, given.folders[0])
        return int(compare(given.folders[0], Path(folder), given.only) > 0)


if __name__ == "__main__":
    sys.exit(main())
