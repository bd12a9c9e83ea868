"""Fits the constants of embedded NPUs and writes them into their files (see ``oracle.embedded`` and ``oracle.hailo``).

The figures are not shipped; give the folder that holds ``oracle/``. Run, then ``agreement.py``:

    python tests/bench/embedded.py [--figures ../shared]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")])

from oracle import embedded, hailo

from hwmodels.device import reader
from hwmodels.device.catalogue import load
from hwmodels.device.edit import edited
from hwmodels.device.facts import number
from hwmodels.device.values import Quantity
from hwsearch.documents.files import replacing

ROOT = Path(__file__).parents[2]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--figures", type=Path, default=ROOT.parent / "shared", help="folder with oracle/npu/*.json")
    given = options.parse_args()
    for name, keys in embedded.FREE.items():
        fitted = embedded.fitted(load(name), [t for t in embedded.timings(given.figures) if t.device == name])
        source = "stm" if name.startswith("stm") else "nxp"
        write(name, {key: Quantity(value=number(fitted, key), source=source, note="fitted") for key in keys})
    found = hailo.fitted(hailo.timings(given.figures))
    for name in hailo.DEVICES.values():
        values = dict(zip(hailo.FREE, found.constants[name], strict=True))
        constants = {key: Quantity(value=value, source="zoo", note="fitted") for key, value in values.items()}
        capacity = load(name).npu.dataflow.capacity_bytes.model_copy(update={"value": found.capacity[name]})
        write(name, {**constants, "npu.dataflow.capacity_bytes": capacity})


def write(name: str, values: dict[str, Quantity]) -> None:
    """Put constants into the file of a shipped device."""
    path = reader.FOLDER / f"{name}.toml"
    text = edited(path.read_text(encoding="utf-8"), name, values)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{name}: {', '.join(f'{key} {value.value:.4g}' for key, value in values.items())}")


if __name__ == "__main__":
    main()
