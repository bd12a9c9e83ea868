"""Predictions beside every outside figure: writes ``hwmodels/devices/agreement.json`` and ``reports/agreement.html``.

Fits are repeated without the network that they predict, which takes a few minutes. The figures are not shipped; give the folder
that holds ``oracle/``. Run:

    python tests/bench/agreement.py [--figures ../shared]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")])

from bench.agreement_page import page
from oracle import summary

from hwmodels.fitting import agreement
from hwsearch.documents.files import replacing

ROOT = Path(__file__).parents[2]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--figures", type=Path, default=ROOT.parent / "shared", help="folder with oracle/*.json")
    options.add_argument("--only", nargs="+", default=[], help="readers to repeat (aihub, vela, ...); the page is left as it is")
    given = options.parse_args()
    rows = []
    for module in summary.readers():
        if given.only and module.__name__.removeprefix("oracle.") not in given.only:
            continue
        begun = time.perf_counter()
        read = module.rows(given.figures)
        rows += read
        print(f"{module.__name__.removeprefix('oracle.')}: {len(read)} rows, {time.perf_counter() - begun:.0f} s", flush=True)
    found = summary.agreements(rows)
    for entry in found:
        simpler = ", ".join(f"{name} {error:.0%}" for name, error in entry.baselines.items())
        print(f"{entry.device}: {entry.brief}, 90th percentile {entry.p90_error:.0%}{'; ' + simpler if simpler else ''}")
    if given.only:
        repeated = {entry.source for entry in found}
        kept = [entry for entry in agreement.parse(agreement.FILE.read_text(encoding="utf-8")) if entry.source not in repeated]
        agreement.FILE.write_text(agreement.document(summary.ordered([*kept, *found])), encoding="utf-8")
        return
    for path, text in (
        (agreement.FILE, agreement.document(found)),
        (ROOT / "reports" / "agreement.html", page(rows, found, summary.not_priced(given.figures))),
    ):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
