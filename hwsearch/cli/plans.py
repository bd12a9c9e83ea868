"""Commands about one plan or one run: price, prove, explain, export, report, enlarge a picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hwmodels.errors import UsageError
from hwsearch.cli import inspect, options
from hwsearch.console import Terminal, table
from hwsearch.runtimes import RUNTIMES

if TYPE_CHECKING:
    from rich.console import Console

    from hwsearch.explain import Explanation, Step
    from hwsearch.export.effect import Effect
    from hwsearch.export.promote import Promotion
    from hwsearch.pricing import Price
    from hwsearch.results import TilingPoint
    from hwsearch.vela import Pair

DEFAULT_TARGET = "jetson"

Runtime = Annotated[
    str, typer.Option(help=f"Who runs the integers: {', '.join(f'{info.name} ({info.summary})' for info in RUNTIMES.values())}.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(rich_help_panel="The main job")(estimate)
    for command in (explain, validate, export, upscale):
        app.command(rich_help_panel="Plans")(command)
    app.command(rich_help_panel="Plans")(report)


def estimate(
    plan: Annotated[str, typer.Option(help="One precision everywhere, such as W8A8 or FP16, or a plan file.")] = "W8A8",
    target: options.Target = None,
    network: options.Network = None,
    scale: options.Scale = None,
    weights: options.Weights = None,
    model: options.Model = None,
    arg: options.Arg = None,
    input_size: options.Input = None,
    fps: options.Fps = None,
    tile: options.Tile = None,
    halo: options.Halo = None,
    opinion: Annotated[
        Literal["vela"] | None,
        typer.Option("--with", help="Beside ours, the estimate of Arm's compiler for Ethos-U (needs ethos-u-vela)."),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Price a network on a device, layer by layer: what runs as what, what binds, what fits. No search.

    A model file (--model net.tflite) is priced at its own widths.
    """
    if model is not None and Path(model).suffix.lower() in (".tflite", ".onnx"):
        inspect.inspect(Path(model), target or DEFAULT_TARGET, input_size, as_json, quiet)
        return
    fields: dict[str, Any] = options.network_fields(network, model, weights, scale, arg)
    fields |= options.given(
        {
            "target": options.read_target(target),
            "input_size": options.read_size(input_size),
            "fps": options.read_fps(fps),
            **options.read_tile(tile, halo),
        }
    )
    if halo is not None and tile is None:
        raise UsageError("--halo says how tiles are joined", "Give --tile too: a size, or auto.")
    from hwsearch import pricing
    from hwsearch.problem import Request

    terminal = Terminal(as_json, quiet)
    price = pricing.estimate_plan(Path(plan), fields) if plan.endswith(".json") else pricing.estimate(Request(**fields), plan)
    if not as_json:
        for remark in price.remarks:
            terminal.remark(remark)
    if opinion is None:
        terminal.show(pricing.document(price), lambda screen: _print_price(price, screen))
        return
    from hwsearch import vela

    pairs = vela.second_opinion(price, Request(**fields))
    document = {**pricing.document(price), opinion: [dataclasses.asdict(pair) for pair in pairs]}
    terminal.show(document, lambda screen: _print_opinion(price, pairs, screen))


def _print_opinion(price: Price, pairs: list[Pair], screen: Console) -> None:
    from hwsearch.report import words

    _print_price(price, screen)

    def difference(ours: float, theirs: float | None) -> str:
        return f"{ours / theirs - 1:+.1%}" if theirs else words.NONE

    rows = [
        (
            pair.name,
            pair.op,
            words.seconds(pair.ours_s),
            words.seconds(pair.vela_s) if pair.vela_s is not None else words.NONE,
            difference(pair.ours_s, pair.vela_s) if pair.ours_s else words.NONE,
            pair.vela_ops,
        )
        for pair in pairs
    ]
    both = [pair for pair in pairs if pair.vela_s is not None]
    ours, theirs = sum(pair.ours_s for pair in both), sum(pair.vela_s or 0.0 for pair in both)
    rows.append(("layers of both", "", words.seconds(ours), words.seconds(theirs), difference(ours, theirs), ""))
    screen.print(
        table(("layer", "op", "hwsearch", "Vela", "difference", "Vela's operations"), rows, left=("op", "Vela's operations"))
    )
    screen.print("Both are estimates; Vela is Arm's own compiler, and neither is silicon.")


def _print_price(price: Price, screen: Console) -> None:
    from rich.markup import escape

    from hwsearch.report import words

    problem = price.problem
    height, width = problem.input_size
    screen.print(
        f"[bold]{problem.network.name} x{problem.network.scale}, {price.label}, on {problem.device.title}[/], "
        f"input {height}x{width}, {words.count(price.cut.macs)}MAC"
        + ("" if price.cut.tiling is None else f", {price.cut.tiles} tiles of {price.cut.tiling}")
    )
    if price.tilings:
        _print_tilings(price, screen)
    rows = [
        (
            row.name,
            row.op,
            words.count(row.macs) if row.macs else words.NONE,
            row.runs_as,
            row.stored_as,
            *(words.seconds(term) for term in (row.compute_s, row.weight_s, row.activation_s, row.overhead_s, row.latency_s)),
            row.binds,
            words.bytes_(row.weight_bytes),
        )
        for row in price.layers
    ]
    columns = (
        *("layer", "op", "MAC", "runs as", "stored as", "compute", "weights", "tensors", "overhead", "latency", "binds"),
        "weight bytes",
    )
    screen.print(table(columns, rows, left=("op", "runs as", "stored as", "binds")))
    screen.print(f"Latency              {words.seconds(price.latency_s)}")
    if price.fps is not None and price.headroom is not None:
        screen.print(f"Video                {words.rate(price.latency_s, price.fps)}")
    screen.print(f"Weights              {words.bytes_(price.weight_bytes)}{_limit(price, 'weight_bytes')}")
    peak = f"{words.bytes_(price.peak_activation_bytes)}{_limit(price, 'peak_activation_bytes')}"
    screen.print(f"Peak activations     {peak}, during {escape(price.peak_at)}")
    if "peak_activation_bytes" in price.exceeded and not price.tilings:
        screen.print("                     --tile auto shows what it costs to cut the picture")
    if price.energy_j is not None:
        relative = " (to compare with others on this device only)" if problem.device.energy.relative else ""
        screen.print(f"Energy               {words.joules(price.energy_j)}{relative}")


def _print_tilings(price: Price, screen: Console) -> None:
    """RAM against latency as the tile shrinks, for both ways to join tiles."""
    from hwsearch.report import words

    whole = price.problem.workload.macs
    rows = [
        (
            "whole picture" if point.tiling is None else f"{point.tiling.height}x{point.tiling.width}",
            words.NONE if point.tiling is None else words.HALO[point.tiling.halo],
            str(point.tiles),
            words.ratio(point.macs / whole),
            words.seconds(point.latency_s),
            words.bytes_(point.peak_activation_bytes),
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


def _limit(price: Price, name: str) -> str:
    from hwsearch.report import words

    if name not in price.limits:
        return ""
    verdict = "[red]does not fit[/]" if name in price.exceeded else "fits"
    return f" of {words.bytes_(price.limits[name])}, {verdict}"


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


def validate(
    plan: options.PlanFile,
    runtime: Runtime = "ort",
    images: options.Images = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Run a plan's integers on pictures, and compare with our engine and with what the plan says (exit 5 if they disagree)."""
    from hwsearch import recheck
    from hwsearch.report import words

    terminal = Terminal(as_json, quiet)
    with terminal.progress() as progress:
        verdict = recheck.recheck(plan, runtime, images, progress)

    def render(screen: Console) -> None:
        quality = f"{words.decibel(verdict.psnr_db)}, SSIM {verdict.ssim:.4f}"
        pictures = "1 picture" if len(verdict.pictures) == 1 else f"{len(verdict.pictures)} pictures"
        screen.print(f"{quality} on {pictures} with {verdict.runtime}")
        memory = f", {words.bytes_(verdict.peak_bytes)} of working memory" if verdict.peak_bytes else ""
        screen.print(f"It took {words.seconds(verdict.seconds)}{memory}")
        screen.print(f"{verdict.mismatched_codes} of {verdict.codes} output codes differ from our integer engine")
        if verdict.tiling is not None:
            screen.print(f"The integer engine gives the same codes by tiles of {verdict.tiling} as for whole pictures")
        if verdict.instructions is not None:
            rows = [(name, words.count(count)) for name, count in verdict.instructions.items()]
            screen.print(table(("layer", "instructions"), [*rows, ("all", words.count(sum(verdict.instructions.values())))]))
        if verdict.recorded_psnr_db is not None:
            screen.print(f"The plan says {words.decibel(verdict.recorded_psnr_db)} on its own evaluation pictures")

    terminal.show(verdict, render)


def export(
    plan: options.PlanFile,
    to: Annotated[str, typer.Option(help="The format (see `exporters`).")] = "onnx",
    out: Annotated[Path | None, typer.Option(help="Where. Default: the plan's name, in this folder.", metavar="FILE")] = None,
    input_size: Annotated[
        str | None,
        typer.Option("--input", help="Size of pictures or tiles, where the format fixes it. Default: the plan's.", metavar="HxW"),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Hand a plan to the runtime that ships it; says what the format cannot hold and what that costs."""
    from hwsearch import plan_file
    from hwsearch.export import effect, exporter
    from hwsearch.files import size_bytes

    chosen = exporter(to)
    document = plan_file.load(plan)
    path = out if out is not None else Path(f"{document.name}{chosen.suffix}")
    if input_size is not None and not chosen.sized:
        raise UsageError(f"--input means nothing to {to}: its files take pictures of any size")
    if path.is_dir() and not chosen.folder:
        raise UsageError(f"--out {path} is a folder", f"Name a file, for example {path / (document.name + chosen.suffix)}.")
    terminal = Terminal(as_json, quiet)
    with terminal.progress() as progress:
        qgraph = plan_file.load_integers(document, plan, progress)
        promotion = chosen.promote(qgraph)
        size = options.read_size(input_size) or (document.input_height, document.input_width)
        chosen(qgraph, path, metadata=document.origin, size=size)
        cost = effect.measure(plan, qgraph, promotion, document.scale, progress)
    result = {
        "file": str(path),
        "format": chosen.name,
        "plan": document.name,
        "bytes": size_bytes(path),
        "promoted": promotion.changes,
        "weight_bytes": {"plan": promotion.bytes_before, "exported": promotion.bytes_after},
        "psnr": cost,
    }
    terminal.show(result, lambda screen: _print_export(path, chosen.name, promotion, cost, screen))


def _print_export(path: Path, name: str, promotion: Promotion, cost: Effect | None, screen: Console) -> None:
    from hwsearch.report import words

    if promotion.changes or not promotion.same_numbers:
        rows = [
            (
                change.name,
                change.kind,
                change.before,
                change.after,
                *(_bytes(n) for n in (change.bytes_before, change.bytes_after)),
            )
            for change in promotion.changes
        ]
        screen.print(f"{name} cannot hold all of this plan as it is; what became wider:")
        screen.print(table(("name", "of", "plan", "exported", "bytes", "now"), rows, left=("of", "plan", "exported")))
        screen.print(f"Weights  {words.bytes_(promotion.bytes_before)} -> {words.bytes_(promotion.bytes_after)}, packed")
        if cost is None:
            screen.print("PSNR     the same: every integer keeps its value")
        else:
            change = cost.psnr_after_db - cost.psnr_before_db
            found = f"{words.decibel(cost.psnr_before_db)} -> {words.decibel(cost.psnr_after_db)} ({change:+.3f} dB)"
            screen.print(f"PSNR     {found}, measured on {len(cost.pictures)} pictures with our engine")
    screen.print(f"wrote {path}", markup=False)


def _bytes(count: int) -> str:
    from hwsearch.report import words

    return words.bytes_(count) if count else words.NONE


def report(
    run: Annotated[Path, typer.Argument(help="A run directory.", metavar="RUN", resolve_path=True)],
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a run's report.html again from its results."""
    from hwsearch import store, summary
    from hwsearch.report import html

    results = store.load_results(run)
    path = html.write(results, run)
    Terminal(as_json, quiet).show({"report": str(path)}, lambda screen: summary.render(results, screen))


def upscale(
    source: Annotated[Path, typer.Argument(help="A picture.", metavar="IN")],
    destination: Annotated[Path, typer.Argument(help="Where to write the enlarged picture.", metavar="OUT")],
    plan: Annotated[Path, typer.Option(help="A plan: plans/NAME.json of a run.", metavar="PLAN")],
    runtime: Runtime = "engine",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Enlarge a picture of any size with a plan's integers."""
    from hwsearch import plan_file
    from hwsearch.upscale import upscale as enlarge

    terminal = Terminal(as_json, quiet)
    document = plan_file.load(plan)
    with terminal.progress() as progress:
        qgraph = plan_file.load_integers(document, plan, progress)
        height, width = enlarge(source, destination, qgraph, document.scale, runtime, progress)
    result = {"file": str(destination), "height": height, "width": width, "scale": document.scale, "plan": document.name}
    terminal.show(result, lambda screen: screen.print(f"wrote {destination}, {width}x{height}", markup=False))
