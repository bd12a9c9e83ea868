"""Why a plan is as it is: what one step narrower or wider would save and cost, choice by choice, everything else kept, and which
limit stands in the way.

Time and bytes come from the cost model. Quality is the prediction of the plan's run, the one by which ``front`` chooses again; or
that of a proxy measured anew where the plan stands alone. The loss of the plan itself is the one that its document says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels import cost
from hwmodels.numbers import Width
from hwmodels.pricing.table import stored_name
from hwsearch.documents.plan import Plan
from hwsearch.documents.progress import STEPS, Progress, follow
from hwsearch.plans import plan_file, pricing
from hwsearch.plans.plan_file import Recalibrated
from hwsearch.plans.pricing import PricedPlan
from hwsearch.problem.pose import Problem
from hwsearch.quality import chosen_proxy
from hwsearch.quality.damage import loss_of_noise
from hwsearch.quality.proxies import PROXIES
from hwsearch.search import pareto
from hwsearch.search.predict import interactions
from hwsearch.search.predict.interactions import Prediction
from searchspaces.space import PlanRow, SearchSpace, matrix


@dataclass(frozen=True)
class Neighbour:
    """One choice changed to ``bits``; differences against the plan, negative where the change saves."""

    bits: Width
    loss_db: float
    latency_s: float
    weight_bytes: int
    peak_activation_bytes: int
    breaks: tuple[str, ...] = ()
    """Limits that the plan keeps and the change would break."""


@dataclass(frozen=True)
class Limit:
    """A budget of the run or a hard limit of the device, on ``objective``, in SI units: how much is allowed and used.

    ``binds``: some wider choice, or for ``loss`` some narrower one, would break it.
    """

    name: str
    objective: str
    allowed: float
    used: float
    binds: bool

    @property
    def share(self) -> float:
        return self.used / self.allowed if self.allowed else 1.0


@dataclass(frozen=True)
class Decision:
    """One choice of a plan and its neighbours; ``None`` at the end of what is on offer. ``kind`` is "weights" or "tensor"."""

    name: str
    kind: str
    bits: Width
    damage_db: float
    """PSNR lost by this choice alone."""
    narrower: Neighbour | None
    wider: Neighbour | None
    stored_as: str = ""
    """Of a tensor; that of weights is in the price of their layer."""
    held: str = ""
    """Why there is no choice: the scope; empty where there is one, or only one width is on offer."""
    made_by: str = ""
    """Of a plan by several methods those that made it; one for each tensor of the width with a format of its own."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """A plan, its price, its choices one by one, and the limits it lives within; ``proxy`` judged the quality of the choices."""

    plan: Plan
    price: PricedPlan
    decisions: tuple[Decision, ...]
    limits: tuple[Limit, ...]
    proxy: str


def explain(path: Path, progress: Progress, model: str | None = None, *, allow_edited: bool = False) -> Explanation:
    """Explain the plan in ``path``: prices every single step away from it.

    Args:
        model: the file of code that is its network, named by the person who asks; it is executed.
        allow_edited: a plan that was edited is explained as it is now.
    Raises:
        FileError, UsageError: the plan cannot be read, or its network or weights are not to be had.
    """
    opened = plan_file.open_plan(path, model, allow_edited=allow_edited)
    plan, run = opened.plan, opened.run
    if run is not None and run.has_damage:
        with progress.stage("tracing the network", 1):
            problem, row = opened.posed
        prediction = run.prediction(problem.space)
    else:
        again = opened.recalibrated(progress)
        problem, row = again.problem, again.row
        proxy = chosen_proxy.DEFAULT if run is None else run.best_proxy(PROXIES)
        prediction = _by_proxy(proxy, again, progress)
    allowed = pareto.in_words(problem.table.limits, {} if run is None else run.budgets)
    made = _with_methods(decisions(problem, prediction, row, allowed, plan.predicted.loss_db), problem, plan)
    used = _columns(problem, matrix([row]), np.array([plan.predicted.loss_db]))
    broken = {name for decision in made for step in (decision.narrower, decision.wider) if step for name in step.breaks}
    limits = [
        Limit(name, objective, limit, float(used[objective][0]), name in broken) for name, (objective, limit) in allowed.items()
    ]
    return Explanation(plan, pricing.price(problem, row, plan.name, opened.remarks), made, tuple(limits), prediction.damage.proxy)


def _with_methods(made: tuple[Decision, ...], problem: Problem, plan: Plan) -> tuple[Decision, ...]:
    """The decisions with the methods that a plan of several names."""
    if not (plan.weight_methods or plan.activation_methods):
        return made
    tensors: dict[str, dict[str, None]] = {}
    for name, width in problem.graph.width_groups().items():
        if name in plan.activation_methods:
            tensors.setdefault(width, {})[plan.activation_methods[name]] = None
    return tuple(
        dataclasses.replace(
            one, made_by=plan.weight_methods.get(one.name, "") if one.kind == "weights" else ", ".join(tensors.get(one.name, ()))
        )
        for one in made
    )


def _by_proxy(proxy: str, again: Recalibrated, progress: Progress) -> Prediction:
    """The sum of what single choices lose, where no run tells more."""
    with progress.stage(f"quality proxy {proxy}", STEPS) as stage:
        damage = PROXIES[proxy].measure(
            again.calibration, again.photos.crops, again.request.seed, follow(stage, STEPS), again.photos.task
        )
    return interactions.alone(damage)


def _columns(problem: Problem, plans: np.ndarray, losses_db: np.ndarray) -> dict[str, np.ndarray]:
    counting = problem.space.counting
    priced = pareto.columns(losses_db, cost.estimate(problem.table, plans))
    return priced | (counting.of_plans(plans) if counting is not None else {})


def decisions(
    problem: Problem,
    prediction: Prediction,
    row: PlanRow,
    allowed: Mapping[str, tuple[str, float]] | None = None,
    loss_db: float = 0.0,
) -> tuple[Decision, ...]:
    """Every choice of ``row`` with its neighbours, priced in one go.

    Args:
        allowed: limit in words -> objective, value; ``loss_db``: the plan's own loss.
    """
    space = problem.space
    changes = [(d, c) for d in range(space.decisions) for c in _neighbours(space, row, d) if c is not None]
    plans = matrix([row, *(_changed(space, row, *change) for change in changes)])
    lost_db, damage = prediction.loss_db(plans), prediction.damage
    more_db = lost_db - lost_db[0]
    values = _columns(problem, plans, loss_db + more_db)

    def over(plan: int) -> set[str]:
        """Limits that one of the plans breaks."""
        return {name for name, (objective, limit) in (allowed or {}).items() if values[objective][plan] > limit * (1 + 1e-12)}

    before, steps = over(0), {}
    for i, (decision, choice) in enumerate(changes, start=1):
        steps[decision, choice] = Neighbour(
            bits=space.widths(decision)[choice],
            loss_db=float(more_db[i]),
            latency_s=float(values["latency_s"][i] - values["latency_s"][0]),
            weight_bytes=int(values["weight_bytes"][i] - values["weight_bytes"][0]),
            peak_activation_bytes=int(values["peak_activation_bytes"][i] - values["peak_activation_bytes"][0]),
            breaks=tuple(sorted(over(i) - before)),
        )
    made = []
    for d, name in enumerate(space.names):
        below, above = _neighbours(space, row, d)
        made.append(
            Decision(
                name=name,
                kind="weights" if d < len(space.layer_names) else "tensor",
                bits=space.widths(d)[row[d]],
                damage_db=float(loss_of_noise(damage.noise[d, row[d]], damage.float_mse)),
                narrower=None if below is None else steps[d, below],
                wider=None if above is None else steps[d, above],
                stored_as=stored_name(8 * problem.table.element_bytes[row[d]]) if d >= len(space.layer_names) else "",
                held=f"scope {space.scope}" if d in space.outside else _kept(space, row, d) if below is None else "",
            )
        )
    return tuple(made)


def _neighbours(space: SearchSpace, row: PlanRow, decision: int) -> tuple[int | None, int | None]:
    """The choices next to that of ``row`` which make another plan: one narrower and one wider."""
    options = [int(c) for c in space.choices(decision) if c == row[decision] or _changed(space, row, decision, int(c)) != row]
    below, above = [c for c in options if c < row[decision]], [c for c in options if c > row[decision]]
    return below[-1] if below else None, above[0] if above else None


def _changed(space: SearchSpace, row: PlanRow, decision: int, choice: int) -> PlanRow:
    """``row`` with another choice, as it is stored."""
    return space.row([choice if d == decision else old for d, old in enumerate(row)])


def _kept(space: SearchSpace, row: PlanRow, decision: int) -> str:
    """Why there is nothing narrower, where narrower weights would be kept in the format that the layer has."""
    narrower = any(int(c) < row[decision] for c in space.choices(decision))
    return f"kept in {row.formats[decision]}" if narrower else ""


def document(explanation: Explanation) -> dict[str, Any]:
    """An explanation for machines; SI units, differences against the plan."""
    return {
        "plan": explanation.plan.name,
        "proxy": explanation.proxy,
        "limits": list(explanation.limits),
        "decisions": list(explanation.decisions),
        "price": pricing.document(explanation.price),
    }
