"""One run that decides how the network is rewritten, and how wide what that gives is (``--drop auto``, ``--branches auto``).

    RUN/blocks.json        what was asked; what each block costs, what branches promise; the networks that are searched, and their
                           shares of the plans
    RUN/whole/             a run directory like any other, of the whole network
    RUN/without-1/         of the network without the block that costs least for the weights that it holds
    RUN/without-2/         ...without one more
    RUN/branches-4/        of the network with low-rank branches of four layers
    RUN/without-1-branches-4/
    RUN/results.json, RUN/report.html    the one front of them all, with losses against the whole network

``pipeline.decide`` decides which networks there are and what they are worth. A plan says which blocks its network lacks and which
branches it has; price, integers and quality are of that network. A stopped run goes on with the network at which it stopped.
Nothing is trained between rewriting and searching.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwmodels.errors import BudgetError, UsageError
from hwmodels.parts import plugins
from hwsearch.documents import reading
from hwsearch.documents.clock import Clock
from hwsearch.documents.configuration import SCHEMA, Rewritings, Rewritten
from hwsearch.documents.files import jsonable, write_json
from hwsearch.documents.progress import Progress, Silent
from hwsearch.documents.results import Results
from hwsearch.pipeline import block_losses, decide, joined
from hwsearch.pipeline import optimize as pipeline
from hwsearch.pipeline.decide import WHOLE, RewrittenNetwork
from hwsearch.plans import choose_again
from hwsearch.plans.choose_again import ChosenAgain
from hwsearch.problem import sizes
from hwsearch.problem.network import found_network
from hwsearch.problem.pictures import choose_pictures
from hwsearch.problem.pose import Problem
from hwsearch.problem.request import AUTO, Request
from hwsearch.report import html
from hwsearch.runs import directory, on_disk
from hwsearch.runs.interrupted import Interrupted
from hwsearch.runs.run import Run
from hwsearch.search.variants import Rewriting
from searchspaces.data.scale import scale_text
from searchspaces.ir import branches


def asked(request: Request) -> bool:
    """Whether a request leaves it to the search how the network is rewritten.

    Raises:
        UsageError: beside blocks or branches that it names, or in a study that workers share.
    """
    options = {"--drop": request.dropped, "--branches": request.branches}
    auto = [option for option, given in options.items() if AUTO[0] in given]
    if not auto:
        return False
    for option in auto:
        if options[option] != AUTO:
            what = "blocks" if option == "--drop" else "branches"
            raise UsageError(
                f"{option} auto decides about all {what}", f"Leave out {option} auto, or the {what} that are named beside it."
            )
    if request.dropped == AUTO and request.branches not in ((), AUTO):
        raise UsageError(
            "--drop auto may leave out a layer whose branch is named", "Give --branches auto, or name the blocks to drop, too."
        )
    if request.branches == AUTO and request.scope != "all":
        sizes.refuse_branches_beside(request.scope)
    if request.storage is not None:
        raise UsageError(
            f"--storage shares the plans of one network, and {auto[0]} auto searches several", "Leave one of them out."
        )
    return True


def optimize(request: Request, progress: Progress | None = None) -> Results:
    """``pipeline.optimize`` for the network as it is and as it is rewritten; ``request.run_dir`` is the folder of all.

    Raises:
        UsageError: the network has no block that could be left out, or no layer that could have a branch, or the run to go on
            with was started differently.
        BudgetError: the network meets the budgets neither as it is nor rewritten.
        HwsearchError: as ``pipeline.optimize``.
    """
    progress, clock = progress or Silent(), Clock()
    if request.resume and request.run_dir is not None:
        directory.check_request(request.run_dir, request, saved=on_disk.blocks(request.run_dir))
        if (request.run_dir / on_disk.RESULTS).is_file():
            return Run(request.run_dir).results
    if not request.resume:
        directory.check_empty(request.run_dir)
    found = found_network(request)
    if request.dropped == AUTO and not block_losses.candidates(found):
        raise UsageError(
            f"{found.name} has no block that could be left out",
            "A block is a part with parts of its own that gives the shape it is given, beside another one. Leave --drop out.",
        )
    named = Rewriting(*(() if given == AUTO else given for given in (request.dropped, request.branches)))
    whole = decide.posed(request, found, named)
    if request.branches == AUTO and not branches.candidates(whole.problem.graph):
        raise UsageError(
            f"{found.name} has no layer that could have a low-rank branch",
            "Layers in groups, of shared weights, or of one channel have none. Leave --branches out.",
        )
    photos = choose_pictures(whole.request, whole.problem.network)
    with _folder(request, whole.problem) as run, _named(run.path, request):
        clock.keep(run.clock_path)
        known = on_disk.blocks(run.path)
        with clock.stage("rewritings"):
            made: dict[str, RewrittenNetwork] = {WHOLE: whole}
            if not known.networks:
                known, made = decide.decided(request, found, whole, photos, known, progress)
                write_json(run.path / on_disk.BLOCKS, known)

        def network(name: str) -> RewrittenNetwork:
            rewritten = known.networks[name]
            rewriting = Rewriting(tuple(rewritten.blocks), branches.written(rewritten.branches))
            return made.get(name) or decide.posed(request, found, rewriting).losing(rewritten.lost_db)

        results = _searched(run.path, known, network, progress)
        joint = joined.results(request, whole.problem, photos, known, results, clock).placed(run.path)
        write_json(run.results_path, joint)
        html.write(joint, run.path)
    return joint


def _searched(
    path: Path, known: Rewritings, network: Callable[[str], RewrittenNetwork], progress: Progress
) -> dict[str, Results]:
    """The runs of the networks that are worth plans, in the folder ``path`` of all.

    Raises:
        BudgetError: none of them has a plan that meets the budgets; that of the first.
    """
    found: dict[str, Results] = {}
    refused: BudgetError | None = None
    for name, rewritten in known.networks.items():
        if not rewritten.evaluations:
            continue
        own, place = network(name), path / name
        reading.refuse_link(place)
        leg = replace(
            own.request,
            run_dir=place,
            resume=(place / on_disk.RUN).is_file(),
            evaluations=rewritten.evaluations,
            probes=rewritten.probes,
        )
        try:
            found[name] = pipeline.optimize(leg, progress, own.shared)
        except BudgetError as error:  # of what was simulated; another network may have a plan
            refused = refused or error
    if not found:
        raise refused or BudgetError("no plan meets the budgets")
    return found


@contextlib.contextmanager
def _named(path: Path, request: Request) -> Iterator[None]:
    """Whoever stops one of the runs is told the folder of all."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        raise Interrupted(path, request.model) from stopped


def _folder(request: Request, problem: Problem) -> directory.RunDirectory:
    """The folder of all runs, locked: a new one, or the one to go on with."""
    if request.resume and request.run_dir is not None:
        return directory.RunDirectory.lock(request.run_dir)
    label = f"{problem.network.name}-x{scale_text(problem.network.scale)}-{problem.device.name}-variants"
    run = directory.RunDirectory.create(request.run_dir, label)
    used = {"plugins": plugins.record()} if plugins.in_use() else {}
    write_json(run.path / on_disk.BLOCKS, {"schema_version": SCHEMA, "request": jsonable(request), **used})
    return run


def saved(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the request of the run in ``path``, as ``Request`` takes them; ``given``: what was given again.

    Raises:
        FileError: there is no such run.
        UsageError: something is given differently.
    """
    return on_disk.same_fields(on_disk.blocks(path), path, given)


def pick(path: Path, limits: Mapping[str, float], model: str | None = None) -> tuple[Rewritten, ChosenAgain]:
    """The plan of the finished runs in ``path`` that meets budgets best, and the network that it is of.

    Args:
        limits: in SI units; that on the loss is against the whole network.
        model: as of ``Run``.

    Raises:
        BudgetError: no plan of any of them meets the budgets.
        FileError: the runs are not finished, or not of what is found now.
    """
    found: list[tuple[Rewritten, ChosenAgain]] = []
    refused: BudgetError | None = None
    _ = Run(path).results  # or what is to be done to have them
    for name, network in on_disk.blocks(path).networks.items():
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

    def order(item: tuple[Rewritten, ChosenAgain]) -> tuple[float, float]:
        price = item[1].chosen.predicted
        loss_db = price.loss_db + item[0].lost_db
        return (price.latency_s, loss_db) if "loss" in limits else (loss_db, price.latency_s)

    return min(found, key=order)
