"""``hwsearch export``: a plan as a file for its device's runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.errors import UsageError
from hwsearch.cli import groups, notations, options
from hwsearch.cli.terminal import Terminal, bold, table

if TYPE_CHECKING:
    from rich.console import Console

    from hwsearch.documents.progress import Progress
    from hwsearch.formats.writing.exporters import ExporterInfo
    from hwsearch.formats.writing.promote import Promotion
    from hwsearch.plans.export import Exported
    from hwsearch.plans.plan_file import PlanFile


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Plans")(export)


@dataclass(frozen=True)
class FileOptions:
    """The file to write."""

    to: Annotated[
        str | None,
        typer.Option(
            help="The format (see `hwsearch exporters`). Default: that of the ending of --out, else what the device reads.",
            show_default=False,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to write, in place of one that is there. Default: the plan's name, in the current folder.",
            metavar="FILE",
        ),
    ] = None
    input_size: Annotated[
        str | None,
        typer.Option(
            "--input", help="Size of the input picture or tile, for formats that fix it. Default: the plan's.", metavar="HxW"
        ),
    ] = None
    accept: Annotated[
        bool, typer.Option("--accept", help="Write the file even if widths that it cannot hold become wider and break a budget.")
    ] = False

    def exporter(self) -> ExporterInfo | None:
        """The format that is asked for by name or by ending; None where neither says.

        Raises:
            UsageError: there is none of that name.
        """
        from hwsearch.formats.writing import exporters

        if self.to is not None:
            return exporters.exporter(self.to)
        return None if self.out is None else exporters.by_ending(self.out)


@groups.grouped
def export(
    *,
    plan: options.PlanFile,
    file: FileOptions,
    model: options.OwnModel = None,
    allow_edited: options.AllowEdited = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a plan as a file for its device's runtime; tells what the format cannot hold, what that costs, and what to do next.

    If the plan would break its budgets in that format, the file is not written (exit code 4) unless --accept is given.
    """
    from hwsearch.plans import export as exporting
    from hwsearch.plans import plan_file

    asked, size = file.exporter(), notations.read_size(file.input_size)
    opened = plan_file.open_plan(plan, notations.read_model(model), allow_edited=allow_edited)
    terminal = Terminal(as_json, quiet)
    terminal.remarks(opened.remarks)
    with terminal.progress() as progress:
        exporter = asked or _suggested(opened, terminal, progress)
        written = exporting.export(opened, exporter, file.out, size, progress, accept=file.accept)
    terminal.show(written.document(), lambda screen: _print(written, screen))


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


def _print(written: Exported, screen: Console) -> None:
    from hwsearch.documents import units

    name, promotion, effect = written.exporter.name, written.promotion, written.effect
    if promotion.changes:
        _print_wider(name, promotion, screen)
    elif not promotion.same_numbers:
        screen.print(f"{name} holds every width of this plan; its tool rounds the weights again.")
    if effect is not None:
        change = effect.quality_after_db - effect.quality_before_db
        found = f"{units.decibel(effect.quality_before_db)} -> {units.decibel(effect.quality_after_db)} ({change:+.3f} dB)"
        screen.print(f"Quality  {found}, measured on {len(effect.pictures)} pictures with our engine")
    elif promotion.changes:
        screen.print("Quality  the same: every integer keeps its value")
    screen.print(f"wrote {written.path}" + (", in place of the one that was there" if written.replaced else ""))
    if written.states:
        named = units.listing(written.states)
        screen.print(
            f"It computes one frame. The caller hands on what is kept for the next one ({named}); a clip begins with zeros."
        )
    if written.commands:
        screen.print(bold("\nNext", f"    {written.commands[0]}"), soft_wrap=True)
    for command in written.commands[1:]:
        screen.print(f"        {command}", soft_wrap=True)


def _print_wider(name: str, promotion: Promotion, screen: Console) -> None:
    """What the format ``name`` cannot hold as the plan has it."""
    from hwsearch.documents import units

    rows = []
    for change in promotion.changes:
        sizes = (units.bytes_(count) if count else units.NONE for count in (change.bytes_before, change.bytes_after))
        rows.append((change.name, change.kind, change.before, change.after, *sizes))
    screen.print(f"{name} cannot hold all of this plan as it is; what became wider:")
    screen.print(table(("name", "of", "plan", "exported", "bytes", "now"), rows, left=("of", "plan", "exported")))
    screen.print(f"Weights  {units.bytes_(promotion.bytes_before)} -> {units.bytes_(promotion.bytes_after)}, packed")
