"""Another choice from a finished run, without searching again.

Two answers are weighed. The best of all plans that the run has simulated, or where it is one of those that the run has finished
to pick one, the best of these by what they lose then; and the exact optimum for the budgets by the run's damage table, calibrated
by everything that was simulated; its loss is predicted from that table and the simulated plans like it.
A prediction beats a simulation only by more than the run's own median error of prediction. A plan that is written is run in
integers first: what leaves here is measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels.errors import BudgetError, FileError, MismatchError
from hwmodels.numbers import Width
from hwmodels.tiling.tiles import PricedTiling
from hwsearch.documents import trust
from hwsearch.documents.bounds import check_name
from hwsearch.documents.files import write_json
from hwsearch.documents.origin import FoundBy, Origin
from hwsearch.documents.plan import Counted, LossIs, Measured, Plan, Predicted, Unproven
from hwsearch.documents.progress import STEPS, Progress, follow
from hwsearch.documents.results import Results
from hwsearch.plans import prove
from hwsearch.problem.calibrated import calibrated
from hwsearch.problem.pictures import Pictures
from hwsearch.problem.pose import Problem
from hwsearch.problem.request import Request
from hwsearch.runs import directory
from hwsearch.runs.run import Run
from hwsearch.search import pareto
from hwsearch.search.posed import ways_within
from hwsearch.search.predict import interactions
from hwsearch.search.tiling_options import TilingOptions
from searchspaces.space import PlanRow, matrix


@dataclass(frozen=True, eq=False)
class Candidate:
    """A plan that meets the budgets.

    Attributes:
        source: "simulated" on the search pictures, or "predicted" (its price is the cost model's in either case); where the plan
            was run in integers, ``measured`` says what that gave on the evaluation pictures.
        name: of its plan file in the run; empty where it has none.
        row: the plan; ``tiled``: how the picture is cut; ``method``: what a simulated plan was simulated with.
    """

    source: LossIs
    name: str
    row: PlanRow
    tiled: PricedTiling
    predicted: Predicted
    counted: Counted | None
    bits: tuple[dict[str, Width], dict[str, Width]]
    method: str
    measured: Measured | None = None
    unproven: Unproven | None = None


@dataclass(frozen=True, eq=False)
class ChosenAgain:
    """What a run answers to budgets; ``chosen`` is one of the two. ``error_db``: the run's median error of prediction;
    ``refused``: exact optima were not simulated, and are predicted to break the budgets."""

    results: Results
    request: Request
    problem: Problem
    photos: Pictures
    budgets: Mapping[str, float]
    simulated: Candidate | None
    predicted: Candidate | None
    error_db: float
    refused: bool

    @property
    def chosen(self) -> Candidate:
        """The simulated plan, unless the predicted one is better beyond doubt."""
        known, unknown = self.simulated, self.predicted
        if known is None or unknown is None:
            only = unknown if known is None else known
            assert only is not None
            return only
        cautious_db = unknown.predicted.loss_db + self.error_db
        if "loss" in self.budgets:
            faster = unknown.predicted.latency_s < known.predicted.latency_s
            return unknown if cautious_db <= self.budgets["loss"] and faster else known
        return unknown if cautious_db < known.predicted.loss_db else known


def pick(run: Run, budgets: Mapping[str, float]) -> ChosenAgain:
    """Choose again from the finished run ``run``; ``budgets`` in SI units replace those that it was started with.

    Raises:
        BudgetError: no plan meets the budgets; says the best value that can be reached.
        FileError: the run is not finished, or its network, device or pictures are not what they were.
    """
    results, problem, photos = run.results, run.problem, run.photos
    request = dataclasses.replace(run.request, budgets=dict(budgets), fps=None)
    run.check_unchanged(directory.provenance_of(problem, photos))
    tilings, budgets = ways_within(problem, request)
    space = problem.space
    known = run.evaluations(space)
    losses = np.array([score.loss_db for score in known.values()])
    written = {space.plan(plan.weight_bits, plan.activation_bits): plan for plan in results.front}
    finished = {row: results.finalists[plan.name] for row, plan in written.items() if plan.name in results.finalists}
    made = _Maker(problem, tilings, written, budgets, {} if "loss" in budgets else finished)
    simulated, refused = made.best([*known], losses, "simulated", [score.method for score in known.values()])
    predicted = broken = None
    if run.has_damage:
        prediction = run.prediction(space)
        optima = [plan for way in tilings.tables for plan in interactions.within_budgets(way, prediction, space, budgets)]
        new = [plan for plan in optima if plan not in known]
        if new:
            usual = [request.methods[0]] * len(new)
            predicted, broken = made.best(new, prediction.loss_db(matrix(new)), "predicted", usual)
    if simulated is None and predicted is None:
        raise refused or BudgetError("no plan meets the budgets")
    error_db = results.front_proxies[-1].median_error_db if results.front_proxies else 0.0
    return ChosenAgain(results, request, problem, photos, budgets, simulated, predicted, error_db, broken is not None)


@dataclass(frozen=True, eq=False)
class _Maker:
    """Turns plans into candidates; ``written``: plan files of the run; ``finished``: what each plan loses that was finished to
    pick one."""

    problem: Problem
    tilings: TilingOptions
    written: Mapping[PlanRow, Plan]
    budgets: Mapping[str, float]
    finished: Mapping[PlanRow, float]

    def best(
        self, plans: Sequence[PlanRow], losses: np.ndarray, source: LossIs, methods: Sequence[str]
    ) -> tuple[Candidate | None, BudgetError | None]:
        """The best of ``plans`` that lose ``losses float64[P]`` dB by ``methods``, or why there is none."""
        space = self.problem.space
        rows = matrix(plans)
        objectives, taken = self.tilings.take(rows)
        counted = space.counting.of_plans(rows) if space.counting else {}
        values = pareto.columns(losses, objectives) | counted
        try:
            within = pareto.within(values, self.budgets, self.problem.table.limits)
        except BudgetError as error:
            return None, error
        at = within[0]
        if plans[at] in self.finished:  # then what others lose that were finished is known as well as its own loss
            at = min((row for row in within if plans[row] in self.finished), key=lambda row: self.finished[plans[row]])
        written = self.written.get(plans[at])
        return (
            Candidate(
                source=source,
                name=written.name if written else "",
                row=plans[at],
                tiled=taken[at],
                predicted=prove.price_of(objectives, at, float(losses[at]), source),
                counted=prove.count(plans[at]),
                bits=space.named(plans[at]),
                method=methods[at],
                measured=written.measured if written else None,
                unproven=written.unproven if written else None,
            ),
            None,
        )


def write(picked: ChosenAgain, path: Path, progress: Progress) -> Plan:
    """Calibrate the chosen plan, run it in integers on the evaluation pictures, and write it to ``path`` (``NAME.json``), its
    integers and its ONNX file beside it.

    Raises:
        FileError: ``path`` is no place for a plan.
        MismatchError: the plan is not proven; its files are written all the same, and its document says so.
    """
    if path.suffix != ".json" or path.is_dir():
        raise FileError(f"{path} is no name for a plan", f"Name a file that ends in .json, such as {path.with_suffix('.json')}.")
    try:
        check_name(path.stem)
    except ValueError as error:
        raise FileError(f"{path.stem!r} is no name for a plan: {error}", "Give another file.") from None
    chosen, problem, request = picked.chosen, picked.problem, picked.request
    with progress.stage("calibrating", STEPS) as stage:
        report = follow(stage, STEPS)
        calibration = calibrated(problem, picked.photos, request.seed, method=chosen.method, progress=report)
    with progress.stage("running the plan in integers", STEPS) as stage:
        report = follow(stage, STEPS)
        quantized = calibration.finished(chosen.row, seed=request.seed, progress=report)
        path.parent.mkdir(parents=True, exist_ok=True)
        proof = prove.prove(path.stem, quantized, problem, chosen.tiled.tiling, picked.photos, path.parent)
        report("proven" if proof.unproven is None else "not proven", 1.0)
    for said in quantized.remarks:
        progress.say(said)
    plan = prove.plan_of(
        path.stem,
        chosen.row,
        request,
        problem,
        picked.photos,
        predicted=chosen.predicted,
        tiling=chosen.tiled.tiling,
        origin=Origin(FoundBy.CHOSEN_AGAIN, chosen.source),
        proof=proof,
        method=chosen.method,
        made_by=calibration.made_by(chosen.row),
    )
    write_json(path, plan)
    if plan.unproven is not None:
        raise MismatchError(plan.not_proven, f"{path} says so, too.")
    return plan


def document(picked: ChosenAgain, written: Plan | None = None) -> dict[str, Any]:
    """The answer for machines; SI units."""

    def entry(candidate: Candidate | None) -> dict[str, Any] | None:
        if candidate is None:
            return None
        return {
            "plan": candidate.name or None,
            "source": candidate.source,
            "weight_bits": candidate.bits[0],
            "activation_bits": candidate.bits[1],
            "tiling": candidate.tiled.tiling,
            "predicted": candidate.predicted,
            "trust": trust.document(picked.results.device, candidate.predicted.latency_s),
            "counted": candidate.counted,
            "measured": candidate.measured,
            "unproven": candidate.unproven,
        }

    return {
        "budgets": picked.budgets,
        "chosen": entry(picked.chosen),
        "simulated": entry(picked.simulated),
        "predicted": entry(picked.predicted),
        "median_error_db": picked.error_db,
        "written": written,
    }
