"""Why a plan is as it is: what one step narrower or wider would save and cost, choice by choice, everything else kept.

Time and bytes come from the cost model. Quality comes from one proxy's damage table, which is additive: a sum over several steps
is an estimate. The loss of the plan itself is the measured one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels import cost
from hwsearch import plan_file, pricing
from hwsearch.damage import Damage, psnr_loss_db
from hwsearch.files import read_json
from hwsearch.plan import Plan
from hwsearch.pricing import Price
from hwsearch.problem import Problem
from hwsearch.progress import STEPS, Progress, follow
from hwsearch.proxies import PROXIES
from searchspaces.space import SearchSpace


@dataclass(frozen=True)
class Step:
    """One choice changed to ``bits``; differences against the plan, negative where the change saves."""

    bits: int
    psnr_loss_db: float
    latency_s: float
    weight_bytes: int
    peak_activation_bytes: int


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


@dataclass(frozen=True, eq=False)
class Explanation:
    """A plan, its price, and its choices one by one; ``proxy`` judged their quality."""

    plan: Plan
    price: Price
    decisions: tuple[Decision, ...]
    proxy: str


def explain(path: Path, progress: Progress) -> Explanation:
    """Explain the plan in ``path``: calibrates its network again and prices every single step away from it.

    Raises:
        FileError, UsageError: the plan cannot be read, or its network or weights are not to be had.
    """
    plan = plan_file.load(path)
    again = plan_file.recalibrate(plan, path, progress)
    proxy = best_proxy(path.parent.parent)
    with progress.stage(f"quality proxy {proxy}", STEPS) as stage:
        damage = PROXIES[proxy].measure(again.calibration, again.photos.crops, again.request.seed, follow(stage, STEPS))
    priced = pricing.price(again.problem, again.row, plan.name)
    return Explanation(plan, priced, decisions(again.problem, damage, again.row), proxy)


def best_proxy(run: Path) -> str:
    """The proxy that ranked plans best in the run, or the first one where there is no run."""
    results = run / "results.json"
    if results.is_file():
        ranked = {check["name"]: check["spearman"] for check in read_json(results, "results of a run").get("proxies", [])}
        known = [name for name in ranked if name in PROXIES]
        if known:
            return max(known, key=lambda name: ranked[name] if ranked[name] is not None else -1.0)
    return next(iter(PROXIES))


def decisions(problem: Problem, damage: Damage, row: np.ndarray) -> tuple[Decision, ...]:
    """Every choice of ``row int8[decisions]`` with its neighbours, priced in one go."""
    space = problem.space
    changes = [(d, c) for d in range(space.decisions) for c in _neighbours(space, d, int(row[d])) if c is not None]
    plans = np.repeat(row[None], len(changes) + 1, axis=0)
    for i, (decision, choice) in enumerate(changes, start=1):
        plans[i, decision] = choice
    objectives = cost.estimate(problem.table, plans)
    lost_db = damage.psnr_loss_db(plans)
    steps = {
        (decision, choice): Step(
            bits=space.widths(decision)[choice],
            psnr_loss_db=float(lost_db[i] - lost_db[0]),
            latency_s=float(objectives.latency_s[i] - objectives.latency_s[0]),
            weight_bytes=int(objectives.weight_bytes[i]) - int(objectives.weight_bytes[0]),
            peak_activation_bytes=int(objectives.peak_activation_bytes[i]) - int(objectives.peak_activation_bytes[0]),
        )
        for i, (decision, choice) in enumerate(changes, start=1)
    }
    made = []
    for d, name in enumerate(space.names):
        below, above = _neighbours(space, d, int(row[d]))
        alone = float(psnr_loss_db(damage.noise[d, row[d]], damage.float_mse))
        made.append(
            Decision(
                name=name,
                kind="weights" if d < len(space.layer_names) else "tensor",
                bits=space.widths(d)[int(row[d])],
                damage_db=alone,
                narrower=None if below is None else steps[d, below],
                wider=None if above is None else steps[d, above],
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
        "decisions": list(explanation.decisions),
        "price": pricing.document(explanation.price),
    }
