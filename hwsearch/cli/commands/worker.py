"""``hwsearch worker``: measure for a study that another process leads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwsearch.cli import notations, options
from hwsearch.cli.terminal import Terminal
from hwsearch.documents.url import StorageUrl


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel="The main job")(worker)


def worker(
    storage: Annotated[str, typer.Option(help=options.STORAGE_HELP, metavar="URL", show_default=False)],
    study: Annotated[str, typer.Option(help="The study to measure for.", show_default=False)],
    model: options.Model = None,
    weights: options.Weights = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the study's pictures on this machine.", metavar="DIR", resolve_path=True)
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The study's device file on this machine.", metavar="FILE", show_default=False)
    ] = None,
    threads: Annotated[int, typer.Option(help="Number of threads. One worker per core is faster than more threads.", min=1)] = 1,
    idle: Annotated[float, typer.Option(help="Stop after this many seconds without work.", min=0)] = 1800.0,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure plans for a study that `hwsearch optimize` leads; any number of workers may take part.

    A worker with other weights, pictures or versions is refused. Stop it at any time: another one takes over its plan.

    Examples:
      hwsearch optimize --target jetson --storage postgresql://me@db/search --study night
      hwsearch worker --storage postgresql://me@db/search --study night
    """
    url = StorageUrl.read(storage)
    own = notations.given(
        {"model": notations.read_model(model), "weights": weights, "images": images, "target": notations.read_target(target)}
    )
    terminal = Terminal(as_json, quiet)
    import torch

    from hwsearch.runs.cluster.worker import work

    torch.set_num_threads(threads)
    with terminal.progress() as progress:
        tally = work(url, study, own, idle_s=idle, progress=progress, tell=terminal.remark)
    seconds = f"{tally.seconds / tally.measured:.3g} s each" if tally.measured else "no plan received"
    terminal.show(tally, lambda screen: screen.print(f"{tally.study}: {tally.ended}, {tally.measured} plans measured, {seconds}"))
