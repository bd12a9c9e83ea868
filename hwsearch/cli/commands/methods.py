"""``hwsearch methods``: the quantization methods, where they come from and what they need; and side by side on a network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwmodels.errors import UsageError
from hwsearch.cli import comparisons, groups, notations, options
from hwsearch.cli.terminal import Terminal, bold, table

if TYPE_CHECKING:
    from rich.console import Console

    from hwsearch.documents.comparisons import MethodComparison, MethodRow

methods = typer.Typer(help="The quantization methods: list them, compare them on a network.", no_args_is_help=False)


@methods.callback(invoke_without_command=True)
def _list(context: typer.Context, as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """The quantization methods: how ranges and integers are found for the widths of a plan."""
    if context.invoked_subcommand is not None:
        return
    from hwsearch.quant import methods as found_methods

    found: list[dict[str, Any]] = []
    for name in found_methods.names():
        info = found_methods.load(name).INFO
        found.append(
            {
                "name": name,
                "title": info.title,
                "summary": info.summary,
                "source": info.source,
                "needs": info.needs,
                "reconstructed": info.reconstructed,
                "run_time_price": info.price,
                "exported": info.exported,
                "family": info.family or None,
            }
        )

    def render(screen: Console) -> None:
        rows = [
            tuple(entry[key] for key in ("name", "summary", "source", "needs", "reconstructed", "run_time_price"))
            for entry in found
        ]
        columns = ("method", "what it does", "source", "needs", "reconstructed", "price at run time")
        screen.print(table(columns, rows, left=columns))
        screen.print(
            "Pictures are low-resolution ones: none needs originals, those that train do so towards the floating-point network."
        )
        screen.print("Search with one of them: hwsearch optimize --method NAME. With several, every plan keeps the better one.")
        mixed = "; ".join(", ".join(alike) for alike in found_methods.families())
        screen.print(f"Mixed, each layer and tensor by the one that harms it least: --method mse+gptq. Of each other: {mixed}.")
        alone = ", ".join(entry["name"] for entry in found if not entry["exported"])
        screen.print(f"No file format carries what these make, so they are compared alone (hwsearch methods compare): {alone}.")

    Terminal(as_json, quiet).show({"methods": found}, render)


def read_pairs(texts: list[str]) -> list[tuple[int, int]]:
    """``4/4`` texts, or several of them behind commas, as (weight bits, activation bits), each pair once.

    Raises:
        UsageError: not of that form, or below 2 bits.
    """
    pairs = []
    for text in (part for given in texts for part in re.split(r"[,\s]+", given.strip())):
        match = re.fullmatch(r"(\d{1,2})/(\d{1,2})", text)
        if not match or min(pair := (int(match[1]), int(match[2]))) < 2 or max(pair) > 8:
            hint = "Weights and tensors, 2 to 8 bits each, such as 4/4. Other options are repeated: --method A --method B."
            raise UsageError(f"--bits {text!r} is not a pair of widths", hint)
        pairs.append(pair)
    return list(dict.fromkeys(pairs))


@dataclass(frozen=True)
class WidthOptions:
    """The widths to compare at."""

    more_bits: Annotated[
        list[str] | None, typer.Argument(help="Further values of --bits.", metavar="W/A", show_default=False)
    ] = None
    bits: Annotated[
        list[str] | None,
        typer.Option(
            help="Bits of weights/activations, one pair or several (4/4 3/3). Default: 4/4.", metavar="W/A", show_default=False
        ),
    ] = None

    def pairs(self) -> list[tuple[int, int]]:
        """(weight bits, activation bits), each pair once.

        Raises:
            UsageError: one cannot be read.
        """
        return read_pairs([*(self.bits or []), *(self.more_bits or [])] or ["4/4"])


@methods.command()
@groups.grouped
def compare(
    *,
    target: options.Target = None,
    network: groups.NetworkWithPicturesOptions,
    samples: groups.PictureOptions,
    scope: options.Scope = None,
    widths: WidthOptions,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="A method, or several mixed layer by layer (mse+gptq); repeatable. Default: all, unmixed.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(
            help="Evaluate on the originals in this folder instead of the pictures held out.", metavar="DIR", show_default=False
        ),
    ] = None,
    pictures: Annotated[int | None, typer.Option(help="Use only the first N evaluation pictures. Default: all.", min=1)] = None,
    seed: options.Seed = None,
    effort: Annotated[
        float,
        typer.Option(
            help="Training budget as a multiple of the usual one, in multiply-accumulates and hence in time. A value below 1 "
            "gives a quick look at a large network. Default: 1.",
            show_default=False,
            min=0.01,
            max=100,
        ),
    ] = 1.0,
    out: options.ComparisonFile = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare quantization methods on a network at given widths: quality in integers, seconds, and the price on the target.

    Examples:
      hwsearch methods compare --network fsrcnn --bits 4/4 3/3
      hwsearch methods compare --network imdn --scale 4 --weights imdn.pth --scope not-first-last --method ptq4sr --method mse
    """
    fields: dict[str, Any] = network.fields()
    fields |= notations.given(
        {
            "target": notations.read_target(target),
            **samples.fields(),
            "scope": notations.read_scope(scope),
            "seed": seed,
        }
    )
    pairs = widths.pairs()
    terminal = Terminal(as_json, quiet)
    from hwsearch.plans import compare_methods
    from hwsearch.problem.request import Request
    from hwsearch.quant import methods as known

    with terminal.progress() as progress:
        found = compare_methods.compare(Request(**fields), pairs, method or known.names(), progress, pictures, evaluation, effort)
    comparisons.end(found, out, terminal, _render)


def _render(found: MethodComparison, screen: Console) -> None:
    from hwsearch.documents import units

    screen.print(
        bold(
            comparisons.heading(found),
            f", floating point {found.float_db:.2f} dB, {found.second_name} {found.float_second:.4f}, "
            f"{comparisons.pictures(found.pictures)} that no method saw, scope {found.scope}, priced on {found.target}"
            + (" for {1}x{0} pixels".format(*found.input_size) if found.input_size else "")
            + ("" if found.effort == 1 else f", trainings at {found.effort:g} of their usual cost"),
        )
    )
    rows = [
        (
            f"W{row.weight_bits}A{row.activation_bits}",
            row.method,
            f"{row.quality_db:.2f}",
            comparisons.within(row.loss_db, row.half_db),
            _behind(row),
            f"{row.second:.4f}",
            f"{row.first_db:.2f}",
            f"{row.seconds:.0f}",
            units.seconds(row.latency_s),
            units.joules(row.energy_j),
            units.bytes_(row.weight_bytes),
            units.bytes_(row.peak_activation_bytes),
            row.priced_as,
        )
        for row in sorted(found.rows, key=lambda row: (-row.weight_bits, -row.activation_bits, -row.quality_db))
    ]
    columns = (
        "widths", "method", f"{found.quality_name}\ndB", "loss\ndB", "behind the\nbest, dB", found.second_name,
        "before\nfinishing", "took\ns", "latency", "energy", "weights", "activations", "priced\nas",
    )  # fmt: skip
    screen.print(table(columns, rows, left=("widths", "method")))
    screen.print(
        comparisons.ONE_PICTURE
        if len(found.pictures) == 1
        else "Intervals are 95 % over pictures. The distance to the best method of the same widths is taken picture by picture; "
        "it is a tie if it lies within its interval."
    )
    if found.about_scope:
        screen.print(found.about_scope)
    if found.trust and found.trust.below:
        screen.print(found.trust.below)
    for row in found.rows:
        for said in row.remarks:
            screen.print(bold(f"{row.method} at W{row.weight_bits}A{row.activation_bits}", f": {said}"))
    for row in {row.method: row for row in found.rows}.values():
        if row.run_time_price != "none":
            screen.print(f"{row.method} at run time: {row.run_time_price}.")


def _behind(row: MethodRow) -> str:
    if row.behind_db == 0 and row.behind_half_db in (0, None):
        return "best"
    return "tie" if row.tie and row.behind_half_db is not None else comparisons.within(row.behind_db, row.behind_half_db)
