"""A second opinion on an Ethos-U: Arm's own compiler on the exported file, layer by layer.

The compiler gets the numbers of the device file (clock, memories, capacity) as its configuration, so both estimates are of the
same system. Its figures are estimates too, not silicon. It runs as a process of its own in a temporary directory.
"""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hwmodels.classes.ethos.model import executed
from hwmodels.classes.ethos.storage import beside
from hwmodels.device import catalogue
from hwmodels.device.device import Device
from hwmodels.device.sections.npu import Npu
from hwmodels.device.tables import Memory
from hwmodels.errors import FileError, UsageError

if TYPE_CHECKING:
    from hwmodels.workload import Workload
    from hwsearch.documents.results import LayerRow
    from hwsearch.formats.reading.pricing import FilePrice
    from hwsearch.formats.reading.readers import Inspected
    from hwsearch.plans.pricing import PricedPlan
    from hwsearch.problem.request import Request

TIMEOUT_S = 600
MODE = "Hwsearch_Mode"


@dataclass(frozen=True)
class Row:
    """The compiler's estimate of one operation.

    Attributes:
        name: the layer, as the file names its output. ``op``: what the compiler made of it.
        latency_s: of the operation; ``compute_s`` of the array, ``memory_s`` of the slowest memory.
    """

    name: str
    op: str
    latency_s: float
    compute_s: float
    memory_s: float


def check(device: Device) -> None:
    """Raises:
    UsageError: the compiler is not installed, or the device is not one that it compiles for.
    """
    npu = device.section
    if not isinstance(npu, Npu) or npu.array is None or not device.name.startswith("ethos-u"):
        raise UsageError(f"--with vela compiles for Arm Ethos-U, not for {device.name}", "Choose a target such as ethos-u55-128.")
    if importlib.util.find_spec("ethosu") is None:
        raise UsageError("--with vela needs Arm's compiler, which is not installed", 'Install it: pip install "hwsearch[vela]".')


def system(device: Device) -> str:
    """The name of the device's system in the compiler's configuration, which takes the width of the bus from how that begins: 8
    bytes for "Ethos_U55", else 16."""
    return f"Ethos_{device.name.split('-')[1].upper()}_Hwsearch"


def configuration(device: Device) -> str:
    """The device's clock and memories in the compiler's own format."""
    assert device.memory.onchip is not None
    clock, onchip = _clock_hz(device), device.memory.onchip
    bus = 8 if device.name.startswith("ethos-u55") else 16
    outside, name = (device.memory.dram, "Dram") if device.memory.dram is not None else (device.memory.flash, "OffChipFlash")
    lines = [f"[System_Config.{system(device)}]", f"core_clock={clock:g}", "axi0_port=Sram"]
    lines += [f"axi1_port={name if outside is not None else 'Sram'}", *_memory(onchip, "Sram", clock, bus)]
    if outside is not None:
        lines += _memory(outside, name, clock, bus)
    constants = "Axi1" if outside is not None else "Axi0"
    arena = "Axi1" if device.memory.dram is not None else "Axi0"
    lines += [f"[Memory_Mode.{MODE}]", f"const_mem_area={constants}", f"arena_mem_area={arena}", "cache_mem_area=Axi0"]
    if onchip.bytes is not None:
        lines.append(f"arena_cache_size={int(onchip.bytes.value)}")
    return "\n".join(lines) + "\n"


def _clock_hz(device: Device) -> float:
    clock = device.own(Npu).clock_hz
    assert clock is not None  # the file of an array has one
    return clock.value


def _memory(memory: Memory, name: str, clock_hz: float, bus_bytes: int) -> list[str]:
    assert memory.bytes_per_s is not None
    per_cycle = memory.bytes_per_s.value / clock_hz / bus_bytes
    # More than one bus word a cycle takes several ports.
    ports = max(1, -(-int(per_cycle * 1000) // 1000))
    reads = memory.outstanding_reads.value if memory.outstanding_reads is not None else 1
    writes = memory.outstanding_writes.value if memory.outstanding_writes is not None else 0
    values = {
        "clock_scale": per_cycle / ports,
        "ports_used": ports,
        "burst_length": int(memory.burst_bytes.value),
        "read_latency": round(memory.read_latency_s.value * clock_hz),
        "write_latency": round(memory.write_latency_s.value * clock_hz),
        "max_reads": round(reads / ports),
        "max_writes": round(writes / ports),
    }
    return [f"{name}_{key}={value:g}" for key, value in values.items()]


def compile_file(path: Path, device: Device) -> list[Row]:
    """What the compiler estimates for a TFLite file on ``device``: one row an operation, in order of execution.

    Raises:
        UsageError: see ``check``.
        FileError: the compiler refuses the file, or takes too long; its last words are told.
    """
    return estimate(path, device)[0]


def onchip_bytes(path: Path, device: Device) -> float:
    """The most on-chip memory that the compiler uses for a TFLite file, what runs beside the array included; raises as
    ``compile_file``."""
    return estimate(path, device)[1]


def estimate(path: Path, device: Device) -> tuple[list[Row], float]:
    """What ``compile_file`` and ``onchip_bytes`` tell, of one run of the compiler; raises as they do."""
    layers, whole = _compiled(path, device, "per-layer", "summary")
    (summary,) = csv.DictReader(whole.splitlines())
    return parse(layers, _clock_hz(device)), 1024 * float(summary["sram_memory_used"])


def _compiled(path: Path, device: Device, *tables: str) -> list[str]:
    """The texts of some of the compiler's tables for a file."""
    check(device)
    with tempfile.TemporaryDirectory(prefix="hwsearch-vela-") as folder:
        config = Path(folder, "system.ini")
        config.write_text(configuration(device))
        command = [sys.executable, "-m", "ethosu.vela", str(path.resolve()), "--accelerator-config", device.name]
        command += ["--config", str(config), "--system-config", system(device), "--memory-mode", MODE]
        command += ["--output-dir", folder, "--verbose-performance"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise FileError(f"Vela did not finish {path} in {TIMEOUT_S} s", "Try a smaller --input.") from None
        found = [file for table in tables for file in sorted(Path(folder).glob(f"*_{table}*.csv"))[:1]]
        if done.returncode or len(found) < len(tables):
            words = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
            raise FileError(
                f"Vela cannot compile {path}: {words[-1] if words else 'no reason given'}", "Price it without --with vela."
            )
        return [file.read_text() for file in found]


def parse(text: str, clock_hz: float) -> list[Row]:
    """The rows of the compiler's table of layers (``*_per-layer.csv``); what runs beside the array has no time there."""
    rows = []
    for entry in csv.DictReader(text.splitlines()):
        if entry["Target"] != "NPU":
            continue
        memory = max((float(value) for key, value in entry.items() if key.endswith(" AC")), default=0.0)
        rows.append(
            Row(
                entry["Name"],
                entry["NNG Operator"],
                float(entry["Op Cycles"]) / clock_hz,
                float(entry["NPU"]) / clock_hz,
                memory / clock_hz,
            )
        )
    return rows


@dataclass(frozen=True)
class LayerEstimates:
    """One layer in both estimates: ours, and what the compiler's operations of that name need together, ``None`` where it has
    none (left to the processor beside the array, or merged into another layer)."""

    name: str
    op: str
    ours_s: float
    vela_s: float | None
    vela_ops: str


def side_by_side(layers: list[tuple[str, str, float]], rows: list[Row]) -> list[LayerEstimates]:
    """Both estimates by layer: ours as ``(name, op, seconds)``; what only the compiler has comes last, with our time 0."""
    by_name: dict[str, list[Row]] = {}
    names = sorted((name for name, _, _ in layers), key=len, reverse=True)
    for row in rows:
        # Steps that an exporter adds to a layer carry its name and a suffix.
        owner = next(
            (name for name in names if row.name == name or row.name.startswith((f"{name}/", f"{name}:", f"{name}."))), row.name
        )
        by_name.setdefault(owner, []).append(row)
    pairs = []
    for name, op, seconds in layers:
        found = by_name.pop(name, [])
        total = sum(row.latency_s for row in found) if found else None
        pairs.append(LayerEstimates(name, op, seconds, total, "+".join(row.op for row in found)))
    for name, found in by_name.items():
        pairs.append(LayerEstimates(name, "", 0.0, sum(row.latency_s for row in found), "+".join(row.op for row in found)))
    return pairs


@dataclass(frozen=True)
class Estimates:
    """Both estimates of a network, layer by layer and in whole.

    Attributes:
        ours_s, vela_s: of all that runs on the array. The compiler's operations and our layers need not correspond (it writes the
            parts of a concatenation where they are joined); their sums do.
        beside_s: our time of what is left to the processor beside the array, which the compiler does not count.
    """

    pairs: tuple[LayerEstimates, ...]
    ours_s: float
    vela_s: float
    beside_s: float

    @property
    def difference(self) -> float | None:
        """Ours over the compiler's, less one; None where it has nothing on the array."""
        return self.ours_s / self.vela_s - 1 if self.vela_s else None


def compared(layers: Sequence[LayerRow], workload: Workload, device: Device, rows: list[Row]) -> Estimates:
    """Our price of the layers of a workload beside the compiler's rows for its file."""
    left = [runs_beside(workload, device, row, layer.output_bits) for row, layer in enumerate(layers)]
    pairs = side_by_side([(layer.name, layer.op, layer.latency_s) for layer in layers], rows)
    seconds = [sum(layer.latency_s for layer, away in zip(layers, left, strict=True) if away is where) for where in (False, True)]
    return Estimates(tuple(pairs), seconds[0], sum(row.latency_s for row in rows), seconds[1])


def runs_beside(workload: Workload, device: Device, row: int, bits: int) -> bool:
    """Whether all that is executed for a layer runs beside the array."""
    found = executed(device, workload, -(-bits // 8))
    return all(beside(layer) for layer, owner in zip(found.workload.layers, found.owner, strict=True) if owner == row)


def of_file(inspected: Inspected, target: str, size: tuple[int, int] | None = None) -> tuple[FilePrice, Estimates]:
    """The price of a TFLite file on an Ethos-U, and both estimates side by side.

    Raises:
        UsageError: see ``check``; not a TFLite file, or another size than the file's.
        FileError: the compiler refuses the file.
        UncountedError: the file has operations that cannot be priced.
    """
    from hwsearch.formats.reading import pricing
    from searchspaces.ir.lower import to_workload

    device = catalogue.load(target)
    check(device)
    if inspected.format != "tflite":
        raise UsageError(
            f"--with vela compiles TFLite files, and {inspected.path} is {inspected.format}",
            "Add --plan W8A8: it is exported then.",
        )
    if size is not None and size != inspected.input_size:
        raise UsageError("--with vela compiles a file at its own size", "Leave --input out.")
    price = pricing.price(inspected, target, size)
    workload = replace(to_workload(inspected.graph, *price.input_size), written=inspected.written)
    return price, compared(price.layers, workload, device, compile_file(inspected.path, device))


def second_opinion(price: PricedPlan, request: Request) -> Estimates:
    """Export the plan of a price as a TFLite file, compile it, and set both estimates side by side.

    Args:
        request: what the price was made for (its pictures calibrate the file).
    Raises:
        UsageError: see ``check``; a network that keeps a state between frames, which single pictures do not calibrate.
        FileError: the plan cannot be a TFLite file, or the compiler refuses it.
    """
    from hwsearch.formats.tflite import write
    from hwsearch.problem.calibrated import calibrated
    from hwsearch.problem.pictures import choose_pictures

    problem = price.problem
    check(problem.device)
    if problem.graph.remembered:
        raise UsageError(
            f"--with vela calibrates on single pictures, and {problem.network.name} keeps state between frames",
            "Search it with --task video, export a plan (`hwsearch export PLAN.json --to tflite-ethos`), and compile that file.",
        )
    quantized = calibrated(problem, choose_pictures(request, problem.network), request.seed).quantized(price.row)
    with tempfile.TemporaryDirectory(prefix="hwsearch-vela-") as folder:
        path = write.export(quantized, Path(folder, "plan.tflite"), flavour="ethos", size=problem.input_size)
        rows = compile_file(path, problem.device)
    return compared(price.layers, problem.workload, problem.device, rows)
