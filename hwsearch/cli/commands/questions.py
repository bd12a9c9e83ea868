"""Questions to plans: why is one so, and what differs between two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwsearch.cli import notations, options
from hwsearch.cli.terminal import Terminal, bold, table
from searchspaces.data.scale import network_text

if TYPE_CHECKING:
    from rich.console import Console

    from hwsearch.documents.plan import Plan, Predicted
    from hwsearch.documents.results import LayerRow
    from hwsearch.plans.compare import PlanComparison
    from hwsearch.plans.explain import Explanation, Neighbour


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (explain, compare):
        app.command(rich_help_panel="Questions")(command)


def explain(
    plan: options.PlanFile,
    model: options.OwnModel = None,
    allow_edited: options.AllowEdited = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Explain a plan: what one step narrower and one step wider would save and cost for each width, and which limit binds.

    Examples:
      hwsearch explain RUN/plans/plan-05.json
    """
    from hwsearch.plans import explain as explaining

    terminal = Terminal(as_json, quiet)
    with terminal.progress() as progress:
        explanation = explaining.explain(plan, progress, notations.read_model(model), allow_edited=allow_edited)
    terminal.remarks(explanation.price.remarks)
    terminal.show(explaining.document(explanation), lambda screen: _print_explanation(explanation, screen))


def _print_explanation(explanation: Explanation, screen: Console) -> None:
    from hwsearch.documents import trust, units
    from hwsearch.search import pareto

    plan, price = explanation.plan, explanation.price
    layers = {row.name: row for row in price.layers}
    rewritten = units.behind(units.rewritten(plan.dropped, plan.branches))
    screen.print(
        bold(
            plan.name,
            f": {network_text(plan.network, plan.scale)}{rewritten} on {plan.target}, "
            f"{units.seconds(price.latency_s)}{trust.beside(price.problem.device, price.latency_s, price.layers)}, "
            f"{units.bytes_(price.weight_bytes)} of weights, "
            f"{units.bytes_(price.peak_activation_bytes)} at the peak, energy {units.joules(price.energy_j)}, "
            f"loses {units.loss(plan.predicted.loss_db)} ({plan.predicted.loss_is})",
        )
    )
    rows, mixed = [], any(decision.made_by for decision in explanation.decisions)
    for decision in explanation.decisions:
        layer = layers.get(decision.name) if decision.kind == "weights" else None
        rows.append(
            (
                decision.name,
                decision.kind,
                str(decision.bits),
                units.loss(decision.damage_db),
                decision.held or _step(decision.narrower),
                _step(decision.wider),
                layer.executed if layer else "",
                layer.stored_as if layer else decision.stored_as,
                layer.binds if layer else "",
                *([decision.made_by] if mixed else []),
            )
        )
    left = ("of", "one step narrower", "one step wider", "runs as", "stored as", "binds", "made by")
    columns = ("name", "of", "bits", "costs alone", *left[1:-1], *(["made by"] if mixed else []))
    screen.print(table(columns, rows, left=left))
    screen.print(
        f"Quality by {explanation.proxy}, time and bytes by the cost model; one change at a time, the rest kept. "
        "* would break a limit."
    )
    for limit in explanation.limits:
        screen.print(
            f"{limit.name.capitalize()}: {pareto.quantity(limit.objective, limit.used)} of "
            f"{pareto.quantity(limit.objective, limit.allowed)} used ({units.percent(limit.share)})"
            + (", binds: a step marked * would break it" if limit.binds else ", does not bind")
        )
    if not explanation.limits:
        screen.print("No budget and no limit of the device: the plan is one trade-off among others.")


def _step(step: Neighbour | None) -> str:
    """A neighbour in one cell: bits, then what it costs or gains, leaving out what stays the same."""
    from hwsearch.documents import units

    if step is None:
        return units.NONE

    def signed(value: float, text: str) -> str:
        return ("+" if value > 0 else units.MINUS) + text

    parts = [signed(step.loss_db, units.loss(abs(step.loss_db)))]
    if step.latency_s:
        parts.append(signed(step.latency_s, units.seconds(abs(step.latency_s))))
    if step.weight_bytes:
        parts.append(signed(step.weight_bytes, units.bytes_(abs(step.weight_bytes))))
    if step.peak_activation_bytes:
        parts.append(f"peak {signed(step.peak_activation_bytes, units.bytes_(abs(step.peak_activation_bytes)))}")
    return f"{step.bits}{'*' if step.breaks else ''}: " + ", ".join(parts)


def compare(
    first: Annotated[Path, typer.Argument(help=options.PLAN_HELP, metavar="PLAN", resolve_path=True)],
    second: Annotated[Path, typer.Argument(help="Another plan of the same network.", metavar="PLAN", resolve_path=True)],
    model: options.OwnModel = None,
    allow_edited: options.AllowEdited = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare two plans layer by layer, in price and in quality, on one device or on two.

    Examples:
      hwsearch compare RUN/plans/plan-01.json RUN/plans/plan-05.json
      hwsearch compare RUN/jetson-orin-nano/plans/plan-03.json RUN/stm32h743/plans/plan-03.json
    """
    from hwsearch.plans import compare as comparing

    comparison = comparing.compare(first, second, notations.read_model(model), allow_edited=allow_edited)
    Terminal(as_json, quiet).show(comparing.document(comparison), lambda screen: _print_comparison(comparison, screen))


def _print_comparison(comparison: PlanComparison, screen: Console) -> None:
    from hwsearch.documents import units

    one, other = comparison.plans
    labels = (one.name, other.name) if one.name != other.name else (f"{one.name} (first)", f"{other.name} (second)")
    where = (f" on {one.target} and ", labels[1], f" on {other.target}: {network_text(one.network, one.scale)}")
    screen.print(bold(labels[0], *where))
    if not comparison.widths:
        screen.print("All widths are the same.")
    changed = [pair for pair in comparison.layers if not pair.same]
    if comparison.layers:
        rows = [(pair.first.name, *_cells(pair.first), *_cells(pair.second)) for pair in changed]
        columns = ("layer", *(f"{what}\n{label}" for label in labels for what in ("runs as", "bits", "latency", "binds")))
        if rows:
            screen.print(table(columns, rows, left=tuple(name for name in columns if name.startswith(("runs", "bits", "binds")))))
        same = len(comparison.layers) - len(changed)
        if changed and same:
            screen.print(f"{same} more layers have the same widths and run alike.")
    elif comparison.widths:
        rows = [(width.name, width.kind, *map(str, width.bits)) for width in comparison.widths]
        screen.print(table(("name", "of", *labels), rows, left=("of",)))
    if comparison.methods:
        rows = [(pair.name, pair.kind, *(method or units.NONE for method in pair.methods)) for pair in comparison.methods]
        columns = ("made by", "of", *labels)
        screen.print(table(columns, rows, left=columns))
    rows = []
    for on in comparison.devices:
        rows += [(on.device, label, *_price_cells(price)) for label, price in zip(labels, on.prices, strict=True)]
    screen.print(table(("device", "plan", "latency", "weights", "peak activations", "energy"), rows, left=("plan",)))
    for on in comparison.devices:
        if on.trust.below:
            screen.print(on.trust.below)
        if on.faster is not None:
            which, ratio, apart = on.faster
            sure = "beyond" if apart else "within"
            screen.print(
                f"On {on.device} {labels[which]} is predicted {units.ratio(ratio)} faster: {sure} what the model gets wrong "
                "between plans of one network."
            )
    columns = ("plan", "quality", "loss", "loss, simulated", "bits a weight", "BitOPs")
    screen.print(table(columns, [(label, *_quality_cells(plan)) for label, plan in zip(labels, comparison.plans, strict=True)]))
    for remark in comparison.remarks:
        screen.print(f"- {remark}")


def _cells(row: LayerRow) -> tuple[str, ...]:
    from hwsearch.documents import units

    weight = "" if row.weight_bits is None else f"W{row.weight_bits} "
    return row.executed, f"{weight}A{row.input_bits}→{row.output_bits}", units.seconds(row.latency_s), row.binds


def _price_cells(price: Predicted | None) -> tuple[str, ...]:
    from hwsearch.documents import units

    if price is None:
        return (units.NONE,) * 4
    return (
        units.seconds(price.latency_s),
        units.bytes_(price.weight_bytes),
        units.bytes_(price.peak_activation_bytes),
        units.joules(price.energy_j),
    )


def _quality_cells(plan: Plan) -> tuple[str, ...]:
    from hwsearch.documents import units

    measured, counted = plan.measured, plan.counted
    return (
        units.decibel(measured.quality_db if measured else None),
        units.loss(measured.loss_db if measured else None),
        units.loss(plan.predicted.loss_db),
        f"{counted.mean_weight_bits:.2f}" if counted else units.NONE,
        units.count(counted.bitops) if counted else units.NONE,
    )
