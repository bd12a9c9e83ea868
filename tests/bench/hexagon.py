"""Fits the constants of all Hexagon devices together and writes them into their files (see ``oracle.hexagon_fit``).

The figures are not shipped; give the folder that holds ``oracle/``. Run, then ``agreement.py``:

    python tests/bench/hexagon.py [--figures ../shared]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")])

import numpy as np
from oracle import aihub, handed_over, hexagon_fit

from hwmodels.device import reader
from hwmodels.device.edit import edited
from hwmodels.device.facts import number
from hwmodels.device.values import Quantity
from hwsearch.documents.files import replacing

ROOT = Path(__file__).parents[2]
OF_ONE_BOARD = "fitted together with all Hexagon devices"
OF_ALL = "fitted, one value for all Hexagon devices"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--figures", type=Path, default=ROOT.parent / "shared", help="folder with oracle/npu/*.json")
    given = options.parse_args()
    problem = hexagon_fit.Problem(aihub.timings(given.figures), aihub.targets())
    point = problem.fit(np.ones(len(problem.timings), dtype=bool))
    for board, name in aihub.BOARDS.items():
        limit = problem.limits[board]
        notes = {
            "rates.W8A8": f"{OF_ONE_BOARD}; at most {limit.macs_per_s / 1e12:.3g} TMAC/s",
            "npu.strip_spill": f"{OF_ALL}, times {hexagon_fit.SCRATCHPAD_BYTES >> 20} MiB over the scratchpad",
            "memory.dram.bytes_per_s": f"{OF_ONE_BOARD}; at most the {limit.memory_bytes_per_s / 1e9:.4g} GB/s of the interface",
        }
        shared = ("npu.passes.", "npu.weights_ahead", "npu.matrix_start")
        values = {
            key: Quantity(value=value, source="aihub", note=notes.get(key, OF_ALL if key.startswith(shared) else OF_ONE_BOARD))
            for key, value in problem.values(point, board).items()
        }
        write(name, values)
        if board in aihub.UNDER_LITERT:
            under = handed_over.fitted(given.figures, board)
            alike = {key: value.model_copy(update={"value": number(under, key)}) for key, value in values.items()}
            rate = Quantity(value=number(under, handed_over.RATE), source="aihub", note="fitted to two transformers in 8 bits")
            write(aihub.UNDER_LITERT[board], alike | {handed_over.RATE: rate})
    print(", ".join(f"{name} {np.exp(point[i]):.3g}" for name, i in problem.shared.items()))


def write(name: str, values: dict[str, Quantity]) -> None:
    """Put constants into the file of a shipped device."""
    path = reader.FOLDER / f"{name}.toml"
    text = edited(path.read_text(encoding="utf-8"), name, values)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{name}: {', '.join(f'{key} {value.value:.3g}' for key, value in values.items() if value.note != OF_ALL)}")


if __name__ == "__main__":
    main()
