"""``hwsearch allocators``: published rules that give every layer its bits; and side by side with the exact solver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwsearch.cli import comparisons, groups, notations, options
from hwsearch.cli.terminal import Terminal, bold, table

if TYPE_CHECKING:
    from rich.console import Console

    from hwsearch.documents.comparisons import Allocated, AllocatorComparison

allocators = typer.Typer(help="Published rules of bit allocation: list them, compare them with the exact solver.")
DEFAULT_BUDGET = "loss=0.3dB"


@allocators.callback(invoke_without_command=True)
def _list(context: typer.Context, as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Published rules of bit allocation. hwsearch itself solves exactly; the rules are there for comparison."""
    if context.invoked_subcommand is not None:
        return
    from hwsearch.search.allocate import ALLOCATORS

    fields = ("name", "summary", "source", "measures", "reconstructed")
    found: list[dict[str, Any]] = [{field: getattr(info, field) for field in fields} for info in ALLOCATORS.values()]

    def render(screen: Console) -> None:
        columns = ("allocator", "what it does", "source", "what it takes", "reconstructed")
        screen.print(table(columns, [tuple(entry.values()) for entry in found], left=columns))
        screen.print("To compare them with the exact solver at equal cost: hwsearch allocators compare --target bitserial-npu")

    Terminal(as_json, quiet).show({"allocators": found}, render)


@allocators.command()
@groups.grouped
def compare(
    *,
    target: options.Target = None,
    network: groups.NetworkWithPicturesOptions,
    samples: groups.PictureOptions,
    space: groups.SpaceOptions,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Upper limits on prices (repeatable), or one on the loss. Default: {DEFAULT_BUDGET}.",
            metavar="KEY=VALUE",
            show_default=False,
        ),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(
            help="The cost to minimize: latency, weights, memory, energy, mean_bits or bitops. Default: the first price in "
            "--budget, else latency.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    allocator: Annotated[
        list[str] | None, typer.Option(help="A rule (repeatable). Default: all.", metavar="NAME", show_default=False)
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            help="The proxy whose predicted loss the exact solver minimizes (see `hwsearch proxies`). Default: output_sqnr.",
            show_default=False,
        ),
    ] = None,
    method: options.Methods = None,
    seed: options.Seed = None,
    out: options.ComparisonFile = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare what each rule makes of a budget with what the exact solver makes of the same cost, in integers on unseen pictures.

    Examples:
      hwsearch allocators compare --network fsrcnn --target bitserial-npu
      hwsearch allocators compare --target stm32h743 --input 96x96 --budget weights=9KiB --allocator water_filling
    """
    from hwsearch.plans import compare_allocators
    from hwsearch.problem import budgets
    from hwsearch.problem.request import Request
    from hwsearch.quality import chosen_proxy

    fields: dict[str, Any] = network.fields()
    fields |= notations.given(
        {
            "target": notations.read_target(target),
            **samples.fields(),
            **space.fields(),
            "budgets": budgets.read(budget or [DEFAULT_BUDGET]),
            "methods": notations.read_methods(method),
            "seed": seed,
        }
    )
    terminal = Terminal(as_json, quiet)
    with terminal.progress() as progress:
        found = compare_allocators.compare(Request(**fields), allocator or (), cost, progress, proxy or chosen_proxy.DEFAULT)
    comparisons.end(found, out, terminal, _render)


def _render(found: AllocatorComparison, screen: Console) -> None:
    from hwsearch.documents import units

    screen.print(
        bold(
            comparisons.heading(found),
            f" on {found.target}"
            + (" for {1}x{0} pixels".format(*found.input_size) if found.input_size else "")
            + f", scope {found.scope}, floating point {found.float_db:.2f} dB on "
            f"{comparisons.pictures(found.pictures)} that no rule saw; exact by {found.proxy}",
        )
    )

    def line(name: str, plan: Allocated, gain: str = "") -> tuple[str, ...]:
        return (
            name,
            f"{plan.mean_weight_bits:.2f}",
            f"{plan.mean_tensor_bits:.2f}",
            f"{plan.weights_than_fp32:.1f}× {plan.tensors_than_fp32:.1f}×",
            f"{plan.weights_than_int8:.2f}× {plan.tensors_than_int8:.2f}×",
            units.seconds(plan.latency_s),
            units.bytes_(plan.weight_bytes),
            units.joules(plan.energy_j),
            f"{plan.predicted_db:.3f}",
            comparisons.within(plan.loss_db, plan.half_db, 3),
            f"{plan.second:.4g}",
            gain,
        )

    rows: list[tuple[str, ...]] = []
    for row in found.rows:
        unsure = row.tie and row.gain_half_db is not None
        gain = "tie" if unsure else comparisons.within(row.gain_db, row.gain_half_db, 3, "+")
        rows += [line(row.allocator, row.rule), line("  exact, same cost", row.exact, gain)]
    if found.eight_bits is not None:
        rows.append(line("W8A8", found.eight_bits))
    columns = (
        "allocator", "weight\nbits", "tensor\nbits", "smaller than\nfp32: w, t", "than int8:\nw, t", "latency", "weights",
        "energy", "predicted\ndB", "loss in\nintegers, dB", found.second_name,
        "exact\ngains, dB",
    )  # fmt: skip
    screen.print(table(columns, rows, left=("allocator",)))
    screen.print(
        comparisons.ONE_PICTURE
        if len(found.pictures) == 1
        else "Intervals are 95 % over pictures, gains picture by picture; a gain within its interval is a tie."
    )
    if found.about_scope:
        screen.print(found.about_scope)
    if found.trust and found.trust.below:
        screen.print(found.trust.below)
    for name in found.unreached:
        screen.print(f"{name} has no plan within the budget.")
    for row in found.rows:
        if row.reconstructed:
            screen.print(f"{row.allocator}: reconstructed {row.reconstructed}.")
