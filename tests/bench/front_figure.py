"""The first figure of a report as a file of its own, on white: ``python tests/bench/front_figure.py REPORT.html FRONT.svg``."""

from __future__ import annotations

import re
import sys
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
    report, out = map(Path, sys.argv[1:])
    out.write_text(stand_alone(report.read_text(encoding="utf-8")), encoding="utf-8")
