"""Questions to a plan or a finished run: why is it so, what differs, what would another budget choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hwsearch.cli import options
from hwsearch.console import Terminal, table

if TYPE_CHECKING:
    from rich.console import Console

    from hwsearch.explain import Explanation, Step


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(rich_help_panel="Questions")(explain)


def explain(plan: options.PlanFile, as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Why a plan is as it is: what each width saves and costs, one step narrower and one step wider."""
    from hwsearch import explain as explaining

    terminal = Terminal(as_json, quiet)
    with terminal.progress() as progress:
        explanation = explaining.explain(plan, progress)
    terminal.show(explaining.document(explanation), lambda screen: _print_explanation(explanation, screen))


def _print_explanation(explanation: Explanation, screen: Console) -> None:
    from hwsearch.report import words

    plan, price = explanation.plan, explanation.price
    layers = {row.name: row for row in price.layers}
    screen.print(
        f"[bold]{plan.name}[/]: {plan.network} x{plan.scale} on {plan.target}, "
        f"{words.seconds(price.latency_s)}, {words.bytes_(price.weight_bytes)} of weights, "
        f"{words.bytes_(price.peak_activation_bytes)} at the peak, loses {words.loss(plan.predicted.psnr_loss_db)}"
    )
    rows = []
    for decision in explanation.decisions:
        layer = layers.get(decision.name) if decision.kind == "weights" else None
        rows.append(
            (
                decision.name,
                decision.kind,
                str(decision.bits),
                words.loss(decision.damage_db),
                _step(decision.narrower),
                _step(decision.wider),
                layer.runs_as if layer else "",
                layer.stored_as if layer else "",
                layer.binds if layer else "",
            )
        )
    columns = ("name", "of", "bits", "costs alone", "one step narrower", "one step wider", "runs as", "stored as", "binds")
    screen.print(table(columns, rows, left=("of", "one step narrower", "one step wider", "runs as", "stored as", "binds")))
    screen.print(
        f"Quality by the proxy {explanation.proxy}, time and bytes by the cost model; one change at a time, the rest kept."
    )


def _step(step: Step | None) -> str:
    """A neighbour in one cell: bits, then what it costs or gains, leaving out what stays the same."""
    from hwsearch.report import words

    if step is None:
        return words.NONE

    def signed(value: float, text: str) -> str:
        return ("+" if value > 0 else words.MINUS) + text

    parts = [signed(step.psnr_loss_db, words.loss(abs(step.psnr_loss_db)))]
    if step.latency_s:
        parts.append(signed(step.latency_s, words.seconds(abs(step.latency_s))))
    if step.weight_bytes:
        parts.append(signed(step.weight_bytes, words.bytes_(abs(step.weight_bytes))))
    if step.peak_activation_bytes:
        parts.append(f"peak {signed(step.peak_activation_bytes, words.bytes_(abs(step.peak_activation_bytes)))}")
    return f"{step.bits}: " + ", ".join(parts)
