"""The commands of devices: list them, show one with its sources, check a file of one's own; fitting one is in ``calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwsearch.cli.options import Json, Quiet
from hwsearch.cli.terminal import Terminal, bold, table

if TYPE_CHECKING:
    from rich.console import Console

    from hwmodels.device.device import Device

devices = typer.Typer(
    help="Devices: list them, show the numbers and sources of one, check a file of your own.", no_args_is_help=False
)


def summary(device: Device) -> dict[str, Any]:
    """A device in a few fields."""
    return {
        "name": device.name,
        "aliases": list(device.aliases),
        "title": device.title,
        "kind": device.kind,
        "runtime": device.runtime,
        "hypothetical": device.hypothetical,
        "default_input": list(device.default_input),
        "weight_bits": list(device.offered.weight_widths),
        "activation_bits": list(device.offered.tensor_widths),
        "wide": str(device.offered.wide or "none"),
        "native": [str(precision) for precision in device.native],
    }


_MOST_LISTED = 6
"""Precisions that fit into their column of the list of devices."""


def _brief(words: list[str]) -> str:
    """The words; of more than ``_MOST_LISTED`` their number and the last one, which in a list of precisions is the widest."""
    return " ".join(words) if len(words) <= _MOST_LISTED else f"{len(words)} of them, up to {words[-1]}"


def agreements(name: str) -> list[dict[str, Any]]:
    """How the model of a device agrees with outside figures, one entry a quantity and source; empty: no measurement."""
    from dataclasses import asdict

    from hwmodels.fitting import agreement

    return [{**asdict(entry), "brief": entry.brief, "how": entry.how} for entry in agreement.of(name)]


def _show_list(terminal: Terminal) -> None:
    from hwmodels.device import catalogue

    found = [{**summary(catalogue.load(name)), "agreement": agreements(name)} for name in catalogue.names()]

    def render(screen: Console) -> None:
        rows = [
            (
                ", ".join([entry["name"], *entry["aliases"]]),
                entry["kind"],
                entry["title"] + (" (hypothetical)" if entry["hypothetical"] else ""),
                entry["runtime"],
                " ".join(map(str, entry["weight_bits"])),
                " ".join(map(str, entry["activation_bits"])),
                _brief(entry["native"]),
                entry["agreement"][0]["brief"] if entry["agreement"] else "no measurement",
            )
            for entry in found
        ]
        columns = ("device", "kind", "what it is", "runtime", "weights", "tensors", "runs natively", "agreement")
        screen.print(table(columns, rows, left=columns))

    terminal.show({"devices": found}, render)


@devices.callback(invoke_without_command=True)
def _bare(context: typer.Context, as_json: Json = False, quiet: Quiet = False) -> None:
    """Devices: list them, show the numbers and sources of one, check a file of your own."""
    if context.invoked_subcommand is None:
        _show_list(Terminal(as_json, quiet))


@devices.command("list")
def list_(as_json: Json = False, quiet: Quiet = False) -> None:
    """List the devices that come with the package."""
    _show_list(Terminal(as_json, quiet))


@devices.command()
def show(
    name: Annotated[str, typer.Argument(help="A device or a device file.")], as_json: Json = False, quiet: Quiet = False
) -> None:
    """Show every number of a device with its source. A number without a source is an assumption."""
    from hwmodels.device import catalogue

    device = catalogue.load(name)
    facts = device.facts()
    assumed = sum(fact.source is None for fact in facts)
    document = {**summary(device), "summary": device.summary, "sha256": device.device_sha256}
    document["facts"] = [fact._asdict() for fact in facts]
    document["agreement"] = agreements(device.name)

    def render(screen: Console) -> None:
        screen.print(bold(device.title, f" ({device.name}), {device.kind}, {device.runtime}"))
        screen.print(device.summary)
        rows = [(fact.key, fact.value, fact.source or "assumed", fact.note or "") for fact in facts]
        screen.print(table(("number", "value", "source", "note"), rows, left=("source", "note")))
        screen.print(f"{len(facts)} numbers, {assumed} of them assumed.")
        _print_agreement(screen, document["agreement"])

    Terminal(as_json, quiet).show(document, render)


def _print_agreement(screen: Console, found: list[dict[str, Any]]) -> None:
    """Each comparison with outside figures, and what simpler models reach there."""
    if not found:
        screen.print("No measurement: nothing was compared with this device yet.")
        return

    def percent(value: float) -> str:
        return f"{value:.1%}"

    def rank(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    rows = [
        (
            entry["quantity"],
            f"{entry['rows']} single layers" if entry["single_layers"] else str(entry["rows"]),
            percent(entry["median_error"]),
            percent(entry["p90_error"]),
            rank(entry["kendall"]),
            rank(entry["spearman"]),
            entry["how"],
            ", ".join(f"{name} {percent(error)}" for name, error in entry["baselines"].items()) or "–",
            entry["source"],
        )
        for entry in found
    ]
    columns = (
        "agreement",
        "rows",
        "median error",
        "90th percentile",
        "Kendall τ",
        "Spearman ρ",
        "how",
        "simpler models",
        "source",
    )
    screen.print(table(columns, rows, left=("how", "simpler models", "source")))


@devices.command()
def check(
    file: Annotated[Path, typer.Argument(help="A device file (.toml).")], as_json: Json = False, quiet: Quiet = False
) -> None:
    """Check a device file and list all mistakes at once, and what is unlikely of a device."""
    from hwmodels.device import plausible, reader

    device = reader.load_text(reader.read_text(file), str(file))
    doubts = plausible.unlikely(device)
    document = {"file": str(file), "valid": True, "unlikely": doubts, **summary(device)}

    def render(screen: Console) -> None:
        screen.print(f"{file}: no mistakes ({device.title})")
        for doubt in doubts:
            screen.print(f"Unlikely: {doubt}", soft_wrap=True)

    Terminal(as_json, quiet).show(document, render)


@devices.command()
def schema(as_json: Json = False, quiet: Quiet = False) -> None:
    """Print the JSON Schema of device files."""
    from hwmodels.device import reader
    from hwsearch.cli.terminal import write_document

    write_document(reader.schema())
