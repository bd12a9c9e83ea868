"""Our price beside that of Arm's compiler: for people and for machines."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hwsearch.cli.terminal import table

if TYPE_CHECKING:
    from rich.console import Console

    from hwsearch.boards.vela import Estimates


def document(found: Estimates) -> dict[str, Any]:
    """Both estimates for machines; SI units."""
    return {**dataclasses.asdict(found), "difference": found.difference}


def render(found: Estimates, screen: Console) -> None:
    """A table of layers, and both sums."""
    from hwsearch.documents import units

    rows = [
        (
            pair.name,
            pair.op,
            units.seconds(pair.ours_s),
            units.seconds(pair.vela_s) if pair.vela_s is not None else units.NONE,
            pair.vela_ops,
        )
        for pair in found.pairs
    ]
    difference = units.NONE if found.difference is None else f"{found.difference:+.1%}"
    rows.append(("the whole on the array", "", units.seconds(found.ours_s), units.seconds(found.vela_s), difference))
    if found.beside_s:
        rows.append(("beside the array", "", units.seconds(found.beside_s), units.NONE, "not counted by Vela"))
    screen.print(table(("layer", "op", "hwsearch", "Vela", "Vela's operations"), rows, left=("op", "Vela's operations")))
    screen.print("Both are estimates; Vela is Arm's own compiler, and neither is silicon.")
    screen.print("The sums are comparable; a row is where Vela has operations for that layer alone.")
