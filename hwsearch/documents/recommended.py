"""The plan of a run that everybody is shown first."""

from __future__ import annotations

from hwmodels.errors import FileError
from hwsearch.documents.plan import Plan
from hwsearch.documents.results import Results


def of_budget(results: Results) -> Plan:
    """The plan of a run that a table across devices shows: that of the budget, else the knee.

    Raises:
        FileError: the results hold no plan.
    """
    found = recommended(results)
    if found is None:
        raise FileError(f"the run on {results.target} has no plan", "Run `hwsearch optimize` again.")
    return found


def recommended(results: Results) -> Plan | None:
    """The plan that the page speaks of first: what a budget picked, else the knee, else the first of the front."""
    plans = {plan.name: plan for plan in results.front}
    for role in ("budget", "knee", *results.chosen):
        if results.chosen.get(role) in plans:
            return plans[results.chosen[role]]
    return results.front[0] if results.front else None
