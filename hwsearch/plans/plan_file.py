"""Reading plans back: the document, the integers beside it, and the run around it, checked as one.

A plan is one thing in two files: network, widths and integers. It is refused, with what differs, where the document was edited
(its seal tells), where the integers are of another plan (their hash, or their own widths tell), where an earlier version gave
formats to tensors that have none of their own any more, and later where the network's weights are not those that it was made
with. An edited or earlier plan can be quantized anew, if that is asked for.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hwmodels.errors import FileError, UsageError
from hwmodels.numbers import BF16, FP16, INT16, Width
from hwsearch.documents import reading
from hwsearch.documents.plan import SCHEMA, Plan
from hwsearch.documents.progress import STEPS, Progress, Silent, follow
from hwsearch.plans import ready
from hwsearch.runs.on_disk import not_named
from hwsearch.runs.run import Run
from searchspaces.networks import own_code

if TYPE_CHECKING:
    from hwsearch.problem.pictures import Pictures
    from hwsearch.problem.pose import Problem
    from hwsearch.problem.request import Request
    from hwsearch.quant.calibrate import Calibration
    from hwsearch.quant.network.graph import QuantizedGraph
    from searchspaces.ir.graph import Graph
    from searchspaces.space import PlanRow

EARLIER = "of an earlier version"
EDITED = "Use the plan as its run wrote it; or quantize it as it is now: --allow-edited."


@dataclass(frozen=True, eq=False)
class Recalibrated:
    """The problem behind a plan, posed and calibrated again as its run did it; ``row`` is the plan in its space."""

    request: Request
    problem: Problem
    row: PlanRow
    photos: Pictures
    calibration: Calibration


@dataclass(frozen=True, eq=False)
class PlanFile:
    """A plan as it stands on disk.

    Attributes:
        plan: the document; without integers and measurements where it was edited.
        model: the file of code that is the plan's network, named by the person who asks; it is executed.
        edited: what was changed since the plan was written, or that it is of an earlier version, where that was allowed.
    """

    path: Path
    plan: Plan
    model: str | None = None
    edited: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the person must know of this plan."""
        made = tuple(f"{self.plan.name}: {said.rstrip('.')}" for said in self.plan.remarks)
        if self.plan.unproven is not None:
            return (self.plan.not_proven, *made)
        if not self.edited:
            return made
        said = "; ".join(self.edited)
        what = f"is {said}" if said.startswith(EARLIER) else f"was edited ({said})"
        return (f"{self.plan.name} {what}: it is quantized again, and nothing of it was measured",)

    @cached_property
    def run(self) -> Run | None:
        """The run that the plan stands in; None for a plan on its own."""
        return Run.of_plan(self.path, self.model)

    @cached_property
    def request(self) -> Request:
        """The request behind the plan: that of the run it stands in, or as much as the plan itself tells.

        A plan on its own knows the name of its network but not a file of weights.

        Raises:
            UsageError: the network is a file of code that was not named again.
        """
        from hwsearch.problem.request import Request
        from searchspaces.ir import branches

        plan = self.plan
        size = (plan.input_height, plan.input_width)
        tile, halo = ("whole", None) if plan.tiling is None else (f"{plan.tiling.height}x{plan.tiling.width}", plan.tiling.halo)
        if self.run is not None:
            asked = self.run.request
            return dataclasses.replace(asked, input_size=size, budgets={}, fps=None, tile=tile, halo=halo)
        code = plan.provenance.network_arguments.get("model")
        if code is not None and self.model is None:
            raise not_named(self.path, str(code), "plan")
        request = Request(
            network=plan.network,
            scale=plan.scale,
            arguments={} if self.model else plan.provenance.network_arguments,
            dropped=tuple(plan.dropped),
            branches=branches.written(plan.branches),
            input_channels=tuple(plan.input_channels),
            value_range=plan.value_range,
            order=plan.order,
            target=plan.target,
            input_size=size,
            tile=tile,
            halo=halo,
            scope=plan.scope,  # type: ignore[arg-type]  # checked by open_plan
            seed=plan.provenance.seed,
        )
        return request if self.model is None else dataclasses.replace(request, model=self.model)

    @cached_property
    def posed(self) -> tuple[Problem, PlanRow]:
        """The problem behind the plan, and the plan in its space.

        Raises:
            FileError: the weights or the device file are not those that the plan was made with.
            UsageError, FileError: the network or its weights are not to be had.
        """
        from hwsearch.problem.pose import pose

        problem = pose(self.request)
        made_with = self.plan.provenance
        self.check_weights(problem.network.weights_sha256)
        if made_with.device_sha256 != problem.device.device_sha256:
            raise self._changed("device file")
        return problem, problem.space.plan(self.plan.weight_bits, self.tensor_bits(problem.graph))

    def tensor_bits(self, graph: Graph) -> dict[str, Width]:
        """The widths of the tensors that have one of their own; plans of earlier versions name more.

        Raises:
            FileError: two tensors that share a width have two.
        """
        leaders, widths, found = graph.width_groups(), self.plan.activation_bits, dict[str, Width]()
        for name, width in widths.items():
            leader = leaders.get(name, name)
            if leader == name or leader not in widths:
                found[name] = width
            elif width != widths[leader]:
                raise FileError(
                    f"{self.path}: {name} and {leader} share one width, and the plan gives them {width} and {widths[leader]}",
                    "Give both the same width in the plan, and quantize it as it is then: --allow-edited.",
                )
        return found

    def check_weights(self, sha256: str) -> None:
        """Raise FileError where a network's weights, by their digest, are not those that the plan was made with; plans of code by
        earlier versions do not tell."""
        if self.plan.provenance.weights_sha256 not in ("", sha256):
            raise self._changed("weights")

    def _changed(self, what: str) -> FileError:
        hint = "Keep the plan in its run's folder, and weights and device file as they were; or run optimize again."
        if what == "weights" and self.model is not None:
            hint += " Code that draws its weights at random draws others each time: seed it, or save them for --weights."
        return FileError(
            f"{self.path}: the plan was made with another {what} than {'are' if what == 'weights' else 'is'} found now", hint
        )

    def recalibrated(self, progress: Progress) -> Recalibrated:
        """Calibrate the network of the plan again; what the plan says of who made a layer or tensor holds.

        Raises:
            FileError: the weights or the device file are not those that the plan was made with, or its methods make no such
                layer or tensor.
            UsageError, FileError: the network or its weights are not to be had.
        """
        from hwsearch.problem.calibrated import calibrated
        from hwsearch.problem.pictures import choose_pictures
        from hwsearch.quant.mixture import MadeBy

        request = self.request
        with progress.stage("tracing the network", 1):
            problem, row = self.posed
            photos = choose_pictures(request, problem.network)
        with progress.stage("calibrating", STEPS) as stage:
            report = follow(stage, STEPS)
            calibration = calibrated(problem, photos, request.seed, method=self.plan.method, progress=report)
            made_by = MadeBy(self.plan.weight_methods, self.plan.activation_methods)
            try:
                calibration = calibration.settled(made_by)
            except UsageError as error:
                raise FileError(f"{self.path}: {error.message}", "Name them as its run wrote them.") from None
        return Recalibrated(request, problem, row, photos, calibration)

    def integers(self, progress: Progress | None = None) -> QuantizedGraph:
        """The quantized network of the plan: from the file beside it, checked against the plan.

        A plan that was simulated but not chosen has no such file, and one that was edited has it no longer; the network is then
        calibrated again, as its run did it.

        Raises:
            FileError: the file is absent, changed, cut short, or of another plan.
            UsageError, FileError: there is none, and the network or its weights are not to be had.
        """
        if self.plan.integers is None:
            again = self.recalibrated(progress or Silent())
            return again.calibration.quantized(again.row)
        return self._stored

    @cached_property
    def _stored(self) -> QuantizedGraph:
        from hwsearch.plans import consistency
        from hwsearch.quant.network import storage

        plan = self.plan
        assert plan.integers is not None
        if plan.integers_sha256 is None:
            raise FileError(f"{self.path}: the plan has integers and no digest of them", reading.CHANGED)
        found = storage.load(reading.inside(self.path.parent, plan.integers, "the file of integers"), plan.integers_sha256)
        if joined := consistency.joined(plan, found):
            raise FileError(
                f"{self.path}: {EARLIER}, in which {', '.join(joined)} had a format apart from what is read there",
                "Quantize it as this version does: --allow-edited; or run optimize again.",
            )
        if differences := consistency.differences(plan, found):
            lines = "\n".join(f"  - {line}" for line in differences[: reading.MOST_PROBLEMS])
            raise FileError(f"{self.path}: the integers in {plan.integers} are of another plan:\n{lines}", EDITED)
        return found


def load(path: Path) -> Plan:
    """The plan in ``path``; see ``open_plan``."""
    return open_plan(path).plan


def open_plan(path: Path, model: str | None = None, *, allow_edited: bool = False) -> PlanFile:
    """The plan in ``path``, checked: its document, and its integers where they stand beside it.

    Args:
        path: the file, or the name of a ready plan.
        allow_edited: a plan that was edited, or stands beside integers of another, is taken without them.
    Raises:
        FileError: absent, not JSON, of another version, not a plan (every mistake is listed), or edited (with what differs).
        UsageError: ``model`` is not the network that the plan is of.
    """
    path = ready.found(path)
    document = reading.read_json(path, f"a plan, such as RUN/plans/plan-01.json, or a ready one ({', '.join(ready.names())})")
    if document.get("schema_version", SCHEMA) != SCHEMA:
        raise FileError(f"{path}: schema_version is not {SCHEMA}", f"This version reads schema_version {SCHEMA}.")
    plan = reading.checked(document, Plan, path, "a plan", "Plans stand in the folder plans/ of a run.")
    _check_words(plan, path)
    if model is not None:
        code = plan.provenance.network_arguments.get("model")
        own_code.check_same(path, None if code is None else str(code), model, plan.network)
    if plan.edited and not allow_edited:
        listed = "\n".join(f"  - {part}" for part in plan.edited)
        raise FileError(f"{path} was edited since it was written:\n{listed}", EDITED)
    found = PlanFile(path, plan, model)
    edited = plan.edited
    if not edited and plan.integers is not None and (path.parent / plan.integers).exists():
        try:
            _ = found._stored
            if plan.seal is None and "method" in document:  # a field that versions without seals called otherwise
                raise FileError(f"{path} has lost its seal, which tells whether it was edited", EDITED)
            return found
        except FileError as error:
            if not allow_edited:
                raise
            edited = (error.message.removeprefix(f"{path}: "),)
    if not edited:
        return found
    bare = plan.model_copy(
        update={"integers": None, "integers_sha256": None, "measured": None, "unproven": None, "counted": None}
    )
    return PlanFile(path, bare.sealed(), model, edited)


def _check_words(plan: Plan, path: Path) -> None:
    """Raises FileError where a word of the plan is none of those that are known."""
    from hwsearch.quant import methods
    from hwsearch.quant.engine.requant import RULES
    from searchspaces.scopes import SCOPES

    parts, named = methods.parts_of(plan.method), {*plan.weight_methods.values(), *plan.activation_methods.values()}
    mixture = (plan.method,) if len(parts) > 1 and methods.is_known(plan.method) else ()
    for field, value, known in (
        ("method", plan.method, (*methods.names(), *mixture)),
        *(("weight_methods, activation_methods", name, parts if mixture else ()) for name in sorted(named)),
        ("scope", plan.scope, tuple(SCOPES)),
        ("requantization", plan.requantization, tuple(RULES)),
        ("wide", plan.wide, tuple(str(fmt) for fmt in (INT16, FP16, BF16))),
    ):
        if value not in known:
            hint = f"Known: {', '.join(known)}." if known else f"The method {plan.method[:60]} makes all of the plan."
            raise FileError(f"{path} is not a plan:\n  - {field}: {value[:60]!r} is not known", hint)
