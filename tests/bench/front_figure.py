"""The first figure of a report as a file of its own, on white: ``python tests/bench/front_figure.py REPORT.html FRONT.svg``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path


def stand_alone(page: str) -> str:
    """The SVG of the first figure, with a background for pages that are dark.

    Raises:
        SystemExit: the page has no figure.
    """
    figure = re.search(r"(<svg\b[^>]*>)(.*?</svg>)", page, re.DOTALL)
    if figure is None:
        raise SystemExit("no figure in this page")
    return f'{figure[1]}<rect width="100%" height="100%" fill="#fff"/>{figure[2]}\n'


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("report", type=Path, metavar="REPORT.html")
    parser.add_argument("out", type=Path, metavar="FRONT.svg")
    asked = parser.parse_args()
    asked.out.write_text(stand_alone(asked.report.read_text(encoding="utf-8")), encoding="utf-8")
