"""`hwsearch devices calibrate`: constants of a device fitted to timings, of this machine or of a board of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwsearch.cli import groups
from hwsearch.cli.notations import read_size
from hwsearch.cli.options import Json, Quiet
from hwsearch.cli.terminal import Terminal, bold, table

if TYPE_CHECKING:
    from rich.console import Console

    from hwmodels.device.device import Device
    from hwmodels.fitting.constants import Fit, Measurement


FAR = 30.0
"""Factor between timings and the price before the fit, for most of them, that says that their unit is another one: half of the
thousand between units, in decades. Constants of a device file for hardware like it are within a factor of ten."""
BADLY = 0.5
"""Median error of a fit that says that timings and model are not of one device."""


def register(devices: typer.Typer) -> None:
    """Add the command to those of `hwsearch devices`."""
    devices.command()(calibrate)


@dataclass(frozen=True)
class ProfileOptions:
    """What a profiler's file does not say of itself."""

    network: Annotated[str | None, typer.Option(help="For a profile: its network, a built-in one or a NAME of --model.")] = None
    scale: Annotated[
        str | None, typer.Option(help="For a profile: the enlargement factor. Default: the network's first.", metavar="FACTOR")
    ] = None
    input_size: Annotated[
        str | None, typer.Option("--input", help="For a profile: the size of the input picture.", metavar="HxW")
    ] = None
    precision: Annotated[
        str | None,
        typer.Option(help="For a profile: the precision of the whole network, such as W8A8 or FP16.", metavar="PRECISION"),
    ] = None

    def said(self) -> dict[str, str]:
        """Columns of a file of timings and what they hold, only those that were given.

        Raises:
            UsageError: ``--input`` is no size.
        """
        height, width = read_size(self.input_size) or (None, None)
        columns = {"network": self.network, "scale": self.scale, "precision": self.precision, "height": height, "width": width}
        return {name: str(value) for name, value in columns.items() if value is not None}


@groups.grouped
def calibrate(
    *,
    device: Annotated[
        str, typer.Argument(help="The device or device file (.toml) to start from; `host` times this machine.", metavar="DEVICE")
    ],
    measurements: Annotated[
        Path | None,
        typer.Option(
            help="Timings of your board. Either a CSV file with the columns network, height, width, precision and latency_ms (or "
            "_us, _s), and optionally arguments (d=32 s=5), scale, layer (empty: the whole network) and profile (a profiler's "
            "file in place of a latency). Or a profiler's file itself: of trtexec --exportProfile, benchmark_model, Qualcomm AI "
            "Hub, or a validation on the board by X-CUBE-AI or ST Edge AI.",
            metavar="FILE",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The new device file. Default: DEVICE.fitted.toml in the current folder.", metavar="FILE")
    ] = None,
    free: Annotated[
        list[str] | None,
        typer.Option(help="Fit only this constant (repeatable), such as memory.dram.bytes_per_s.", metavar="KEY"),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A network of your own under the name that the CSV file or --network uses (repeatable): code or a model file, "
            "such as NAME=net.onnx.",
            metavar="NAME=FILE[:CALLABLE]",
        ),
    ] = None,
    profile: ProfileOptions,
    threads: Annotated[
        int | None,
        typer.Option(help="For `host`: the number of threads of ONNX Runtime. Default: 1.", min=1, show_default=False),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit the constants of a device to timings, and write a new device file. The old one is left as it is."""
    from hwmodels.errors import UsageError

    terminal = Terminal(as_json, quiet)
    if measurements is not None:
        if threads is not None:
            raise UsageError("--threads is for `host`, which is timed here", "Leave it out: the file says what was timed.")
        _board(terminal, device, measurements, out, free, model or (), profile.said())
    elif device in ("host", "cpu"):
        if out is not None or free or model or profile != ProfileOptions():
            raise UsageError(
                "--out, --free, --model and the options of a profile belong to --measurements",
                "`host` is timed and fitted as a whole.",
            )
        _host(terminal, threads or 1)
    else:
        raise UsageError("no timings given", "Pass --measurements FILE.csv, or calibrate `host`, which is timed here.")


def _board(
    terminal: Terminal,
    name: str,
    file_of_timings: Path,
    out: Path | None,
    free: Sequence[str] | None,
    models: Sequence[str],
    said: Mapping[str, str],
) -> None:
    from hwmodels.device import reader
    from hwmodels.errors import UsageError
    from hwsearch.boards import board, timings
    from hwsearch.boards.library import Library
    from hwsearch.documents.files import replacing

    file = board.source_of(name)
    device = reader.load(str(file))
    target = out or Path(f"{file.stem}.fitted.toml")
    if target.exists() and (out is None or target.samefile(file)):
        raise UsageError(f"{target} already exists", "Choose another file with --out NEW.toml.")
    timed = timings.read(file_of_timings, device, Library(_models(models)), said)
    read = timed.measurements
    with terminal.progress() as progress, progress.stage("fitting", 1):
        found = board.fit(file, device, read, file_of_timings.name, free or None)
    with replacing(target) as temporary:
        temporary.write_text(found.text, encoding="utf-8")
    document: dict[str, Any] = {"device": device.name, "file": str(target), "held_out_median_error": found.held_out_error}
    document["remarks"] = list(timed.remarks)
    document |= _document(device, found.fit, read)

    def render(screen: Console) -> None:
        for remark in timed.remarks:
            screen.print(remark)
        _render(screen, device, found.fit, read)
        if found.held_out_error is not None:
            held = f"{100 * found.held_out_error:.1f} %"
            screen.print(f"With each network predicted from the others alone, the median error is {held}.")
        screen.print(f"Written: {target}")

    terminal.show(document, render)


def _host(terminal: Terminal, threads: int) -> None:
    from hwmodels.device import reader
    from hwsearch.boards import host

    with terminal.progress() as progress:
        progress.expect({"measuring": 30.0 * threads, "fitting": 8.0})
        found = host.fit(host.measure(threads, progress), threads, progress)
    path = host.write(found)
    before = reader.load_text(reader.shipped_text("host"), "host.toml")
    fits = {str(precision): _document(before, fit, found.measurements[precision]) for precision, fit in found.fits.items()}

    def render(screen: Console) -> None:
        for precision, fit in found.fits.items():
            screen.print(bold(str(precision)))
            _render(screen, before, fit, found.measurements[precision])
        screen.print(f"Written: {path}\n`host` now means this file; delete it to go back to the one that ships.")

    terminal.show({"device": "host", "file": str(path), "threads": threads, "fits": fits}, render)


def _models(texts: Sequence[str]) -> dict[str, str]:
    from hwmodels.errors import UsageError

    found = {}
    for text in texts:
        name, equals, target = text.partition("=")
        if not equals or not name or not target:
            raise UsageError(f"--model {text!r} is not NAME=FILE[:CALLABLE]", "For example mine=net.py:build, or mine=net.onnx.")
        found[name] = target
    return found


def _document(before: Device, fit: Fit, measured: Sequence[Measurement]) -> dict[str, Any]:
    from hwmodels.device.facts import number

    return {
        "median_error_before": _error_before(before, measured),
        "median_error": fit.median_error,
        "constants": [
            {"key": key, "before": number(before, key), "fitted": value, "log_spread": fit.spread[key]}
            for key, value in fit.values.items()
        ],
        "undetermined": [list(group) for group in fit.undetermined],
        "at_bound": list(fit.at_bound),
        "measurements": [
            {"label": m.label, "measured_s": m.latency_s, "predicted_s": float(p)}
            for m, p in zip(measured, fit.predicted_s, strict=True)
        ],
    }


def _render(screen: Console, before: Device, fit: Fit, measured: Sequence[Measurement]) -> None:
    from hwmodels.device.facts import human, number

    rows = [
        (m.label, f"{1e3 * m.latency_s:.3f} ms", f"{1e3 * p:.3f} ms", f"{100 * (p / m.latency_s - 1):+.0f} %")
        for m, p in zip(measured, fit.predicted_s, strict=True)
    ]
    screen.print(table(("timing", "measured", "predicted", "error"), rows))
    hardly = {key for group in fit.undetermined for key in group}
    constants = [
        (key, human(key, number(before, key)), human(key, value), "not determined" if key in hardly else _spread(fit.spread[key]))
        for key, value in fit.values.items()
    ]
    screen.print(table(("constant", "before", "fitted", "known to"), constants))
    for warning in [*filter(None, [_far(before, measured)]), *warnings(fit)]:
        screen.print(bold("Warning:", f" {warning}"))
    start = f"{100 * _error_before(before, measured):.1f} % before"
    screen.print(f"{len(measured)} timings, median error {start}, {100 * fit.median_error:.1f} % after the fit to them.")
    known = [key for key in fit.values if key not in hardly]
    screen.print(f"They determine {', '.join(known) if known else 'no constant'}.")


def _far(before: Device, measured: Sequence[Measurement]) -> str | None:
    """What is said of timings that are far from the device's price for most: as far as one unit is from the next."""
    import numpy as np

    from hwmodels.fitting import constants

    times = float(np.median(np.array([m.latency_s for m in measured]) / constants.predict(before, measured)))
    if 1 / FAR < times < FAR:
        return None
    how = f"{times:.0f} times longer" if times > 1 else f"{1 / times:.0f} times shorter"
    return f"the timings are {how} than {before.name} is priced: are they of this device, and in the unit that the file says?"


def _error_before(before: Device, measured: Sequence[Measurement]) -> float:
    """Median error of the timings by the device that the fit began with."""
    import numpy as np

    from hwmodels.fitting import constants

    seconds = np.array([m.latency_s for m in measured])
    return float(np.median(np.abs(constants.predict(before, measured) / seconds - 1)))


def _spread(spread: float) -> str:
    return f"±{100 * spread:.0f} %" if spread < 0.3 else f"a factor of {2.718281828**spread:.1f}"


def warnings(fit: Fit) -> list[str]:
    """What a person must know before trusting the constants."""
    said = []
    if fit.median_error > BADLY:
        said.append(
            f"after the fit the timings are off by {100 * fit.median_error:.0f} %: are they of this device and these sizes, and "
            "is their unit right?"
        )
    for group in fit.undetermined:
        if len(group) == 1:
            said.append(f"the timings hardly determine {group[0]}.")
        else:
            said.append(f"the timings determine only a combination of {', '.join(group)}.")
    said += [f"{key} ended at the limit of what is possible: the model or the timings lack something." for key in fit.at_bound]
    if fit.undetermined:
        said.append("More sizes, networks or single layers would tell more; --free KEY chooses what is fitted.")
    return said
