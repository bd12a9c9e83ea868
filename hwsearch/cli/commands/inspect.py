"""The command that reads a model file back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwmodels.errors import HwsearchError, UsageError, grouped
from hwsearch.cli import notations, options, second_opinion
from hwsearch.cli.terminal import Terminal, bold, table
from searchspaces.data.scale import Scale, scale_text, spelled
from searchspaces.networks import endings

if TYPE_CHECKING:
    from rich.console import Console

    from hwsearch.formats.reading.pricing import FilePrice
    from hwsearch.formats.reading.readers import Inspected


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="Plans")(inspect)


def inspect(
    file: Annotated[Path, typer.Argument(help="A model file, written by hwsearch or not, or a file of weights.", metavar="FILE")],
    target: Annotated[
        str | None, typer.Option(help="Also price it on this device (see `hwsearch devices`).", show_default=False)
    ] = None,
    input_size: options.Input = None,
    input_channels: options.InputChannels = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Look into a model file: the width and bytes of each layer, the plan that it came from, its price on a device. For a file of
    weights: the network that they belong to."""
    terminal = Terminal(as_json, quiet)
    if input_size is not None and target is None:
        raise UsageError("--input is the size at which a file is priced", "Name a device with --target, or leave it out.")
    from hwsearch.formats.reading.readers import is_model

    if endings.is_weights(file) and target is None and not is_model(file):
        show_weights(file, terminal, notations.read_input_channels(input_channels))
    else:
        channels = notations.read_input_channels(input_channels)
        show(file, target, notations.read_size(input_size), terminal, input_channels=channels)


def show_weights(file: Path, terminal: Terminal, input_channels: Sequence[str] | None = None) -> None:
    """Which network a file of weights is of: family, scale, colours, range of values, sizes; and what it holds."""
    from hwsearch.documents import units
    from searchspaces.networks import checkpoint, recognition, shards, weights
    from searchspaces.networks.input_channels import parse

    tensors = checkpoint.read(file).tensors
    found, reason, hint = None, "", ""
    try:
        found = recognition.look(file, made=parse(input_channels or ()))
    except HwsearchError as error:
        reason, hint = error.message.removeprefix(f"{file}: "), error.hint
    broken = weights.not_finite(tensors)
    integers = list(found.integers) if found else weights.integers(tensors)
    members = shards.members(file)
    file_bytes = sum(member.stat().st_size for member in members)
    document = {
        "file": str(file),
        "file_bytes": file_bytes,
        "files": len(members),
        "tensors": len(tensors),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "recognised": found,
        "reason": reason,
        "hint": hint,
        "not_finite": broken,
        "integers": integers,
    }

    def render(screen: Console) -> None:
        size = units.bytes_(file_bytes) + (f" in {len(members)} files" if len(members) > 1 else "")
        screen.print(bold(str(file), f": {len(tensors)} tensors, {document['parameters']:,} numbers, {size}"))
        screen.print(f"Recognised as {found.words}" if found else f"Not recognised: {reason}\n{hint}", soft_wrap=True)
        if found and found.arguments:
            screen.print("Sizes: " + ", ".join(f"{name}={value}" for name, value in found.arguments.items()))
        if broken:
            screen.print(weights.refused(broken), soft_wrap=True)
        if integers:
            screen.print(f"Integers in the place of real numbers: {', '.join(integers)}. {weights.QUANTIZED}", soft_wrap=True)

    terminal.show(document, render)


def show(
    file: Path,
    target: str | None,
    size: tuple[int, int] | None,
    terminal: Terminal,
    opinion: str | None = None,
    input_channels: Sequence[str] | None = None,
) -> None:
    """What is in a model file, and on ``target`` its price; with ``opinion``, that of Arm's compiler beside it.

    Args:
        input_channels: how what it reads is made from a picture, where that belongs to what is priced.
    """
    from hwsearch.formats.reading import pricing
    from hwsearch.formats.reading import readers as inspecting
    from hwsearch.formats.reading.file_network import enlargement
    from searchspaces.networks.input_channels import PICTURES, parse, ways
    from searchspaces.networks.weights import not_finite, refused

    found = inspecting.inspect(file)
    if broken := not_finite({f"{node.name}.{key}": value for node in found.graph.nodes for key, value in node.weights.items()}):
        found = replace(found, remarks=(*found.remarks, refused(broken)))
    if made := parse(input_channels or ()):
        if opinion is not None:
            raise UsageError("a compiler is handed the file as it is", "Leave --input-channels out, or --with.")
        found = pricing.of_pictures(found, made)
    elif found.graph.channels not in PICTURES:
        found = replace(found, remarks=(*found.remarks, f"It reads no picture. {ways(found.graph.channels)}"))
    name = notations.read_target(target) or target
    price = comparison = None
    if name is not None and opinion is not None:
        from hwsearch.boards import vela

        price, comparison = vela.of_file(found, name, size)
    elif name is not None:
        price = pricing.price(found, name, size)
    terminal.remarks((*found.remarks, *(price.remarks if price else ())))
    scale = enlargement(found)
    document = _document(found, scale, price) | ({opinion: second_opinion.document(comparison)} if opinion and comparison else {})

    def render(screen: Console) -> None:
        _print(found, scale, price, screen)
        if comparison is not None:
            second_opinion.render(comparison, screen)

    terminal.show(document, render)


def _document(found: Inspected, scale: Scale | None, price: FilePrice | None) -> dict[str, Any]:
    return {
        "file": str(found.path),
        "format": found.format,
        "producer": found.producer,
        "channels": found.graph.channels,
        "scale": None if scale is None else spelled(scale),
        "file_bytes": found.file_bytes,
        "weight_bytes": found.weight_bytes,
        "provenance": found.provenance,
        "layers": found.layers,
        "tensor_bits": found.tensor_bits,
        "uncounted": list(found.graph.uncounted),
        "remarks": list(found.remarks),
        "predicted": price,
    }


def _print(found: Inspected, scale: Scale | None, price: FilePrice | None, screen: Console) -> None:
    from hwsearch.documents import units

    facts = found.provenance or {}
    origin = f"plan {facts['plan']}" if "plan" in facts else "no plan named in the file"
    screen.print(bold(str(found.path), f": {found.producer}, {units.bytes_(found.file_bytes)}, {origin}"))
    for key in sorted(set(facts) - {"notes", "plan"}):
        screen.print(f"  {key}: {facts[key]}")
    if scale is not None:
        channels, size = found.graph.channels, found.graph.size if found.again is None else None
        only = f", for pictures of {size[0]}x{size[1]} pixels (height x width) alone" if size else ""
        screen.print(f"  x{scale_text(scale)}, {channels} channel{'s' if channels > 1 else ''}{only}")
    priced = {row.name: row for row in price.layers} if price else {}
    columns = ["layer", "op", "weights", "weight bits", "tensor bits", "in the file", "weight bytes"]
    rows = []
    for layer in found.layers:
        cells = [layer.name, layer.op, "x".join(map(str, layer.shape)), str(layer.weight_bits), str(layer.activation_bits)]
        cells += [layer.stored_as, units.bytes_(layer.weight_bytes)]
        if layer.name in priced:
            row = priced[layer.name]
            cells += [row.executed, units.seconds(row.latency_s), row.binds]
        rows.append(cells)
    columns += ["runs as", "latency", "binds"] if price else []
    screen.print(table(columns, rows, left=("op", "weights", "in the file", "runs as", "binds")))
    screen.print(f"Weights in the file  {units.bytes_(found.weight_bytes)}")
    if found.graph.uncounted:
        screen.print(f"Not understood: {', '.join(grouped(found.graph.uncounted))}")
    if price:
        height, width = price.input_size
        screen.print(f"On {price.title}, input {height}x{width}:")
        screen.print(f"Latency              {units.seconds(price.latency_s)}{price.trust.mark(price.interval_s)}")
        screen.print(f"Weights              {units.bytes_(price.weight_bytes)}")
        screen.print(f"Peak activations     {units.bytes_(price.peak_activation_bytes)}")
        screen.print(f"Energy               {units.joules(price.energy_j)}")
