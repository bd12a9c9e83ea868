"""What there is to choose from: devices, networks, exporters; proxies, methods and allocators have modules of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwsearch.cli.commands import allocators, calibrate, methods, proxies
from hwsearch.cli.options import Json, Quiet
from hwsearch.cli.terminal import Terminal, bold, table

if TYPE_CHECKING:
    from rich.console import Console

    from hwmodels.device.device import Device

devices = typer.Typer(
    help="Devices: list them, show the numbers and sources of one, check a file of your own.", no_args_is_help=False
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    calibrate.register(devices)
    app.add_typer(devices, name="devices", rich_help_panel="Choices", invoke_without_command=True)
    app.add_typer(proxies.proxies, name="proxies", rich_help_panel="Choices", invoke_without_command=True)
    app.add_typer(methods.methods, name="methods", rich_help_panel="Choices", invoke_without_command=True)
    app.add_typer(allocators.allocators, name="allocators", rich_help_panel="Choices", invoke_without_command=True)
    for command in (networks, tasks, exporters):
        app.command(rich_help_panel="Choices")(command)


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


def _brief(words: list[str], room: int = 6) -> str:
    """The last words of a long list, which in a list of precisions are the widest."""
    return " ".join(words) if len(words) <= room else f"{len(words)} of them, up to {words[-1]}"


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


def networks(
    operations: Annotated[
        bool, typer.Option("--operations", help="List the operations that a network of your own may use.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the built-in networks, or the operations that a network of your own may use."""
    terminal = Terminal(as_json, quiet)
    if operations:
        _show_operations(terminal)
        return
    from hwsearch.plans import ready
    from searchspaces.networks.registry import NETWORKS

    plans = ready.documents()
    found: list[dict[str, Any]] = [
        {
            "name": spec.name,
            "summary": spec.summary,
            "scales": list(spec.scales),
            "arguments": dict(spec.arguments),
            "input": "bicubic-upsampled" if spec.input_kind == "upsampled" else "low resolution",
            "shipped_scales": [scale for scale in spec.scales if spec.weights(scale) is not None],
            "ready_plans": [plan.name for plan in plans if plan.network == spec.name],
        }
        for spec in NETWORKS.values()
    ]

    def render(screen: Console) -> None:
        rows = [
            (
                entry["name"],
                entry["summary"],
                " ".join(f"x{scale}" for scale in entry["scales"]),
                " ".join(f"x{scale}" for scale in entry["shipped_scales"]) or "none",
                " ".join(f"{key}={value}" for key, value in entry["arguments"].items()),
            )
            for entry in found
        ]
        columns = ("network", "what it is", "scales", "weights ship for", "arguments (--arg)")
        screen.print(table(columns, rows, left=columns))
        for plan in plans:
            assert plan.measured is not None
            assert plan.counted is not None
            screen.print(
                f"Ready plan {plan.name}: {plan.counted.mean_weight_bits:.3g} bits a weight, {plan.measured.loss_db:.2f} dB lost "
                f"on the shipped pictures; for every command that takes a plan, such as hwsearch export {plan.name}."
            )
        screen.print("Other families are known by their weights alone (--weights FILE) where spandrel is installed.")

    terminal.show({"networks": found}, render)


def _show_operations(terminal: Terminal) -> None:
    from hwsearch.formats.support import matrix
    from searchspaces.ops.maps.activation import FUSED, Activation
    from searchspaces.ops.registry import operators

    activations = [kind for kind, cls in operators().items() if issubclass(cls, Activation)]
    plain = sorted(operators().keys() - set(activations) - {"input", "unknown"})
    who = matrix()
    document = {"operations": plain, "activations": activations, "fused": [cls.kind for cls in FUSED], "lacking": who}

    def render(screen: Console) -> None:
        screen.print(f"Operations:  {', '.join(plain)}")
        screen.print(f"Activations: {', '.join(activations)}; fused into a layer: {', '.join(document['fused'])}")
        screen.print("A transposed convolution is rewritten to a convolution and a pixel shuffle.")
        columns = ("operator", "who has it (--json tells the reasons of the others)")
        rows = [(kind, ", ".join(name for name, reason in who[kind].items() if not reason)) for kind in (*plain, *activations)]
        screen.print(table(columns, rows, left=columns))

    terminal.show(document, render)


def tasks(as_json: Json = False, quiet: Quiet = False) -> None:
    """List the tasks (`--task NAME`): what a network may be for, and what quality means there."""
    from searchspaces.tasks.registry import known

    found: list[dict[str, Any]] = [
        {
            "name": task.name,
            "summary": task.summary,
            "quality": {"name": task.quality.name, "unit": task.quality.unit},
            "second": {"name": task.second.name, "unit": task.second.unit},
        }
        for task in known().values()
    ]

    def render(screen: Console) -> None:
        rows = [(entry["name"], *(_measure(entry[key]) for key in ("quality", "second")), entry["summary"]) for entry in found]
        columns = ("task", "quality", "beside it", "what it is")
        screen.print(table(columns, rows, left=columns))

    Terminal(as_json, quiet).show({"tasks": found}, render)


def _measure(quality: dict[str, str]) -> str:
    """The name of a quality, with its unit where it has one."""
    return f"{quality['name']} ({quality['unit']})" if quality["unit"] else quality["name"]


def exporters(as_json: Json = False, quiet: Quiet = False) -> None:
    """List the file formats that a plan can be exported to."""
    from hwsearch.formats.writing.exporters import EXPORTERS

    found: list[dict[str, Any]] = []
    for info in EXPORTERS.values():
        found.append({"name": info.name, "summary": info.summary, "suffix": info.suffix, "holds": info.holds})

    def render(screen: Console) -> None:
        rows = [
            (
                entry["name"],
                entry["suffix"],
                " ".join(map(str, entry["holds"].weight_bits)),
                " ".join(map(str, entry["holds"].tensor_bits)),
                "yes" if entry["holds"].zero_points else "no",
                entry["summary"],
            )
            for entry in found
        ]
        columns = ("exporter", "file", "weights", "tensors", "zero points", "what it is")
        screen.print(table(columns, rows, left=columns))
        screen.print("What a format cannot hold becomes the next wider thing that it can, and the export says so.")

    Terminal(as_json, quiet).show({"exporters": found}, render)
