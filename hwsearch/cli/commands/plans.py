"""Commands that run the integers of a plan, to prove them or to enlarge a picture; and the report of its run, written again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwsearch.cli import notations, options
from hwsearch.cli.terminal import Terminal, table

if TYPE_CHECKING:
    from rich.console import Console

Runtime = Annotated[str, typer.Option(help=f"What runs the integers: {options.RUNTIMES}.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (validate, upscale, report):
        app.command(rich_help_panel="Plans")(command)


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
    terminal.remarks(opened.remarks)
    with terminal.progress() as progress:
        verdict = recheck.recheck(opened, runtime, images, progress)

    def render(screen: Console) -> None:
        quality = f"{verdict.quality_name} {units.decibel(verdict.quality_db)}, {verdict.second_name} {verdict.second:.4f}"
        pictures = "1 picture" if len(verdict.pictures) == 1 else f"{len(verdict.pictures)} pictures"
        middle = (
            "" if verdict.middle is None else " (of each the middle {}x{} pixels that the network is for)".format(*verdict.middle)
        )
        screen.print(f"{quality} on {pictures}{middle} with {verdict.runtime}")
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
        terminal.remarks(opened.remarks)
        document = opened.plan
        from hwsearch.plans.enlarge.upscale import upscale as enlarge

        with terminal.progress() as progress:
            qgraph = opened.integers(progress)
            made = enlarge(picture, destination, qgraph, document.scale, runtime, progress)
    terminal.remarks(made.remarks)
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
