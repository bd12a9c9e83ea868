"""What there is to choose from: networks, tasks, exporters, and what the modules of devices, proxies, methods, allocators add."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwsearch.cli.commands import allocators, calibrate, devices, methods, proxies
from hwsearch.cli.options import Json, Quiet
from hwsearch.cli.terminal import Terminal, table

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    calibrate.register(devices.devices)
    app.add_typer(devices.devices, name="devices", rich_help_panel="Choices", invoke_without_command=True)
    app.add_typer(proxies.proxies, name="proxies", rich_help_panel="Choices", invoke_without_command=True)
    app.add_typer(methods.methods, name="methods", rich_help_panel="Choices", invoke_without_command=True)
    app.add_typer(allocators.allocators, name="allocators", rich_help_panel="Choices", invoke_without_command=True)
    for command in (networks, tasks, exporters):
        app.command(rich_help_panel="Choices")(command)


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
