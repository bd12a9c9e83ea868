"""Published rules of bit allocation beside the exact solver, at equal cost.

Every rule climbs its ladder as far as the budget lets it. The exact solver then gets the cost of that plan as its limit, and the
damage of single choices at the output (or what another proxy says of them) as its objective: what remains between the two is what
the rule leaves on the table. Both are run in integers, not polished, on pictures that neither of them saw, and compared picture
by picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
from torch import Tensor

from hwmodels.counting import FLOAT_BITS
from hwmodels.errors import BudgetError, UsageError, closest
from hwmodels.numbers import bits_of
from hwsearch.documents import trust
from hwsearch.documents.comparisons import Allocated, AllocatorComparison, AllocatorRow
from hwsearch.documents.progress import STEPS, Progress, Silent, follow, split
from hwsearch.problem import complexity
from hwsearch.problem.calibrated import calibrated
from hwsearch.problem.compared_on import compared_on
from hwsearch.problem.pictures import Pictures, choose_pictures
from hwsearch.problem.pose import Problem, pose
from hwsearch.problem.request import Request
from hwsearch.quality import chosen_proxy, figures
from hwsearch.quality.damage import Damage
from hwsearch.quality.evaluate import Evaluator
from hwsearch.quality.intervals import difference, finite, interval
from hwsearch.quality.proxies import PROXIES
from hwsearch.quant.calibrate import Calibration
from hwsearch.quant.engine import integer
from hwsearch.quant.methods import is_mixture
from hwsearch.search.allocate import ALLOCATORS
from hwsearch.search.allocate.allocator import Grounds, rung
from hwsearch.search.exact import exact
from hwsearch.search.exact.additive import lower
from searchspaces.ir.graph import execute
from searchspaces.scopes import SCOPES
from searchspaces.space import PlanRow, SearchSpace, matrix

COSTS = tuple(name for name in exact.BUDGETS if name != "loss")
"""What bits can be made to save."""
QUALITY = "loss"
BYTE = 8


def compare(
    request: Request,
    wanted: Sequence[str],
    cost: str | None = None,
    progress: Progress | None = None,
    proxy: str = chosen_proxy.DEFAULT,
) -> AllocatorComparison:
    """Let every rule allocate bits within the request's budgets: limits on price, or one on quality alone.

    Args:
        cost: what bits are to save, one of ``COSTS``; None: the first budget on a price, else latency.
        proxy: whose damage the exact solver makes least.
    Raises:
        UsageError: no such rule, cost or proxy, several methods, no budget, or budgets on price and on quality at once.
        BudgetError: no plan, or no plan of any rule, is within the budgets.
    """
    progress = progress or Silent()
    if len(request.methods) > 1:
        raise UsageError("rules are compared by one quantization method", f"Keep one --method, for example {request.methods[0]}.")
    budgets, saved = _asked(request.budgets, cost)
    names = check(wanted)
    PROXIES.named(proxy)
    request = complexity.settled(request, progress)
    problem = pose(request)
    exact.check_feasible([problem.table], problem.space, budgets)
    limits = exact.price_limits(problem.table, budgets) if QUALITY not in budgets else {}
    photos = choose_pictures(request, problem.network)
    calibration = _calibrated(problem, photos, request, progress)
    judges = [Evaluator(lambda x: execute(problem.graph, x), pairs, photos.task) for pairs in (photos.search, photos.evaluation)]

    @cache
    def damage(proxy: str) -> Damage:
        return PROXIES[proxy].measure(calibration, photos.crops, request.seed, None, photos.task)

    with progress.stage("damage of single choices", 1) as stage:
        noise = damage(proxy).noise
        stage.advance()
    prices = lower(problem.table, noise, problem.space, {saved, *limits})
    grounds = Grounds(calibration, photos.crops, photos.task, request.seed, damage, prices, saved)
    describe = _Described(problem, calibration, damage(proxy), judges, grounds)
    with progress.stage("allocating and measuring", len(names)) as stage:
        found: dict[str, AllocatorRow | None] = {}
        for name in names:
            found[name] = _climbed(name, describe, problem, limits, budgets.get(QUALITY, np.inf))
            stage.advance()
    rows = [row for row in found.values() if row is not None]
    if not rows:
        raise BudgetError("none of these rules has a plan within the budgets", "`hwsearch optimize` looks at all plans.")
    eight = _everywhere(problem.space, BYTE)
    return AllocatorComparison(
        **compared_on(request, problem.network),
        target=problem.device.name,
        trust=trust.of(problem.device),
        input_size=problem.input_size,
        scope=request.scope,
        about_scope=SCOPES[request.scope].told(problem.workload),
        budgets=dict(budgets),
        cost=saved,
        proxy=proxy,
        quality_name=photos.task.quality.name,
        second_name=photos.task.second.name,
        float_db=judges[1].float_db,
        float_second=describe.float_second,
        pictures=[pair.name for pair in judges[1].pairs],
        eight_bits=None if eight is None else describe(eight),
        rows=rows,
        unreached=[name for name, row in found.items() if row is None],
    )


def _calibrated(problem: Problem, photos: Pictures, request: Request, progress: Progress) -> Calibration:
    """The network by the one method of the request; a mixture has decided who makes what."""
    method = request.methods[0]
    with progress.stage("calibrating", STEPS) as stage:
        report, *reports = split(follow(stage, STEPS), 1 + is_mixture(method))
        found = calibrated(problem, photos, request.seed, method=method, progress=report)
        for tell in reports:
            found.decide(tell)
    return found


def _everywhere(space: SearchSpace, bits: int) -> PlanRow | None:
    """The plan of one width in all that is searched; None where that is not on offer."""
    offered = bits in map(bits_of, space.weight_bits) and bits in map(bits_of, space.activation_bits)
    return space.uniform(bits, bits) if offered else None


def check(wanted: Sequence[str]) -> tuple[str, ...]:
    """Names of allocators, each once; all of them where none is given.

    Raises:
        UsageError: there is none of such a name.
    """
    for name in wanted:
        ALLOCATORS.named(name)
    return tuple(dict.fromkeys(wanted)) or tuple(ALLOCATORS)


def _asked(budgets: Mapping[str, float], cost: str | None) -> tuple[dict[str, float], str]:
    """The budgets, and the objective that bits are to save."""
    if not budgets:
        raise UsageError("no budget to allocate bits for", "Give a price or a loss: --budget weights=10KiB, or loss=0.3dB.")
    prices = [name for name in budgets if name != QUALITY]
    if prices and QUALITY in budgets:
        raise UsageError("budgets on price and on quality at once", "A rule has one number to turn: keep one kind of budget.")
    if cost is not None and cost not in COSTS:
        raise UsageError(f"--cost {cost!r} is not known", closest(cost, COSTS))
    return dict(budgets), exact.BUDGETS[cost or (prices[0] if prices else "latency")]


class _Described:
    """Plans as they are told: priced, predicted, simulated on the search pictures, run in integers on the others."""

    def __init__(
        self, problem: Problem, calibration: Calibration, damage: Damage, judges: Sequence[Evaluator], grounds: Grounds
    ) -> None:
        self._problem, self._calibration, self._damage, self.grounds = problem, calibration, damage, grounds
        self._search, self._unseen = judges
        self._simulated: dict[PlanRow, float] = {}
        self._float_db, self.float_second = self._figures(lambda x: execute(problem.graph, x))

    def simulated_db(self, plan: PlanRow) -> float:
        """Loss on the search pictures, in fake quantization; measured once."""
        if plan not in self._simulated:
            self._simulated[plan] = self._search.score(lambda x: self._calibration.simulate(plan, x)).loss_db
        return self._simulated[plan]

    def _figures(self, network: Callable[[Tensor], Tensor]) -> tuple[np.ndarray, float]:
        """Quality on each picture that no rule saw, dB, and the mean of the task's second figure."""
        return figures.on(network, self._unseen.pairs, self.grounds.task)

    def __call__(self, plan: PlanRow) -> Allocated:
        space, workload = self._problem.space, self._problem.workload
        weights, tensors = space.named(plan)
        parameters = np.array([workload.layers[row].weight_count for row in workload.weighted])
        elements = np.array([tensor.elements for tensor in workload.tensors])
        of_tensor = [bits_of(tensors[workload.group_names[tensor.group]]) for tensor in workload.tensors]
        mean_weight = float(np.average([*map(bits_of, weights.values())], weights=parameters))
        mean_tensor = float(np.average(of_tensor, weights=elements))
        priced = {name: float(value[0]) for name, value in self.grounds.problem.costs(matrix([plan])).items()}
        quantized = self._calibration.quantized(plan)
        qualities, second = self._figures(lambda x: integer.run(quantized, x))
        losses = self._float_db - qualities
        found = interval(losses)
        known = bool(np.isfinite(self._problem.table.energy_j).all())
        return Allocated(
            weight_bits=weights,
            activation_bits=tensors,
            mean_weight_bits=mean_weight,
            mean_tensor_bits=mean_tensor,
            weights_than_fp32=FLOAT_BITS / mean_weight,
            tensors_than_fp32=FLOAT_BITS / mean_tensor,
            weights_than_int8=BYTE / mean_weight,
            tensors_than_int8=BYTE / mean_tensor,
            cost=priced[self.grounds.cost],
            latency_s=priced["latency_s"],
            weight_bytes=round(priced["weight_bytes"]),
            memory_bytes=round(priced["memory_bytes"]),
            energy_j=priced["energy_j"] if known else None,
            predicted_db=float(self._damage.loss_db(matrix([plan]))[0]),
            simulated_db=self.simulated_db(plan),
            loss_db=found.mean,
            half_db=finite(found.half),
            losses_db=losses.tolist(),
            second=second,
        )


def _climbed(
    name: str, describe: _Described, problem: Problem, limits: Mapping[str, float], most_db: float
) -> AllocatorRow | None:
    """The plan that a rule's ladder reaches within the budgets, beside the exact solver's; None where it reaches none."""
    grounds = describe.grounds
    plans = ALLOCATORS[name].ladder(grounds)
    plan = rung(plans, grounds.problem, limits, describe.simulated_db, most_db)
    return None if plan is None else _row(name, len(plans), plan, describe, problem)


def _row(name: str, rungs: int, plan: PlanRow, describe: _Described, problem: Problem) -> AllocatorRow:
    """A rule's plan, and that of least predicted noise which costs no more."""
    grounds = describe.grounds
    limit = {grounds.cost: float(grounds.problem.costs(matrix([plan]))[grounds.cost][0]) * (1 + 1e-12)}
    solved = exact.solve(problem.table, grounds.problem.noise, limit, problem.space, warm=[np.asarray(plan)]).plan
    rule, best = describe(plan), describe(problem.space.row(solved))
    gain = difference(rule.losses_db, best.losses_db)
    return AllocatorRow(
        allocator=name,
        reconstructed=ALLOCATORS[name].reconstructed,
        rungs=rungs,
        rule=rule,
        exact=best,
        gain_db=gain.mean,
        gain_half_db=finite(gain.half),
        tie=gain.is_tie,
    )
