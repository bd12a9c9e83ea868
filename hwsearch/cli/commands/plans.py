"""Commands that do something with one plan: prove, export, enlarge a picture; and the report of its run, written again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.errors import UsageError
from hwsearch.cli import notations, options
from hwsearch.cli.terminal import Terminal, bold, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from hwsearch.documents.progress import Progress
    from hwsearch.formats.writing.exporters import ExporterInfo
    from hwsearch.formats.writing.promote import Promotion
    from hwsearch.plans.plan_file import PlanFile
    from hwsearch.plans.promotion_effect import Effect

Runtime = Annotated[str, typer.Option(help=f"What runs the integers: {options.RUNTIMES}.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (validate, export, upscale, report):
        app.command(rich_help_panel="Plans")(command)


def _tell(opened: PlanFile, terminal: Terminal) -> None:
    """What the person must know of a plan before anything is done with it."""
    for remark in opened.remarks:
        terminal.remark(remark)


def validate(
    plan: options.PlanFile,
    runtime: Runtime = "ort",
    images: options.Images = None,
    model: options.OwnModel = None,
    allow_edited: options.AllowEdited = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Run a plan's integers on pictures and compare them with our engine and with the plan (exit code 5 if they disagree)."""
    from hwsearch.documents import units
    from hwsearch.plans import plan_file, recheck

    terminal = Terminal(as_json, quiet)
    opened = plan_file.open_plan(plan, notations.read_model(model), allow_edited=allow_edited)
    _tell(opened, terminal)
    with terminal.progress() as progress:
        verdict = recheck.recheck(opened, runtime, images, progress)

    def render(screen: Console) -> None:
        quality = f"{verdict.quality_name} {units.decibel(verdict.quality_db)}, {verdict.second_name} {verdict.second:.4f}"
        pictures = "1 picture" if len(verdict.pictures) == 1 else f"{len(verdict.pictures)} pictures"
        screen.print(f"{quality} on {pictures} with {verdict.runtime}")
        memory = f", {units.bytes_(verdict.peak_bytes)} of working memory" if verdict.peak_bytes else ""
        screen.print(f"It took {units.seconds(verdict.seconds)}{memory}")
        screen.print(f"{verdict.mismatched_codes} of {verdict.codes} output codes differ from our integer engine")
        if verdict.tiling is not None:
            screen.print(f"The integer engine gives the same codes by tiles of {verdict.tiling} as for whole pictures")
        if verdict.instructions is not None:
            rows = [(name, units.count(count)) for name, count in verdict.instructions.items()]
            screen.print(table(("layer", "instructions"), [*rows, ("all", units.count(sum(verdict.instructions.values())))]))
        if verdict.recorded_db is not None:
            screen.print(f"The plan says {units.decibel(verdict.recorded_db)} on its own evaluation pictures")

    terminal.show(verdict, render)


def export(
    plan: options.PlanFile,
    to: Annotated[
        str | None,
        typer.Option(
            help="The format (see `hwsearch exporters`). Default: that of the ending of --out, else what the device reads.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to write, in place of one that is there. Default: the plan's name, in the current folder.",
            metavar="FILE",
        ),
    ] = None,
    input_size: Annotated[
        str | None,
        typer.Option(
            "--input", help="Size of the input picture or tile, for formats that fix it. Default: the plan's.", metavar="HxW"
        ),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Write the file even if widths that it cannot hold become wider and break a budget.")
    ] = False,
    model: options.OwnModel = None,
    allow_edited: options.AllowEdited = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a plan as a file for its device's runtime; tells what the format cannot hold, what that costs, and what to do next.

    If the plan would break its budgets in that format, the file is not written (exit code 4) unless --accept is given.
    """
    from hwsearch.documents.files import size_bytes
    from hwsearch.formats.writing.exporters import Handed, by_ending, exporter
    from hwsearch.plans import handover, plan_file, promotion_effect

    asked = exporter(to) if to is not None else by_ending(out) if out is not None else None
    opened = plan_file.open_plan(plan, notations.read_model(model), allow_edited=allow_edited)
    document = opened.plan
    terminal = Terminal(as_json, quiet)
    _tell(opened, terminal)
    with terminal.progress() as progress:
        chosen = asked or _suggested(opened, terminal, progress)
        path = chosen.named(out) if out is not None else Path(f"{document.name}{chosen.suffix}")
        _spare(plan, path)
        replaced = path.exists()
        if input_size is not None and not chosen.sized:
            raise UsageError(f"--input means nothing to {chosen.name}: its files take pictures of any size")
        if path.is_dir() and not chosen.folder:
            raise UsageError(f"--out {path} is a folder", f"Name a file, for example {path / (document.name + chosen.suffix)}.")
        qgraph = opened.integers(progress)
        chosen.refuse(qgraph.graph)
        promotion = chosen.promote(qgraph)
        cost = promotion_effect.measure(opened, qgraph, promotion, document.scale, progress)
        if not accept:
            handover.check(opened, chosen, promotion, cost)
        size = notations.read_size(input_size) or (document.input_height, document.input_width)
        chosen(qgraph, path, metadata=document.origin, size=size)
    graph, read = qgraph.graph, size if chosen.sized else handover.read_size(opened, qgraph)
    commands = chosen.next_commands(Handed(path, plan, handover.device_of(opened), graph.input.name, read, graph.channels))
    result = {
        "file": str(path),
        "replaced": replaced,
        "format": chosen.name,
        "plan": document.name,
        "bytes": size_bytes(path),
        "promoted": promotion.changes,
        "weight_bytes": {"plan": promotion.bytes_before, "exported": promotion.bytes_after},
        "quality": cost,
        "commands": commands,
    }
    terminal.show(result, lambda screen: _print_export(path, replaced, chosen.name, promotion, cost, commands, screen))


def _spare(plan: str | Path, path: Path) -> None:
    """Raise ``UsageError`` where an export would take the place of its plan, or of the plan's integers."""
    kept = [Path(plan), Path(plan).with_suffix(".safetensors")]
    if any(file.exists() and path.exists() and path.samefile(file) for file in kept):
        raise UsageError(f"--out {path} is what is exported", "Name another file.")


def _suggested(opened: PlanFile, terminal: Terminal, progress: Progress) -> ExporterInfo:
    """The format that the plan's device reads, or a general one, which is said.

    Raises:
        UsageError: none is known that holds the plan within its budgets.
    """
    from hwsearch.plans import handover

    found = handover.suggest(opened, progress)
    if found is None:
        raise UsageError(
            f"no format for {opened.plan.target} holds {opened.plan.name} within its budgets", "Choose one with --to."
        )
    if found.why:
        terminal.remark(f"Written as {found.exporter.name}, which {opened.plan.target} does not read: {found.why}.")
    return found.exporter


def _print_export(
    path: Path, replaced: bool, name: str, promotion: Promotion, cost: Effect | None, commands: Sequence[str], screen: Console
) -> None:
    from hwsearch.documents import units

    if promotion.changes:
        rows = [
            (
                change.name,
                change.kind,
                change.before,
                change.after,
                *(_bytes(n) for n in (change.bytes_before, change.bytes_after)),
            )
            for change in promotion.changes
        ]
        screen.print(f"{name} cannot hold all of this plan as it is; what became wider:")
        screen.print(table(("name", "of", "plan", "exported", "bytes", "now"), rows, left=("of", "plan", "exported")))
        screen.print(f"Weights  {units.bytes_(promotion.bytes_before)} -> {units.bytes_(promotion.bytes_after)}, packed")
    elif not promotion.same_numbers:
        screen.print(f"{name} holds every width of this plan; its tool rounds the weights again.")
    if cost is not None:
        change = cost.quality_after_db - cost.quality_before_db
        found = f"{units.decibel(cost.quality_before_db)} -> {units.decibel(cost.quality_after_db)} ({change:+.3f} dB)"
        screen.print(f"Quality  {found}, measured on {len(cost.pictures)} pictures with our engine")
    elif promotion.changes:
        screen.print("Quality  the same: every integer keeps its value")
    screen.print(f"wrote {path}" + (", in place of the one that was there" if replaced else ""))
    if commands:
        screen.print(bold("\nNext", f"    {commands[0]}"), soft_wrap=True)
    for command in commands[1:]:
        screen.print(f"        {command}", soft_wrap=True)


def _bytes(count: int) -> str:
    from hwsearch.documents import units

    return units.bytes_(count) if count else units.NONE


def report(
    run: Annotated[Path, typer.Argument(help="A run directory.", metavar="RUN", resolve_path=True)],
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the report.html of a run again, from its results."""
    from hwsearch.cli import summary
    from hwsearch.report import html
    from hwsearch.runs.run import Run

    results = Run(run).results
    path = html.write(results, run)
    Terminal(as_json, quiet).show({"report": str(path)}, lambda screen: summary.render(results, screen))


def upscale(
    source: Annotated[Path, typer.Argument(help="A picture.", metavar="IN")],
    destination: Annotated[Path, typer.Argument(help="Where to write the enlarged picture.", metavar="OUT")],
    plan: Annotated[Path, typer.Option(help=options.PLAN_HELP, metavar="PLAN")],
    runtime: Runtime = "engine",
    model: options.OwnModel = None,
    allow_edited: options.AllowEdited = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Enlarge a picture of any size with a plan's integers."""
    from hwsearch.documents.files import scratch
    from hwsearch.plans import plan_file
    from hwsearch.plans.enlarge import writing
    from searchspaces.data.decoding import PictureRows

    terminal = Terminal(as_json, quiet)
    writing.format_of(destination, source)
    with scratch(destination.parent) as store:
        picture = PictureRows(source, store)  # before torch and all that is loaded: what decoding needs is free again by then
        opened = plan_file.open_plan(plan, notations.read_model(model), allow_edited=allow_edited)
        _tell(opened, terminal)
        document = opened.plan
        from hwsearch.plans.enlarge.upscale import upscale as enlarge

        with terminal.progress() as progress:
            qgraph = opened.integers(progress)
            made = enlarge(picture, destination, qgraph, document.scale, runtime, progress)
    for remark in made.remarks:
        terminal.remark(remark)
    result = {
        "file": str(destination),
        "height": made.height,
        "width": made.width,
        "scale": document.scale,
        "plan": document.name,
        "in_one_piece": made.whole,
        "remarks": made.remarks,
    }
    terminal.show(result, lambda screen: screen.print(f"wrote {destination}, {made.height}x{made.width} pixels (height x width)"))
