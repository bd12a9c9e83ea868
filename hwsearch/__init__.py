"""How to choose bit-widths, and to prove the choice: search, integer inference, reports, exporters, command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwsearch.documents.progress import Progress
    from hwsearch.documents.results import Results

from hwsearch.documents.versions import __version__

__all__ = ["__version__", "optimize"]


def optimize(
    network: str = "fsrcnn",
    target: str = "jetson",
    *,
    budget: str | Iterable[str] | Mapping[str, float | str] = (),
    progress: Progress | None = None,
    **request: Any,
) -> Results:
    """The whole job, as the command line does it: a run directory with plans and a report, and its results.

    Args:
        network: a built-in network; ``model="file.py:callable"`` uses your own.
        target: a device by name, or the path of a device file.
        budget: ``"latency=8ms"``, several of those, or objective -> limit, a number in SI units or a text such as "8ms"
            (see ``hwsearch.problem.budgets``).
        progress: who watches (see ``hwsearch.documents.progress``); by default nobody.
        request: further fields of ``hwsearch.pipeline.optimize.Request``: weights, scale, images, run_dir, seed, ...; paths may
            be text, and a list may stand where several are meant.
    Raises:
        HwsearchError: see ``hwmodels.errors``.
    """
    from hwsearch.pipeline import optimize as pipeline
    from hwsearch.pipeline import variants
    from hwsearch.problem import budgets, keywords

    asked = keywords.request({"network": network, "target": target, "budgets": budgets.of_python(budget), **request})
    return (variants.optimize if variants.asked(asked) else pipeline.optimize)(asked, progress)
