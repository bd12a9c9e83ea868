"""``hwsearch estimate``: the price of a network on a device, layer by layer, without a search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hwmodels.errors import UsageError
from hwsearch.cli import groups, notations, options, second_opinion
from hwsearch.cli.commands import inspect
from hwsearch.cli.terminal import Terminal, bold, table
from searchspaces.data.scale import network_text

if TYPE_CHECKING:
    from rich.console import Console

    from hwsearch.documents.results import TilingPoint
    from hwsearch.plans.pricing import PricedPlan

DEFAULT_TARGET = "jetson"
DEFAULT_PLAN = "W8A8"
BESIDE_A_FILE = ("--model", "--target", "--input", "--input-channels", "--task", "--with", "--json", "--quiet")
"""What a model file can be priced with at its own widths, where whatever it gives has a price."""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="The main job")(estimate)


@groups.grouped
def estimate(
    context: typer.Context,
    *,
    plan: Annotated[
        str | None,
        typer.Option(
            help="One precision everywhere, such as W8A8 or FP16, or a plan. Default: W8A8, or the widths of a model file.",
            show_default=False,
        ),
    ] = None,
    target: options.Target = None,
    network: groups.NetworkOptions,
    task: options.TaskName = None,
    input_size: options.Input = None,
    tiling: groups.TilingOptions,
    allow_edited: options.AllowEdited = False,
    opinion: Annotated[
        Literal["vela"] | None,
        typer.Option("--with", help="Also show the estimate of Vela, Arm's compiler for Ethos-U (needs the extra `vela`)."),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Price a network on a device, layer by layer, without a search: what runs as what, what binds, and what fits.

    A model file (--model net.tflite) is priced with its own widths, or with those of --plan.
    """
    if task is not None:
        from searchspaces.tasks import registry

        registry.task(task)
    model = network.model
    if model is not None and plan is None and ":" not in model and _is_model_file(Path(model)):
        _refuse_beside_a_file(context)
        size, channels = notations.read_size(input_size), notations.read_input_channels(network.input_channels)
        inspect.show(Path(model), target or DEFAULT_TARGET, size, Terminal(as_json, quiet), opinion, channels)
        return
    if tiling.halo is not None and tiling.tile is None:
        raise UsageError("--halo says how tiles are joined", "Give --tile too: a size, or auto.")
    fields: dict[str, Any] = network.fields() | tiling.fields()
    size = notations.read_size(input_size)
    fields |= notations.given({"target": notations.read_target(target), "task": task, "input_size": size})
    terminal = Terminal(as_json, quiet)
    price = _priced(plan or DEFAULT_PLAN, fields, allow_edited=allow_edited)
    if not as_json:
        terminal.remarks(price.remarks)
    _show(price, fields, opinion, terminal)


def _priced(plan: str, fields: dict[str, Any], *, allow_edited: bool) -> PricedPlan:
    """A precision everywhere, or a plan, priced as a request with these fields asks.

    Raises:
        UsageError: ``--allow-edited`` without a plan file.
    """
    from hwsearch.plans import plan_file, pricing, ready
    from hwsearch.problem.request import Request

    if plan.endswith(".json") or plan in ready.names():
        opened = plan_file.open_plan(Path(plan), fields.get("model"), allow_edited=allow_edited)
        return pricing.estimate_plan(opened, {name: value for name, value in fields.items() if name != "model"})
    if allow_edited:
        raise UsageError("--allow-edited is for a plan file, and none is given", "Leave it out, or name one with --plan.")
    return pricing.estimate(Request(**fields), plan)


def _show(price: PricedPlan, fields: dict[str, Any], opinion: str | None, terminal: Terminal) -> None:
    """The price, and beside it what Arm's compiler says where that is asked for."""
    from hwsearch.plans import pricing

    if opinion is None:
        terminal.show(pricing.document(price), lambda screen: _print_price(price, screen))
        return
    from hwsearch.boards import vela
    from hwsearch.problem.request import Request

    comparison = vela.second_opinion(price, Request(**fields))

    def render(screen: Console) -> None:
        _print_price(price, screen)
        second_opinion.render(comparison, screen)

    terminal.show({**pricing.document(price), opinion: second_opinion.document(comparison)}, render)


def _refuse_beside_a_file(context: typer.Context) -> None:
    """What a file at its own widths is not priced with must not be dropped without a word."""
    from hwsearch.documents import units

    options = {option.opts[0]: context.get_parameter_source(str(option.name)) for option in context.command.params}
    given = [name for name, source in options.items() if source and source.name == "COMMANDLINE" and name not in BESIDE_A_FILE]
    if given:
        raise UsageError(
            f"a model file at its own widths is priced without {units.listing(given)}",
            "Leave them out, or price the network as hwsearch would run it: --plan W8A8, or a plan file.",
        )


def _is_model_file(path: Path) -> bool:
    from hwsearch.formats.reading.readers import is_model

    return is_model(path)


def _print_price(price: PricedPlan, screen: Console) -> None:
    from hwsearch.documents import trust, units

    problem = price.problem
    height, width = problem.input_size
    screen.print(
        bold(
            f"{network_text(problem.network.name, problem.network.scale)}, {price.label}, on {problem.device.title}",
            f", input {height}x{width}, {units.count(price.tiled.macs)}MAC"
            + ("" if price.tiled.tiling is None else f", {price.tiled.tiles} tiles of {price.tiled.tiling}"),
        )
    )
    if price.tilings:
        _print_tilings(price, screen)
    rows = [
        (
            row.name,
            row.op,
            units.count(row.macs) if row.macs else units.NONE,
            row.executed,
            row.stored_as,
            *(units.seconds(term) for term in (row.compute_s, row.weight_s, row.activation_s, row.overhead_s, row.latency_s)),
            row.binds,
            units.bytes_(row.weight_bytes),
        )
        for row in price.layers
    ]
    columns = (
        *("layer", "op", "MAC", "runs as", "stored as", "compute", "weights", "tensors", "overhead", "latency", "binds"),
        "weight bytes",
    )
    screen.print(table(columns, rows, left=("op", "runs as", "stored as", "binds")))
    unsure = trust.beside(problem.device, price.latency_s, price.layers)
    screen.print(f"Latency              {units.seconds(price.latency_s)}{unsure}")
    if price.fps is not None and price.headroom is not None:
        screen.print(f"Video                {units.rate(price.latency_s, price.fps)}")
    screen.print(f"Weights              {units.bytes_(price.weight_bytes)}{_limit(price, 'weight_bytes')}")
    peak = f"{units.bytes_(price.peak_activation_bytes)}{_limit(price, 'peak_activation_bytes')}"
    screen.print(f"Peak activations     {peak}, during {price.peak_at}")
    if "peak_activation_bytes" in price.exceeded and not price.tilings:
        screen.print("                     --tile auto shows what it costs to cut the picture")
    relative = " (comparable on this device only)" if problem.device.energy.relative else ""
    relative = relative if price.energy_j is not None else ": the device file has no figure for it"
    screen.print(f"Energy               {units.joules(price.energy_j)}{relative}")


def _print_tilings(price: PricedPlan, screen: Console) -> None:
    """RAM against latency as the tile shrinks, for both ways to join tiles."""
    from hwsearch.documents import units

    whole = price.problem.workload.macs
    rows = [
        (
            "whole picture" if point.tiling is None else f"{point.tiling.height}x{point.tiling.width}",
            units.NONE if point.tiling is None else units.HALO[point.tiling.halo],
            str(point.tiles),
            units.ratio(point.macs / whole),
            units.seconds(point.latency_s),
            units.bytes_(point.peak_activation_bytes),
            _verdict(point, limited=bool(price.limits)),
        )
        for point in price.tilings
    ]
    columns = ("tile", "halo", "tiles", "MAC", "latency", "peak activations", "verdict")
    screen.print(table(columns, rows, left=("halo", "verdict")))


def _verdict(point: TilingPoint, *, limited: bool) -> str:
    if not limited:
        return "the fastest" if point.chosen else ""
    if not point.fits:
        return "does not fit"
    return "fits, the fastest that does" if point.chosen else "fits"


def _limit(price: PricedPlan, name: str) -> str:
    from hwsearch.documents import units

    if name not in price.limits:
        return ""
    verdict = "does not fit" if name in price.exceeded else "fits"
    return f" of {units.bytes_(price.limits[name])}, {verdict}"
