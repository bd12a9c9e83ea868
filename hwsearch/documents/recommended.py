"""The plan of a run that everybody is shown first."""

from __future__ import annotations

from hwsearch.documents.plan import Plan
from hwsearch.documents.results import Results


def of_budget(results: Results) -> Plan:
    """The plan of a run that a table across devices shows: that of the budget, else the knee."""
    name = results.chosen.get("budget", results.chosen["knee"])
    return next(plan for plan in results.front if plan.name == name)


def recommended(results: Results) -> Plan | None:
    """The plan that the page speaks of first: what a budget picked, else the knee, else the first of the front."""
    plans = {plan.name: plan for plan in results.front}
    for role in ("budget", "knee", *results.chosen):
        if results.chosen.get(role) in plans:
            return plans[results.chosen[role]]
    return results.front[0] if results.front else None
