"""Why a plan is as it is: what one step narrower or wider would save and cost, choice by choice, everything else kept, and which
limit stands in the way.

Time and bytes come from the cost model. Quality comes from the damage table of the plan's run, calibrated by what the run
measured, or from a proxy measured anew where the plan stands alone; either is additive: a sum over several steps is an estimate.
The loss of the plan itself is the measured one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels import cost
from hwmodels.pricing.table import stored_name
from hwsearch.documents.files import read_json
from hwsearch.documents.plan import Plan
from hwsearch.documents.progress import STEPS, Progress, follow
from hwsearch.plans import plan_file, pricing
from hwsearch.plans.pricing import Price
from hwsearch.problem.pose import Problem
from hwsearch.quality import log
from hwsearch.quality.damage import Damage, psnr_loss_db
from hwsearch.quality.proxies import PROXIES
from hwsearch.runs import damage_file, directory
from hwsearch.search import frame_rate, pareto
from hwsearch.search.exact import exact
from hwsearch.search.predict.refit import refit
from searchspaces.space import SearchSpace


@dataclass(frozen=True)
class Step:
    """One choice changed to ``bits``; differences against the plan, negative where the change saves."""

    bits: int
    psnr_loss_db: float
    latency_s: float
    weight_bytes: int
    peak_activation_bytes: int
    breaks: tuple[str, ...] = ()
    """Limits that the plan keeps and the change would break."""


@dataclass(frozen=True)
class Limit:
    """A budget of the run or a hard limit of the device, on ``objective``, in SI units: how much is allowed and used.

    ``binds``: some wider choice, or for ``psnr_loss`` some narrower one, would break it.
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
    bits: int
    damage_db: float
    """PSNR lost by this choice alone."""
    narrower: Step | None
    wider: Step | None
    stored_as: str = ""
    """Of a tensor; that of weights is in the price of their layer."""
    held: str = ""
    """Why there is no choice: the scope; empty where there is one, or only one width is on offer."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """A plan, its price, its choices one by one, and the limits it lives within; ``proxy`` judged the quality of the choices."""

    plan: Plan
    price: Price
    decisions: tuple[Decision, ...]
    limits: tuple[Limit, ...]
    proxy: str


def explain(path: Path, progress: Progress) -> Explanation:
    """Explain the plan in ``path``: prices every single step away from it.

    Raises:
        FileError, UsageError: the plan cannot be read, or its network or weights are not to be had.
    """
    plan = plan_file.load(path)
    run = path.parent.parent
    if (run / directory.DAMAGE).is_file():
        with progress.stage("tracing the network", 1):
            _, problem, row = plan_file.posed(plan, path)
        damage = _calibrated(run, problem.space)
    else:
        again = plan_file.recalibrate(plan, path, progress)
        problem, row, proxy = again.problem, again.row, best_proxy(run)
        with progress.stage(f"quality proxy {proxy}", STEPS) as stage:
            damage = PROXIES[proxy].measure(again.calibration, again.photos.crops, again.request.seed, follow(stage, STEPS))
    allowed = _limits(run, problem)
    made = decisions(problem, damage, row, allowed, plan.predicted.psnr_loss_db)
    used = _columns(problem, row[None], np.array([plan.predicted.psnr_loss_db]))
    broken = {name for decision in made for step in (decision.narrower, decision.wider) if step for name in step.breaks}
    limits = [
        Limit(name, objective, limit, float(used[objective][0]), name in broken) for name, (objective, limit) in allowed.items()
    ]
    return Explanation(plan, pricing.price(problem, row, plan.name), made, tuple(limits), damage.proxy)


def _calibrated(run: Path, space: SearchSpace) -> Damage:
    """The run's best damage table, calibrated by all that the run has measured."""
    tables = damage_file.load(run / directory.DAMAGE, space)
    best = best_proxy(run)
    table = tables.get(best, next(iter(tables.values())))
    if not (run / directory.EVALUATIONS).is_file():
        return table
    known = log.read(run / directory.EVALUATIONS)
    return refit(table, np.stack([plan for plan, _ in known]), np.array([score.psnr_loss_db for _, score in known]))


def _limits(run: Path, problem: Problem) -> dict[str, tuple[str, float]]:
    """Limit in words -> objective and value: budgets of the run, hard limits of the device."""
    found = {f"the device's {pareto.label(name)}": (name, float(limit)) for name, limit in problem.table.limits.items()}
    if (run / directory.RUN).is_file():
        saved = directory.saved_request(run, {})
        budgets = frame_rate.budgets_with(saved.get("budgets") or {}, saved.get("fps"))
        objectives = exact.BUDGETS | {"psnr_loss": "psnr_loss_db"}
        found |= {f"the budget on {name.replace('_', ' ')}": (objectives[name], limit) for name, limit in budgets.items()}
    return found


def _columns(problem: Problem, plans: np.ndarray, losses_db: np.ndarray) -> dict[str, np.ndarray]:
    counting = problem.space.counting
    priced = pareto.columns(losses_db, cost.estimate(problem.table, plans))
    return priced | (counting.of_plans(plans) if counting is not None else {})


def best_proxy(run: Path) -> str:
    """The proxy that ranked plans best in the run, or the first one where there is no run."""
    results = run / "results.json"
    if results.is_file():
        ranked = {check["name"]: check["spearman"] for check in read_json(results, "results of a run").get("proxies", [])}
        known = [name for name in ranked if name in PROXIES]
        if known:
            found: str = max(known, key=lambda name: ranked[name] if ranked[name] is not None else -1.0)
            return found
    return next(iter(PROXIES))


def decisions(
    problem: Problem,
    damage: Damage,
    row: np.ndarray,
    allowed: Mapping[str, tuple[str, float]] | None = None,
    loss_db: float = 0.0,
) -> tuple[Decision, ...]:
    """Every choice of ``row int8[decisions]`` with its neighbours, priced in one go.

    Args:
        allowed: limit in words -> objective, value; ``loss_db``: the plan's own loss.
    """
    space = problem.space
    changes = [(d, c) for d in range(space.decisions) for c in _neighbours(space, d, int(row[d])) if c is not None]
    plans = np.repeat(row[None], len(changes) + 1, axis=0)
    for i, (decision, choice) in enumerate(changes, start=1):
        plans[i, decision] = choice
    lost_db = damage.psnr_loss_db(plans)
    more_db = lost_db - lost_db[0]
    values = _columns(problem, plans, loss_db + more_db)
    steps = {}
    for i, (decision, choice) in enumerate(changes, start=1):
        over = {name for name, (objective, limit) in (allowed or {}).items() if values[objective][i] > limit * (1 + 1e-12)}
        before = {name for name, (objective, limit) in (allowed or {}).items() if values[objective][0] > limit * (1 + 1e-12)}
        steps[decision, choice] = Step(
            bits=space.widths(decision)[choice],
            psnr_loss_db=float(more_db[i]),
            latency_s=float(values["latency_s"][i] - values["latency_s"][0]),
            weight_bytes=int(values["weight_bytes"][i] - values["weight_bytes"][0]),
            peak_activation_bytes=int(values["peak_activation_bytes"][i] - values["peak_activation_bytes"][0]),
            breaks=tuple(sorted(over - before)),
        )
    made = []
    for d, name in enumerate(space.names):
        below, above = _neighbours(space, d, int(row[d]))
        made.append(
            Decision(
                name=name,
                kind="weights" if d < len(space.layer_names) else "tensor",
                bits=space.widths(d)[int(row[d])],
                damage_db=float(psnr_loss_db(damage.noise[d, row[d]], damage.float_mse)),
                narrower=None if below is None else steps[d, below],
                wider=None if above is None else steps[d, above],
                stored_as=stored_name(8 * problem.table.element_bytes[row[d]]) if d >= len(space.layer_names) else "",
                held=f"scope {space.scope}" if d in space.outside else "",
            )
        )
    return tuple(made)


def _neighbours(space: SearchSpace, decision: int, choice: int) -> tuple[int | None, int | None]:
    """The allowed choices next to ``choice``: one narrower and one wider."""
    options = space.choices(decision)
    below, above = options[options < choice], options[options > choice]
    return (int(below[-1]) if below.size else None, int(above[0]) if above.size else None)


def document(explanation: Explanation) -> dict[str, Any]:
    """An explanation for machines; SI units, differences against the plan."""
    return {
        "plan": explanation.plan.name,
        "proxy": explanation.proxy,
        "limits": list(explanation.limits),
        "decisions": list(explanation.decisions),
        "price": pricing.document(explanation.price),
    }
