"""The front of a finished run, and what another budget would choose; on one device or on several."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.errors import BudgetError, UsageError
from hwsearch.cli import groups, notations, options
from hwsearch.cli.terminal import Terminal, bold, table
from hwsearch.runs.interrupted import naming
from searchspaces.data.scale import network_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from hwsearch.documents.configuration import Rewritten
    from hwsearch.documents.plan import Plan
    from hwsearch.documents.results import Results
    from hwsearch.plans.choose_again import Candidate, ChosenAgain


LEFT = ("plan", "weight bits", "tensor bits")
CELLS = ("plan", "loss", "latency", "weights", "peak\nactivations", "bits\na weight", "BitOPs", "weight bits", "tensor bits")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Questions")(front)


@groups.grouped
def front(
    *,
    run: Annotated[
        Path,
        typer.Argument(help="The directory of a finished run, for one device or several.", metavar="RUN", resolve_path=True),
    ],
    budgets: groups.BudgetOptions,
    model: options.OwnModel = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Run the chosen plan in integers and write it here as NAME.json, with its integers and an ONNX file beside it.",
            metavar="FILE",
        ),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show the front of a finished run. With a budget, choose again: the plan that meets it best, without another search.

    A run for several devices gives one table across them.

    Examples:
      hwsearch front RUN
      hwsearch front RUN --budget latency=8ms --budget loss=0.1dB
      hwsearch front RUN --equal-bits 4 --out four-bits.json
      hwsearch front RUN-FOR-SEVERAL-DEVICES --budget loss=0.1dB
    """
    from hwsearch.runs.on_disk import TARGETS

    terminal = Terminal(as_json, quiet)
    limits, named = budgets.limits(), notations.read_model(model)
    if (run / TARGETS).is_file():
        _across(run, limits, named, out, terminal)
    elif limits:
        _again(run, limits, named, out, terminal)
    else:
        _found(run, out, terminal)


def _found(run: Path, out: Path | None, terminal: Terminal) -> None:
    """The front as the run found it."""
    from hwsearch.cli import summary
    from hwsearch.problem import budgets
    from hwsearch.report import document
    from hwsearch.runs.run import Run

    if out is not None:
        raise UsageError("--out writes what a budget chooses, and there is none", f"Budgets: {budgets.EXAMPLES}.")
    results = Run(run).results
    terminal.show(document.document(results), lambda screen: summary.render_front(results, screen))


def _again(run: Path, limits: Mapping[str, float], model: str | None, out: Path | None, terminal: Terminal) -> None:
    """What other budgets choose."""
    from hwsearch.plans import choose_again
    from hwsearch.runs.on_disk import BLOCKS
    from hwsearch.runs.run import Run

    network: Rewritten | None = None
    with terminal.progress() as progress:
        with progress.stage("choosing again", 1):
            if (run / BLOCKS).is_file():
                from hwsearch.pipeline import variants

                network, picked = variants.pick(run, limits, model)
            else:
                picked = choose_again.pick(Run(run, model), limits)
        written = None if out is None else choose_again.write(picked, out, progress)
    told = choose_again.document(picked, written)
    told |= {} if network is None else {"dropped": network.blocks, "branches": network.branches, "lost_db": network.lost_db}

    def show(screen: Console) -> None:
        _print_chosen(picked, written, out, screen)
        if network is not None and (network.blocks or network.branches):
            _print_network(network, screen)

    terminal.show(told, show)


def _print_network(network: Rewritten, screen: Console) -> None:
    from hwsearch.documents import units

    against = (
        f", which loses {units.loss(network.lost_db)} in floating point against the whole one; losses above are against what is "
        "left of it, and so is the budget on the loss"
    )
    screen.print(
        f"The plan is of the network {units.rewritten(network.blocks, network.branches)}{against if network.blocks else ''}."
    )


def _across(run: Path, limits: Mapping[str, float], model: str | None, out: Path | None, terminal: Terminal) -> None:
    """``front`` of a run for several devices."""
    from hwsearch.cli import summary
    from hwsearch.pipeline import several_devices
    from hwsearch.plans import choose_again
    from hwsearch.runs.run import Run

    if out is not None:
        raise UsageError("--out writes one plan, and this run is for several devices", f"Give one of them: {run}/DEVICE.")
    if not limits:
        runs = several_devices.load(run)
        terminal.show(several_devices.document(runs), lambda screen: summary.render_targets(runs, screen))
        return
    names = several_devices.names_in(run)
    found: dict[str, ChosenAgain | BudgetError] = {}
    with terminal.progress() as progress, progress.stage("choosing again", len(names)) as stage:
        for name in names:
            try:
                found[name] = choose_again.pick(Run(run / name, model), limits)
            except BudgetError as error:
                found[name] = error
            stage.advance()
    refused = [answer for answer in found.values() if isinstance(answer, BudgetError)]
    if len(refused) == len(found):
        raise refused[0]
    answers = {
        name: {"out_of_reach": answer.message} if isinstance(answer, BudgetError) else choose_again.document(answer)
        for name, answer in found.items()
    }
    terminal.show({"run_dir": str(run), "budgets": dict(limits), "targets": answers}, lambda screen: _print_across(found, screen))


def _print_across(found: Mapping[str, ChosenAgain | BudgetError], screen: Console) -> None:
    from hwsearch.documents import units

    picks = {name: answer for name, answer in found.items() if not isinstance(answer, BudgetError)}
    first = next(iter(picks.values()))
    asked = units.listing(units.budget(*item) for item in first.budgets.items())
    results = first.results
    screen.print(bold(f"{network_text(results.network, results.scale)} on {len(found)} devices", f", within {asked}"))
    rows = [(name, *_cells(pick.chosen)) for name, pick in picks.items()]
    _print_table(("device", *CELLS), rows, screen, [pick.results for pick in picks.values()])
    for name, answer in found.items():
        if isinstance(answer, BudgetError):
            screen.print(f"{name}: {answer.message}")
    screen.print("--out writes a plan of one device's run: hwsearch front RUN/DEVICE --budget ... --out NAME.json")


def _print_table(headings: Sequence[str], rows: Sequence[tuple[str, ...]], screen: Console, runs: Sequence[Results]) -> None:
    """``rows`` that end with ``_cells``, of ``runs``."""
    from hwsearch.documents import trust, units

    screen.print(table(headings, rows, left=LEFT))
    if counts := units.on_counts((row[-2], row[-1]) for row in rows):
        screen.print(counts)
    for said in dict.fromkeys(trust.of(results.device).below for results in runs):
        if said:
            screen.print(said)


def _cells(candidate: Candidate) -> tuple[str, ...]:
    """A row under ``CELLS``."""
    from hwsearch.documents import units

    price, counted = candidate.predicted, candidate.counted
    return (
        candidate.name or "new",
        f"{units.loss(price.loss_db)} {candidate.source}"
        + (f"\n{units.loss(candidate.measured.loss_db)} measured" if candidate.measured else "")
        + ("\nNOT PROVEN" if candidate.unproven else ""),
        units.seconds(price.latency_s),
        units.bytes_(price.weight_bytes),
        units.bytes_(price.peak_activation_bytes),
        *((f"{counted.scope_weight_bits:.2f}", units.count(counted.bitops)) if counted else (units.NONE, units.NONE)),
        *units.brief_bits(*candidate.bits),
    )


def _print_chosen(picked: ChosenAgain, written: Plan | None, out: Path | None, screen: Console) -> None:
    from hwsearch.documents import units

    results, chosen = picked.results, picked.chosen
    asked = units.listing(units.budget(*item) for item in picked.budgets.items())
    screen.print(bold(f"{network_text(results.network, results.scale)} on {results.device.title}", f", within {asked}"))
    rows = [
        ("chosen" if candidate is chosen else "", *_cells(candidate))
        for candidate in (picked.simulated, picked.predicted)
        if candidate is not None
    ]
    _print_table(("", *CELLS), rows, screen, [results])
    if picked.simulated is None:
        screen.print("No simulated plan meets the budget; this one is the exact optimum by the run's calibrated damage table.")
    elif picked.predicted is not None:
        screen.print(
            "A new plan replaces a simulated one where it is better by more than the median error of prediction, "
            f"{units.loss(picked.error_db)}."
        )
    elif picked.refused:
        screen.print("Exact optima that were not simulated are predicted to break the budget.")
    else:
        screen.print("No plan that was not simulated is predicted to be better: the exact optimum is among those simulated.")
    if written is not None and written.measured is not None:
        measured = written.measured
        screen.print(
            f"Measured in integers on the evaluation pictures: {units.decibel(measured.quality_db)}, "
            f"{units.loss(measured.loss_db)} lost; {measured.mismatched_codes} of {measured.codes} codes differ from ours."
        )
        if measured.loss_db > picked.budgets.get("loss", float("inf")):
            source = picked.chosen.source
            screen.print(
                f"It meets the loss budget on the search pictures ({source}), not on the evaluation pictures: set a tighter one."
            )
        screen.print(f"wrote {out}")
    elif chosen.name and results.run_dir is not None:
        plan = shlex.quote(str(results.run_dir / "plans" / f"{chosen.name}.json"))
        screen.print(f"hwsearch explain {plan}{naming(picked.request.model)}", soft_wrap=True)
    else:
        screen.print("--out NAME.json runs it in integers and writes it as a plan.")
    screen.print(units.THREE_WORDS)
