"""``hwsearch methods``: the quantization methods, where they come from and what they need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from hwsearch.cli import options
from hwsearch.cli.terminal import Terminal, table

if TYPE_CHECKING:
    from rich.console import Console

methods = typer.Typer(help="The quantization methods: list them.", no_args_is_help=False)


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
            }
        )

    def render(screen: Console) -> None:
        rows = [
            (entry["name"], entry["summary"], entry["source"], entry["needs"], entry["reconstructed"], entry["run_time_price"])
            for entry in found
        ]
        columns = ("method", "what it does", "source", "needs", "reconstructed", "price at run time")
        screen.print(table(columns, rows, left=columns))
        screen.print("Search with one of them: hwsearch optimize --method NAME. With several, every plan keeps the better one.")

    Terminal(as_json, quiet).show({"methods": found}, render)
