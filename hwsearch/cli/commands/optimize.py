"""``hwsearch optimize``: the whole job, new or resumed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwmodels.errors import MismatchError, UsageError
from hwsearch.cli import groups, notations, options
from hwsearch.cli.terminal import Terminal

if TYPE_CHECKING:
    from hwsearch.documents.plan import Plan


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="The main job")(optimize)


@groups.grouped
def optimize(
    context: typer.Context,
    *,
    target: options.Targets = None,
    network: groups.NetworkSearchOptions,
    samples: groups.PictureOptions,
    tiling: groups.TilingOptions,
    budgets: groups.BudgetOptions,
    space: groups.SpaceOptions,
    search: groups.SearchOptions,
    sharing: groups.SharingOptions,
    out: Annotated[
        Path | None, typer.Option(help="The run directory. Default: runs/NETWORK-xS-TARGET-DATE.", metavar="DIR")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Resume an interrupted run. Its other options need not be repeated.", metavar="RUN")
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find, prove and report the bit-widths that fit a network to a device.

    Examples:
      hwsearch optimize --target jetson
      hwsearch optimize --network abpn --target ethos-u55-128 --budget latency=33ms
      hwsearch optimize --network abpn --target jetson --input 540x960 --fps 30
      hwsearch optimize --target stm32h743 --input 180x320
      hwsearch optimize --target jetson --target ethos-u55-128 --target snapdragon-8gen3-hexagon
      hwsearch optimize --network edsr --target stm32h743 --input 24x32 --scope body --equal-bits 4 --activation-bits 8
      hwsearch optimize --network pan --scale 4 --weights pan.pth --target hexagon --drop auto --branches auto
      hwsearch optimize --model my_net.py:build --weights w.pth --scale 2 --target ./my_board.toml
    """
    several = [str(notations.read_target(name)) for name in target] if target and len(target) > 1 else []
    one = notations.read_target(target[0]) if target and not several else None
    fields: dict[str, Any] = network.fields() | samples.fields() | tiling.fields() | space.fields() | search.fields()
    fields |= notations.given({"target": one, "budgets": budgets.limits()})
    shared = sharing.fields()
    if shared and several:
        raise UsageError("--storage shares the measurements of one device", "Give one --target, or leave --storage out.")
    if resume is None:
        if sharing.grace is not None and sharing.storage is None:
            raise UsageError("--grace is for studies that workers share", "Give --storage and --study, or leave it out.")
        words = map(sharing.without_password, context.obj)
        fields |= {"force": search.force, "command": shlex.join(["hwsearch", *words]), **notations.given({"run_dir": out})}
    elif out is not None:
        raise UsageError("--resume and --out name two run directories", "A resumed run stays where it is.")
    else:
        several, fields = _saved(resume, several, fields)
    _search(several, fields | shared | {"cache": not search.no_cache}, Terminal(as_json, quiet))


def _saved(run: Path, several: list[str], given: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The devices of the run to resume, where it is for several, and the fields of its request.

    Args:
        several, given: what was given again; it must say the same.
    Raises:
        FileError: there is no such run.
        UsageError: something is given differently.
    """
    from hwsearch.runs.on_disk import BLOCKS, TARGETS
    from hwsearch.runs.run import Run

    if (run / TARGETS).is_file():
        from hwsearch.pipeline import several_devices

        several = [given.pop("target")] if "target" in given else several
        several, fields = several_devices.saved(run, several, given)
    elif (run / BLOCKS).is_file():
        from hwsearch.pipeline import variants

        fields = variants.saved(run, given)
    else:
        fields = Run(run).same(given)
    return several, fields | {"run_dir": run.resolve(), "resume": True}


def _search(several: list[str], fields: dict[str, Any], terminal: Terminal) -> None:
    """Run the pipeline that the request asks for, and print what it found."""
    from hwsearch.cli import summary
    from hwsearch.pipeline import optimize as pipeline
    from hwsearch.report import document

    if several:
        from hwsearch.pipeline import several_devices

        with terminal.progress() as progress:
            runs = several_devices.optimize(several, pipeline.Request(**fields), progress)
        terminal.show(several_devices.document(runs), lambda screen: summary.render_targets(runs, screen))
        _end([plan for results in runs.results.values() for plan in results.unproven])
        return
    from hwsearch.pipeline import variants

    with terminal.progress() as progress:
        request = pipeline.Request(**fields)
        results = (variants.optimize if variants.asked(request) else pipeline.optimize)(request, progress)
    terminal.show(document.document(results), lambda screen: summary.render(results, screen))
    _end(results.unproven)


def _end(unproven: Sequence[Plan]) -> None:
    """The exit code of a run, some chosen plans of which may be ``unproven``."""
    if unproven:
        raise typer.Exit(MismatchError.exit_code)
