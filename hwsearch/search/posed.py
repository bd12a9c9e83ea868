"""A request as a search works on it: the network on its device, the ways to cut the picture, budgets, pictures, and a judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwmodels.pricing.table import CostTable
from hwsearch.problem.pictures import Pictures, choose_pictures
from hwsearch.problem.pose import Problem, pose
from hwsearch.problem.request import Request
from hwsearch.quality.evaluate import Evaluator
from hwsearch.quality.measurement import in_floating_point
from hwsearch.search import frame_rate, tiling_options
from hwsearch.search.exact import exact
from hwsearch.search.tiling_options import TilingOptions
from searchspaces.networks.registry import LoadedNetwork


@dataclass(frozen=True, eq=False)
class PosedSearch:
    """What a search works on. ``budgets``: those of the request, and what its frame rate asks for; ``evaluator``: the judge of
    plans, which has seen the floating-point network."""

    request: Request
    problem: Problem
    tilings: TilingOptions
    budgets: Mapping[str, float]
    photos: Pictures
    evaluator: Evaluator

    @property
    def tables(self) -> list[CostTable]:
        """Prices, one table for each way to cut the picture that takes part."""
        return self.tilings.tables


def ways_within(problem: Problem, request: Request) -> tuple[TilingOptions, dict[str, float]]:
    """The ways to cut the picture that a request leaves open, and its budgets, with what its frame rate asks for.

    Raises:
        BudgetError: no plan meets the budgets on price, or holds the rate.
    """
    budgets = frame_rate.budgets_with(request.budgets, request.fps)
    tilings = tiling_options.left_open(problem, request, budgets)
    if request.fps is not None:
        frame_rate.check_rate(request.fps, tilings.tables, problem.space, request.budgets)
    exact.check_feasible(tilings.tables, problem.space, budgets)
    return tilings, budgets


def pose_search(request: Request, network: LoadedNetwork | None = None) -> PosedSearch:
    """Whatever can be refused is refused here, before anything is measured.

    Raises:
        BudgetError: as ``ways_within``.
    """
    problem = pose(request, network)
    tilings, budgets = ways_within(problem, request)
    photos = choose_pictures(request, problem.network)
    return PosedSearch(request, problem, tilings, budgets, photos, in_floating_point(problem, photos))
