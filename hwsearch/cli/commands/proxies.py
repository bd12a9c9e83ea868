"""``hwsearch proxies``: the quality proxies, and which of them ranks plans how well at what cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwmodels.errors import UsageError
from hwmodels.numbers import Width
from hwsearch.cli import comparisons, groups, notations, options
from hwsearch.cli.terminal import Terminal, bold, table

if TYPE_CHECKING:
    from rich.console import Console

    from hwsearch.documents.comparisons import Ranking

proxies = typer.Typer(help="The quality proxies: list them, compare them on a network.", no_args_is_help=False)


@proxies.callback(invoke_without_command=True)
def _list(context: typer.Context, as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """The quality proxies: how a choice of widths is judged before it is simulated."""
    if context.invoked_subcommand is not None:
        return
    from hwsearch.quality.proxies import PROXIES

    found = [
        {"name": info.name, "summary": info.summary, "cost": info.cost, "searched": info.searched} for info in PROXIES.values()
    ]

    def render(screen: Console) -> None:
        rows = [(info.name, info.summary, info.cost, "yes" if info.searched else "") for info in PROXIES.values()]
        columns = ("proxy", "what it is", "cost", "in every search")
        screen.print(table(columns, rows, left=columns))
        screen.print("Every run checks each of its proxies against simulated plans and reports the rank correlation.")
        screen.print("To see which one is best for a network: hwsearch proxies compare --network fsrcnn")

    Terminal(as_json, quiet).show({"proxies": found}, render)


@proxies.command()
@groups.grouped
def compare(
    *,
    network: groups.NetworkWithPicturesOptions,
    samples: groups.PictureOptions,
    space: groups.SpaceOptions,
    probes: Annotated[int, typer.Option(help="Number of random plans to simulate.", min=10)] = 200,
    draw: Annotated[
        str,
        typer.Option(
            help="How plans are drawn: mixed (free, around one width, or near the widest), or free (every width on its own).",
            metavar="HOW",
        ),
    ] = "mixed",
    seed: options.Seed = None,
    out: options.ComparisonFile = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare proxies by the rank correlation of their predictions with the simulated loss of random plans, and by their cost.

    By default weights have 2, 4, 6 or 8 bits and activations 4, 6, 8 or 16.

    Examples:
      hwsearch proxies compare --network fsrcnn
      hwsearch proxies compare --network vdsr --scale 2 --weights vdsr_y.safetensors --probes 60 --out vdsr.json
    """
    fields: dict[str, Any] = network.fields()
    fields |= notations.given(
        {
            **samples.fields(),
            **space.fields(),
            "seed": seed,
        }
    )
    terminal = Terminal(as_json, quiet)
    from hwsearch.problem.request import Request
    from hwsearch.search import ranking
    from hwsearch.search.propose.random_plans import DRAWS

    if draw not in DRAWS:
        raise UsageError(f"--draw {draw}: no such way to draw plans", f"Known: {', '.join(DRAWS)}.")
    with terminal.progress() as progress:
        found = ranking.compare(Request(**fields, probes=probes), progress, draw)
    comparisons.end(found, out, terminal, _render)


def _render(found: Ranking, screen: Console) -> None:

    screen.print(
        bold(
            comparisons.heading(found),
            f", floating point {found.float_db:.2f} dB, "
            f"{len(found.plans)} random plans ({found.draw}) with weights of {_listed(found.weight_bits)} and tensors of "
            f"{_listed(found.activation_bits)} bits, measured on {len(found.pictures)} pictures, {found.pixels} pixels",
        )
    )
    rows = [
        (
            proxy.name,
            f"{proxy.spearman:.3f}",
            f"{proxy.kendall:.3f}",
            f"{proxy.top_found:.0%}",
            f"{proxy.error_db:.2f} ({proxy.error_share:.0%})",
            f"{proxy.calibrated_error_db:.2f} ({proxy.calibrated_error_share:.0%})",
            f"{proxy.calibrated_spearman:.3f}",
            f"{proxy.cpu_s:.1f}",
            f"{proxy.forward_passes}",
            f"{proxy.backward_passes}",
        )
        for proxy in found.proxies
    ]
    columns = (
        "proxy",
        "Spearman\nρ",
        "Kendall\nτ",
        "best tenth\nfound",
        "error as it\ncomes, dB",
        "error cali-\nbrated, dB",
        "Spearman\ncalibrated",
        "CPU time\ns",
        "forward\npasses",
        "backward\npasses",
    )
    screen.print(table(columns, rows))
    low, high = found.loss_range_db
    screen.print(
        f"Nine of ten plans lose between {low:.2f} and {high:.2f} dB: the correlations are those of plans in that range."
    )
    screen.print(
        "Errors are medians over plans, in brackets as a share of the simulated loss. Calibrated: by four fifths of the plans, "
        "on the fifth that was left out."
    )
    screen.print(f"Simulating one plan took {found.plan_cpu_s:.2f} s of CPU time.")


def _listed(widths: tuple[Width, ...]) -> str:
    return ", ".join(map(str, widths))
