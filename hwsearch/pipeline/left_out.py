"""One run that decides which blocks of the network are left out, and how wide what is left is (``--drop auto``).

    RUN/blocks.json     what was asked; what each block costs; the networks that are searched, and their shares of the plans
    RUN/whole/          a run directory like any other, of the whole network
    RUN/without-1/      of the network without the block that costs least for the weights that it holds
    RUN/without-2/      ...without one more
    RUN/results.json, RUN/report.html    the one front of them all, with losses against the whole network

Every block is left out once, in floating point, and a chain of smaller networks is built (``search.blocks``). The exact front of
each is predicted, and the plans that may be simulated are shared out by what the fronts promise together: a network that
promises nothing is not searched. A plan says which blocks its network lacks; price, integers and quality are of that network.
A stopped run goes on with the network at which it stopped. Nothing is trained between leaving out and searching.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hwmodels.errors import BudgetError, UsageError
from hwmodels.parts import plugins
from hwsearch.documents import reading
from hwsearch.documents.clock import Clock
from hwsearch.documents.configuration import SCHEMA, Blocks, LeftOut
from hwsearch.documents.files import jsonable, write_json
from hwsearch.documents.progress import STEPS, Progress, Silent, follow
from hwsearch.documents.results import Results
from hwsearch.pipeline import block_losses, joined
from hwsearch.pipeline import optimize as pipeline
from hwsearch.plans import choose_again
from hwsearch.plans.choose_again import ChosenAgain
from hwsearch.problem.network import adapted, found_network
from hwsearch.problem.pictures import Pictures, choose_pictures
from hwsearch.problem.pose import Problem, pose
from hwsearch.problem.request import AUTO, Request
from hwsearch.quality import chosen_proxy
from hwsearch.quality.evaluate import Evaluator
from hwsearch.quality.measurement import in_floating_point, prepare
from hwsearch.quality.shared import Shared
from hwsearch.report import html
from hwsearch.runs import directory
from hwsearch.runs import run as reader
from hwsearch.runs.interrupted import Interrupted
from hwsearch.runs.run import Run
from hwsearch.search import blocks as search
from hwsearch.search import frame_rate, tiling_options
from hwsearch.search.blocks import Variant
from hwsearch.search.exact import exact
from searchspaces.data.scale import scale_text
from searchspaces.networks.registry import LoadedNetwork

CHAIN = 3
"""Smaller networks at most."""
MOST_DB = 1.0
"""A network that loses more in floating point is of no use, where no budget says what is."""
LEAST = 8
"""A network that is worth fewer plans is not searched; and the fewest random plans that check its proxies."""
WHOLE = "whole"


@dataclass(frozen=True, eq=False)
class _Network:
    """A network of the chain on the device: ``request`` asks for it, with what is left of a budget on the loss."""

    request: Request
    problem: Problem
    lost_db: float
    shared: Shared

    def losing(self, lost_db: float) -> _Network:
        """The same, once it is known what it loses against the whole network in floating point."""
        budgets = dict(self.request.budgets)
        if "loss" in budgets:
            budgets["loss"] = max(budgets["loss"] - lost_db, 0.0)
        return replace(self, request=replace(self.request, budgets=budgets), lost_db=lost_db)


def asked(request: Request) -> bool:
    """Whether a request leaves it to the search which blocks are left out.

    Raises:
        UsageError: beside blocks that it names, or in a study that workers share.
    """
    if AUTO[0] not in request.dropped:
        return False
    if request.dropped != AUTO:
        raise UsageError("--drop auto decides about all blocks", "Leave out --drop auto, or the blocks that are named beside it.")
    if request.storage is not None:
        raise UsageError("--storage shares the plans of one network, and --drop auto searches several", "Leave one of them out.")
    return True


def optimize(request: Request, progress: Progress | None = None) -> Results:
    """``pipeline.optimize`` for the network and for what is left of it without blocks; ``request.run_dir`` is the folder of all.

    Raises:
        UsageError: the network has no block that could be left out, or the run to go on with was started differently.
        BudgetError: neither the network nor what is left of it meets the budgets.
        HwsearchError: as ``pipeline.optimize``.
    """
    progress, clock = progress or Silent(), Clock()
    if request.resume and request.run_dir is not None:
        directory.check_request(request.run_dir, request, saved=reader.blocks(request.run_dir))
        if (request.run_dir / reader.RESULTS).is_file():
            return Run(request.run_dir).results
    if not request.resume:
        directory.check_empty(request.run_dir)
    found = found_network(request)
    if not block_losses.candidates(found):
        raise UsageError(
            f"{found.name} has no block that could be left out",
            "A block is a part with parts of its own that gives the shape it is given, beside another one. Leave --drop out.",
        )
    whole = _pose(request, found, ())
    photos = choose_pictures(whole.request, whole.problem.network)
    with _folder(request, whole.problem) as run, _named(run.path, request):
        clock.keep(run.clock_path)
        known = reader.blocks(run.path)
        with clock.stage("blocks"):
            made = {WHOLE: whole}
            if not known.networks:
                known, made = _decided(request, found, whole, photos, known, progress)
                write_json(run.path / reader.BLOCKS, known)
        results: dict[str, Results] = {}
        refused: BudgetError | None = None
        for name, network in known.networks.items():
            if not network.evaluations:
                continue
            own = made.get(name) or _pose(request, found, tuple(network.blocks)).losing(network.lost_db)
            place = run.path / name
            reading.refuse_link(place)
            leg = replace(
                own.request,
                run_dir=place,
                resume=(place / reader.RUN).is_file(),
                evaluations=network.evaluations,
                probes=network.probes,
            )
            try:
                results[name] = pipeline.optimize(leg, progress, own.shared)
            except BudgetError as error:  # of what was simulated; another network may have a plan
                refused = refused or error
        if not results:
            raise refused or BudgetError("no plan meets the budgets")
        joint = joined.results(request, whole.problem, photos, known, results, clock).placed(run.path)
        write_json(run.results_path, joint)
        html.write(joint, run.path)
    return joint


@contextlib.contextmanager
def _named(path: Path, request: Request) -> Iterator[None]:
    """Whoever stops one of the runs is told the folder of all."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        raise Interrupted(path, request.model) from stopped


def _pose(request: Request, found: LoadedNetwork, dropped: tuple[str, ...]) -> _Network:
    """The network without blocks on the device, in words that a run of its own understands."""
    own = replace(request, dropped=dropped)
    problem = pose(own, adapted(own, found))
    return _Network(own, problem, 0.0, Shared(problem.network, [problem.space]))


def _folder(request: Request, problem: Problem) -> directory.RunDirectory:
    """The folder of all runs, locked: a new one, or the one to go on with."""
    if request.resume and request.run_dir is not None:
        return directory.RunDirectory.lock(request.run_dir)
    label = f"{problem.network.name}-x{scale_text(problem.network.scale)}-{problem.device.name}-blocks"
    run = directory.RunDirectory.create(request.run_dir, label)
    used = {"plugins": plugins.record()} if plugins.in_use() else {}
    write_json(run.path / reader.BLOCKS, {"schema_version": SCHEMA, "request": jsonable(request), **used})
    return run


def _decided(
    request: Request, found: LoadedNetwork, whole: _Network, photos: Pictures, known: Blocks, progress: Progress
) -> tuple[Blocks, dict[str, _Network]]:
    """What each block costs, which networks are searched, and with how many plans."""
    most_db = request.budgets.get("loss", MOST_DB)
    names = block_losses.candidates(found)
    with progress.stage("leaving out each block once", len(names)) as stage:
        looks = block_losses.looks(request, found, whole.problem, photos, most_db, stage.advance)
        looked = looks.blocks({name: block_losses.weights_of(found, name) for name in names})
    made = {WHOLE: whole}
    judges = {WHOLE: in_floating_point(whole.problem, photos)}
    for dropped in search.chain(looked, looks, most_db, CHAIN):
        name, own = f"without-{len(dropped)}", _pose(request, found, dropped)
        judges[name] = in_floating_point(own.problem, photos)
        made[name] = own.losing(judges[WHOLE].float_db - judges[name].float_db)
    shared_out = _shares(request, made, judges, photos, most_db, progress)
    networks = {
        name: LeftOut(
            blocks=list(own.request.dropped),
            lost_db=own.lost_db,
            evaluations=shared_out[name],
            probes=min(request.probes, max(LEAST, round(request.probes * shared_out[name] / max(request.evaluations, 1)))),
        )
        for name, own in made.items()
    }
    told = {block.name: block.loss_db if math.isfinite(block.loss_db) else None for block in looked}
    return known.model_copy(update={"looks": told, "networks": networks}), made


def _shares(
    request: Request,
    made: Mapping[str, _Network],
    judges: Mapping[str, Evaluator],
    photos: Pictures,
    most_db: float,
    progress: Progress,
) -> dict[str, int]:
    """Network -> plans that may be simulated of it. One of which no plan meets the budgets on price gets none.

    Raises:
        BudgetError: none of them has such a plan; that of the whole network.
    """
    variants: dict[str, Variant] = {}
    refused: BudgetError | None = None
    for name, own in made.items():
        budgets = frame_rate.budgets_with(own.request.budgets, request.fps)
        tables = [tiled.table for tiled in tiling_options.left_open(own.problem, own.request, budgets).useful]
        try:
            exact.check_feasible(tables, own.problem.space, budgets)
        except BudgetError as error:
            refused = refused or error
            continue
        judge = judges[name]
        with progress.stage("calibrating", STEPS) as stage:
            prepare(own.problem, photos, request.seed, own.shared, follow(stage, STEPS), request.methods, judge)
        measure = partial(pipeline.measured_tables, photos, judge.float_mse, own.request, progress)
        tables_of = own.shared.tables(own.problem.space, measure)
        damage = tables_of[chosen_proxy.best((), tables_of)]
        variants[name] = Variant(own.request.dropped, own.problem.space, tables, damage, own.lost_db)
    if not variants:
        raise refused or BudgetError("no plan meets the budgets")
    budgets = frame_rate.budgets_with(request.budgets, request.fps)
    found = search.shares([*variants.values()], request.evaluations, most_db, LEAST, budgets, request.seed)
    return dict.fromkeys(made, 0) | dict(zip(variants, found, strict=True))


def saved(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the request of the run in ``path``, as ``Request`` takes them; ``given``: what was given again.

    Raises:
        FileError: there is no such run.
        UsageError: something is given differently.
    """
    return reader.same_fields(reader.blocks(path), path, given)


def pick(path: Path, limits: Mapping[str, float], model: str | None = None) -> tuple[LeftOut, ChosenAgain]:
    """The plan of the finished runs in ``path`` that meets budgets best, and the network that it is of.

    Args:
        limits: in SI units; that on the loss is against the whole network.
        model: as of ``Run``.

    Raises:
        BudgetError: no plan of any of them meets the budgets.
        FileError: the runs are not finished, or not of what is found now.
    """
    found: list[tuple[LeftOut, ChosenAgain]] = []
    refused: BudgetError | None = None
    _ = Run(path).results  # or what is to be done to have them
    for name, network in reader.blocks(path).networks.items():
        run = Run(reading.inside(path, name, "the run of a network"), model)
        left = {key: limit - network.lost_db if key == "loss" else limit for key, limit in limits.items()}
        if not network.evaluations or not run.is_finished or left.get("loss", 0.0) < 0:
            continue
        try:
            found.append((network, choose_again.pick(run, left)))
        except BudgetError as error:
            refused = refused or error
    if not found:
        raise refused or BudgetError("no plan meets the budgets")

    def order(item: tuple[LeftOut, ChosenAgain]) -> tuple[float, float]:
        price = item[1].chosen.predicted
        loss_db = price.loss_db + item[0].lost_db
        return (price.latency_s, loss_db) if "loss" in limits else (loss_db, price.latency_s)

    return min(found, key=order)
