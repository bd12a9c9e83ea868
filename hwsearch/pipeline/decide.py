"""Which networks a search with rewritings searches, and with how many plans.

Blocks: every one is left out once, in floating point, and a chain of smaller networks is built (``search.blocks``). Branches:
what a low-rank branch of each layer takes of the noise of its rounding is set beside what the device asks for it
(``search.branches``), in the network and in those smaller ones of which a plan promises something. The exact front of every
network is predicted, and the plans that may be simulated are shared out by what the fronts promise together
(``search.variants``): a network that promises nothing is not searched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from hwmodels.errors import BudgetError
from hwsearch.documents.configuration import Rewritings, Rewritten
from hwsearch.documents.progress import STEPS, Progress, follow
from hwsearch.pipeline import block_losses, branch_promises, damages
from hwsearch.problem.network import adapted
from hwsearch.problem.pictures import Pictures
from hwsearch.problem.pose import Problem, pose
from hwsearch.problem.request import AUTO, Request
from hwsearch.quality import chosen_proxy
from hwsearch.quality.damage import Damage
from hwsearch.quality.evaluate import Evaluator
from hwsearch.quality.measurement import in_floating_point, prepare
from hwsearch.quality.measurement_cache import MeasurementCache
from hwsearch.quant.calibrate import Calibration
from hwsearch.search import blocks, frame_rate, variants
from hwsearch.search import branches as promises
from hwsearch.search.posed import ways_within
from hwsearch.search.variants import Rewriting, Variant
from searchspaces.ir import branches
from searchspaces.ir.module import GraphModule
from searchspaces.networks.registry import LoadedNetwork

CHAIN = 3
"""Smaller networks at most."""
MOST_DB = 1.0
"""A network that loses more in floating point is of no use, where no budget says what is."""
LEAST = 8
"""A network that is worth fewer plans is not searched; and the fewest random plans that check its proxies."""
WHOLE = "whole"


@dataclass(frozen=True, eq=False)
class RewrittenNetwork:
    """A rewritten network on the device: ``request`` asks for it, with what is left of a budget on the loss; ``network``: as it
    was given to be posed."""

    request: Request
    network: LoadedNetwork
    problem: Problem
    lost_db: float
    shared: MeasurementCache

    @property
    def rewriting(self) -> Rewriting:
        """What was done to the network."""
        return Rewriting(self.request.dropped, self.request.branches)

    def losing(self, lost_db: float) -> RewrittenNetwork:
        """The same, once it is known what it loses against the network as it was, in floating point."""
        budgets = dict(self.request.budgets)
        if "loss" in budgets:
            budgets["loss"] = max(budgets["loss"] - lost_db, 0.0)
        return replace(self, request=replace(self.request, budgets=budgets), lost_db=lost_db)

    def branched(self, request: Request, ranks: Mapping[str, int]) -> RewrittenNetwork:
        """The same network with branches: nothing is traced again. ``request``: with all of the budgets."""
        own = replace(request, dropped=self.request.dropped, branches=branches.written(ranks))
        problem = pose(own, replace(self.network, module=GraphModule(self.problem.graph)))
        network = replace(problem.network, module=self.network.module)
        return RewrittenNetwork(
            own, self.network, replace(problem, network=network), 0.0, MeasurementCache(network, [problem.space])
        )


def posed(request: Request, found: LoadedNetwork, rewriting: Rewriting) -> RewrittenNetwork:
    """The rewritten network on the device, in words that a run of its own understands."""
    own = replace(request, dropped=rewriting.dropped, branches=rewriting.branches)
    return _posed(own, adapted(own, found))


def _posed(own: Request, network: LoadedNetwork) -> RewrittenNetwork:
    problem = pose(own, network)
    return RewrittenNetwork(own, network, problem, 0.0, MeasurementCache(problem.network, [problem.space]))


def decided(
    request: Request, found: LoadedNetwork, whole: RewrittenNetwork, photos: Pictures, known: Rewritings, progress: Progress
) -> tuple[Rewritings, dict[str, RewrittenNetwork]]:
    """What each rewriting costs or promises, which networks are searched, and with how many plans.

    Raises:
        BudgetError: none of them has a plan that meets the budgets on price; that of the network as it was.
    """
    deciding = _Deciding(request, photos, progress)
    deciding.add(WHOLE, whole)
    looks = deciding.leave_out(found) if request.dropped == AUTO else {}
    promised = deciding.give_branches() if request.branches == AUTO else None
    shared_out = deciding.shares()
    networks = {
        name: Rewritten(
            blocks=list(own.request.dropped),
            branches=branches.read(own.request.branches),
            lost_db=own.lost_db,
            evaluations=shared_out[name],
            probes=min(request.probes, max(LEAST, round(request.probes * shared_out[name] / max(request.evaluations, 1)))),
        )
        for name, own in deciding.made.items()
    }
    return known.model_copy(update={"looks": looks, "promised": promised, "networks": networks}), deciding.made


class _Deciding:
    """The networks so far, by the folder of their runs; each is calibrated once, when it is first asked what it promises."""

    def __init__(self, request: Request, photos: Pictures, progress: Progress) -> None:
        self.request, self.photos, self.progress = request, photos, progress
        self.most_db = request.budgets.get("loss", MOST_DB)
        self.made: dict[str, RewrittenNetwork] = {}
        self._judges: dict[str, Evaluator] = {}
        self._calibrated: dict[str, tuple[Calibration, Damage]] = {}

    def add(self, name: str, own: RewrittenNetwork) -> None:
        """One more network."""
        self._judges[name] = in_floating_point(own.problem, self.photos)
        self.made[name] = own.losing(self._judges[WHOLE].float_db - self._judges[name].float_db)

    def leave_out(self, found: LoadedNetwork) -> dict[str, float | None]:
        """Add the chain of smaller networks; what is lost without each block, None where the network blows up."""
        whole = self.made[WHOLE]
        names = block_losses.candidates(found)
        with self.progress.stage("leaving out each block once", len(names)) as stage:
            looks = block_losses.looks(self.request, found, whole.problem, self.photos, self.most_db, stage.advance)
            looked = looks.blocks({name: block_losses.weights_of(found, name) for name in names})
        for dropped in blocks.chain(looked, looks, self.most_db, CHAIN):
            self.add(f"without-{len(dropped)}", posed(self.request, found, replace(whole.rewriting, dropped=dropped)))
        return {block.name: block.loss_db if math.isfinite(block.loss_db) else None for block in looked}

    def give_branches(self) -> dict[str, float]:
        """Add networks with branches that promise something; ``LAYER=RANK`` -> what the best branch of every layer of the network
        as it was promises (``Offer.promise``)."""
        promised: dict[str, float] = {}
        worth = self.shares()
        for name, base in [(name, own) for name, own in self.made.items() if worth[name]]:
            calibration, damage = self._measured(name)
            with self.progress.stage("asking what branches promise", 1):
                branched = partial(base.branched, self.request)
                best = promises.best(branch_promises.offers(base.problem, calibration, damage, branched))
            if name == WHOLE:
                promised = {f"{offer.layer}={offer.rank}": offer.promise for offer in best}
            for ranks in promises.chain(best):
                folder = "" if name == WHOLE else f"{name}-"
                self.add(f"{folder}branches-{len(ranks)}", base.branched(self.request, ranks))
        return promised

    def shares(self) -> dict[str, int]:
        """Network -> plans that may be simulated of it. One of which no plan meets the budgets on price gets none.

        Raises:
            BudgetError: none of them has such a plan; that of the network as it was.
        """
        known: dict[str, Variant] = {}
        refused: BudgetError | None = None
        for name, own in self.made.items():
            try:
                tilings, _ = ways_within(own.problem, own.request)
            except BudgetError as error:
                refused = refused or error
                continue
            _, damage = self._measured(name)
            known[name] = Variant(own.rewriting, own.problem.space, tilings.tables, damage, own.lost_db)
        if not known:
            raise refused or BudgetError("no plan meets the budgets")
        budgets = frame_rate.budgets_with(self.request.budgets, self.request.fps)
        found = variants.shares([*known.values()], self.request.evaluations, self.most_db, LEAST, budgets, self.request.seed)
        return dict.fromkeys(self.made, 0) | dict(zip(known, found, strict=True))

    def _measured(self, name: str) -> tuple[Calibration, Damage]:
        """A network's calibration, and the damages of its choices."""
        if name not in self._calibrated:
            own, judge, request = self.made[name], self._judges[name], self.request
            with self.progress.stage("calibrating", STEPS) as stage:
                measuring = prepare(
                    own.problem, self.photos, request.seed, own.shared, follow(stage, STEPS), request.methods, judge
                )
            measure = partial(damages.known, self.photos, judge.float_mse, own.request, self.progress)
            tables = own.shared.tables(own.problem.space, measure)
            self._calibrated[name] = measuring.calibration, tables[chosen_proxy.best((), tables)]
        return self._calibrated[name]
