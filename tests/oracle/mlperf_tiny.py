"""What was measured of the networks of MLPerf Tiny (``tiny_networks``) on microcontrollers.

Leave one network out, per board and library: a board's rate is fitted to its other networks; what a depthwise MAC costs beside
a dense one is a property of the kernel library and of the core, and is taken from all *other* pairs of board and library: those
of the library, times what the core is worth in every library that was measured on several. A library seen on one board only takes
it from the other libraries on cores with the same instruction set: with the packed bytes of the RISC-V P extension four products
of a sum take one instruction and a depthwise product still takes one, with Arm's DSP extension two and one. The core's shape
(patches, requantization, the other ratios) is that of the shipped device with the same core.

A second network that was measured tells one constant more: the depthwise cost where a device of the board is shipped, the
bandwidth of its flash where none is, for no other board tells that.

Helium is another case. Sixteen operands at once make the product so cheap that requantizing, gathering and depthwise products,
which use four lanes or none, weigh several times what they weigh elsewhere, and no other board of the benchmark has it. The
shipped Cortex-M85 is all counted instructions, so the only thing that the other network gives is one factor on their sum.

Accelerators, phones, FPGAs and floating point are left out, and rows that do not state a clock.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels import cost
from hwmodels.device import catalogue
from hwmodels.device.device import Device, Quantity
from hwmodels.device.facts import number, with_numbers
from hwmodels.fitting import constants
from hwmodels.fitting.constants import Measurement
from hwmodels.numbers import Precision
from oracle import Row
from oracle.tiny_networks import network

SOURCE = "MLPerf Tiny, closed division, v0.7 to v1.3"
UNSEEN = "MLPerf Tiny with the library unseen, closed division, v0.7 to v1.3"
"""Of rows predicted with the network's family left out of the board's fit, and all rows of the library left out of the rest."""
W8A8 = Precision.integers(8, 8)
RATE, DEPTHWISE, LINEAR = "rates.W8A8", "mcu.cycles_per_mac.depthwise", "mcu.cycles_per_mac.linear"
FLASH = "memory.flash.bytes_per_s"
PRIORS = {"pointwise": 0.75, "depthwise": 2.5, "linear": 1.25}
"""Cycles per MAC relative to a convolution's: no patches to walk; no operand used twice in registers; weights used once."""

CORES = {
    "M0+": "stm32g0b1",
    "M33": "stm32u575-cubeai",
    "M4": "stm32l4r5-cubeai",
    "M7": "stm32h7a3-cubeai",
}
"""Shipped device with the shape of a core and a library of this benchmark; any other core is taken for a Cortex-M4."""

HELIUM = {"M55": "ra8d1", "M85": "ra8d1"}
"""Shipped device whose constants are all counted from CMSIS-NN; both cores take two cycles for a vector instruction."""

TIGHTLY_COUPLED = {
    RATE: 480e6 / (10 / 64),
    "mcu.cycles_per_mac.conv": 10 / 64,
    "mcu.cycles_per_mac.pointwise": 10 / 64,
    "mcu.cycles_per_mac.linear": 10 / 64,
    "mcu.cycles_per_output_requant": 12.75,
    "mcu.cycles_per_im2col_byte": 0.25,
}
"""What of ``ra8d1`` changes with feature maps in tightly coupled memory: loads and stores take 2 cycles. The submission put every
network there but MobileNetV1, whose buffer of 100 KiB does not fit the 64 KiB (its application files)."""

SECOND_GENERATION = {"x-cube-ai 8.1 and later", "plumerai 2023", "onnc"}
"""Libraries rewritten for depthwise layers: from one release to the next the cost of a MAC fell to a sixth in those of two
vendors, and ONNC's is nearly as low. A library that nothing is known of is not taken for one of them."""

LIBRARIES = {
    "EK-RA6M4": "cmsis",
    "EK-RA8D1": "cmsis, Helium",
    "RX65N-Cloud-Kit": "cmsis, changed for RX",
}
"""TensorFlow Lite Micro with CMSIS-NN, as the system descriptions say; the library has other kernels for each kind of core."""

BOARDS = {
    "L4R5": "stm32l4r5-cubeai",
    "H7A3": "stm32h7a3-cubeai",
    "F746": "STM32F746",
    "U575": "stm32u575-cubeai",
    "G0B1": "stm32g0b1",
    "RA8D1": "ra8d1",
    "CY8C": "PSoC 62",
}


@dataclass(frozen=True)
class Group:
    """What one submission measured on one board with one kernel library: seconds and joules by network."""

    board: str
    library: str
    entry: str
    instruction_set: str
    base: Device
    counted: bool
    seconds: dict[str, float]
    joules: dict[str, float]

    def shape(self, name: str) -> Device:
        """The shape of the board with the memory that ``name`` ran in."""
        if self.board != "ra8d1" or "_vww_" in name:
            return self.base
        return with_numbers(self.base, {key: Quantity(value=value) for key, value in TIGHTLY_COUPLED.items()})

    def measurements(self, names: Iterable[str]) -> list[Measurement]:
        return [Measurement(network(n), W8A8, self.seconds[n], n) for n in names]


def groups(shared: Path) -> list[Group]:
    """The measured boards, one entry a submission."""
    folder = shared / "oracle"
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in json.loads((folder / "measured_mlperf_tiny.json").read_text())["measurements"]:
        if "cycles_per_mac" in row and row["precision"].startswith("int8") and "64GC" not in row.get("processor", ""):
            found[(row["submitter"], row["system"], row["round"])].append(row)
    made = []
    for (submitter, system, edition), rows_of in found.items():
        board = next((name for part, name in BOARDS.items() if part in system.upper()), system)
        seconds = {r["network"]: r["latency_ms"] * 1e-3 for r in rows_of}
        if submitter == "bosch" and edition == "v1.2":
            seconds |= _autoencoder_s(folder, system)
        joules = {r["network"]: r["energy_uJ_per_inf"] * 1e-6 for r in rows_of if "energy_uJ_per_inf" in r}
        entry, processor = f"{submitter} {edition} {system}", rows_of[0].get("processor", "")
        counted = next((name for part, name in HELIUM.items() if part in processor), None)
        base = catalogue.load(counted) if counted else _core(processor, rows_of[0]["clock_hz"])
        library = LIBRARIES.get(system) or _library(rows_of[0])
        made.append(Group(board, library, entry, _instruction_set(processor), base, counted is not None, seconds, joules))
    return made


def _autoencoder_s(folder: Path, system: str) -> dict[str, float]:
    """The fully connected network of a board whose floating-point and int8 times are listed side by side."""
    table = json.loads((folder / "measured_mcu_bitwidth.json").read_text())["fp32_vs_int8"]["rows"]
    board = system.removesuffix("_int8").replace("CY8CPROTO_062_4343W", "CY8CPROTO_062")
    for row in table:
        if row["network"] == "ad fc autoencoder" and row["board"].split(" ")[0] == board:
            return {"mlperf_tiny_ad_autoencoder": row["int8_ms"] * 1e-3}
    return {}


def _library(row: dict[str, Any]) -> str:
    """The kernel library, and its generation where depthwise kernels changed between two."""
    text = f"{row.get('framework', '')} {row['system']} {row['submitter']}".lower()
    for part in ("hale", "onnc", "native", "cmsis", "tflite"):
        if part in text:
            return part
    if "plumerai" in text:
        return "plumerai 2022" if row["round"] == "v1.0" else "plumerai 2023"
    if "stmicro" in text or "x-cube" in text:
        recent = row["submitter"] == "STMicroelectronics" and row["round"] >= "v1.1"
        return "x-cube-ai 8.1 and later" if recent else "x-cube-ai 7 to 8.0"
    return str(row["system"])


def _instruction_set(processor: str) -> str:
    if "RISC-V" in processor or "RV32" in processor:
        return "RISC-V"
    return "Arm" if "cortex" in processor.lower() else processor


def _core(processor: str, clock_hz: float) -> Device:
    """The shape of a core at a clock; flash bandwidth scales with it."""
    name = next((shipped for part, shipped in CORES.items() if part in processor), CORES["M4"])
    shape = catalogue.load(name)
    faster = clock_hz / number(shape, "mcu.clock_hz")
    conv = number(shape, "mcu.cycles_per_mac.conv")
    changed = {key: number(shape, key) * faster for key in (RATE, "mcu.clock_hz", FLASH)}
    changed |= {f"mcu.cycles_per_mac.{op}": conv * ratio for op, ratio in PRIORS.items()}
    return with_numbers(shape, {key: Quantity(value=value) for key, value in changed.items()})


def depthwise_ratio(group: Group) -> float:
    """Cost of a depthwise MAC relative to the prior, fitted to all networks of a group."""
    start = number(group.base, DEPTHWISE)
    fitted = constants.fit(group.base, group.measurements(group.seconds), [RATE, DEPTHWISE], prior_weight=1e-3)
    return fitted.values[DEPTHWISE] / start


def prior_ratio(group: Group, ratios: Sequence[tuple[Group, float]]) -> float:
    """The depthwise ratio of a group from the others. Where none of them has its library, that of the libraries that are not
    known for better depthwise kernels, one vote each: on cores with the same instruction set, or on all if there are none."""
    others = [(other, float(np.log(ratio))) for other, ratio in ratios if other.board != group.board]
    if any(other.library == group.library for other, _ in others):
        beside = [(other, float(np.log(ratio))) for other, ratio in ratios if not _same(other, group)]
        return float(np.exp(_library_and_core(group, beside)))
    plain = [(other, ratio) for other, ratio in others if other.library not in SECOND_GENERATION]
    kin = [(other, ratio) for other, ratio in plain if other.instruction_set == group.instruction_set] or plain
    by_library = defaultdict(list)
    for other, ratio in kin:
        by_library[other.library].append(ratio)
    return float(np.exp(np.mean([np.mean(votes) for votes in by_library.values()])))


def _same(one: Group, other: Group) -> bool:
    return (one.board, one.library) == (other.board, other.library)


def _library_and_core(group: Group, ratios: Sequence[tuple[Group, float]]) -> float:
    """Logarithm of a group's ratio as a sum of two parts, of its library and of its core, by least squares over ``ratios``.

    One more observation a core says that it makes no difference, for few libraries were measured on several cores.
    """
    parts = [_parts(other) for other, _ in ratios]
    columns = sorted({part for pair in parts for part in pair} | set(_parts(group)))
    cores = [column for column in columns if column[0] == "core"]
    design = [[column in pair for column in columns] for pair in parts] + [
        [column == core for column in columns] for core in cores
    ]
    observed = [ratio for _, ratio in ratios] + [0.0] * len(cores)
    solved = np.linalg.lstsq(np.array(design, dtype=float), np.array(observed), rcond=None)[0]
    return float(sum(solved[columns.index(part)] for part in _parts(group)))


def _parts(group: Group) -> tuple[tuple[str, str], tuple[str, str]]:
    assert group.base.mcu is not None
    return ("core", group.base.mcu.core), ("library", group.library)


def rows(shared: Path) -> list[Row]:
    """Predicted beside measured latency and energy of each network left out."""
    measured = [g for g in groups(shared) if len(g.seconds) > 1]
    ratios = [(g, depthwise_ratio(g)) for g in measured if not g.counted]
    found = unseen_rows(shared)
    for group in measured:
        if group.counted:
            found += [_by_counts(group, name) for name in group.seconds]
            continue
        ratio = prior_ratio(group, ratios)
        start = with_numbers(group.base, {DEPTHWISE: Quantity(value=number(group.base, DEPTHWISE) * ratio)})
        for name in group.seconds:
            found += [replace(row, seen="the same networks on other boards") for row in _left_out(group, start, name)]
    return found


def unseen_rows(shared: Path, generation_known: bool = True) -> list[Row]:
    """Each of the two families from the other one, with nothing known of the library but its generation, or not even that.

    What a depthwise MAC costs is taken from the other libraries of the generation, one vote each; the rate from the other family
    on the board. Only networks of these two families were measured on many boards, so this is as far as the rows reach. Which
    libraries are of the second generation was read off these rows: it is what a person who names a release has to know of it.
    """
    measured = [_convolutional(group) for group in groups(shared) if not group.counted and len(group.seconds) > 1]
    ratios = [(group, depthwise_ratio(group)) for group in measured]
    found = []
    for group in measured:
        votes = defaultdict(list)
        for other, ratio in ratios:
            same_generation = (other.library in SECOND_GENERATION) == (group.library in SECOND_GENERATION)
            if other.library != group.library and (same_generation or not generation_known):
                votes[other.library].append(float(np.log(ratio)))
        if not votes:
            continue
        ratio = float(np.exp(np.mean([np.mean(each) for each in votes.values()])))
        start = with_numbers(group.base, {DEPTHWISE: Quantity(value=number(group.base, DEPTHWISE) * ratio)})
        for name in group.seconds:
            found += [
                replace(row, source=UNSEEN, seen="the same networks under other libraries")
                for row in _left_out(group, start, name)
            ]
    return found


def _convolutional(group: Group) -> Group:
    """The group without fully connected networks."""
    return replace(group, seconds={name: value for name, value in group.seconds.items() if "autoencoder" not in name})


def _row(group: Group, name: str, quantity: str, predicted: float, measured: float, baseline: float) -> Row:
    label = f"{network(name).name}, {group.library} ({group.entry})"
    simple = (("MACs only", baseline),)
    return Row(group.board, "mcu", network(name).name, label, SOURCE, quantity, predicted, measured, simple)


def _macs_only_s(group: Group, rest: Sequence[str], name: str) -> float:
    return network(name).macs * float(np.exp(np.mean([np.log(group.seconds[n] / network(n).macs) for n in rest])))


def _by_counts(group: Group, name: str) -> Row:
    """Latency of one network by counted instructions, times what the others took beside theirs."""
    rest = [other for other in group.seconds if other != name]
    counted = {n: cost.uniform(group.shape(n), network(n), W8A8).latency_s for n in group.seconds}
    factor = float(np.exp(np.mean([np.log(group.seconds[n] / counted[n]) for n in rest])))
    return _row(group, name, "latency_s", factor * counted[name], group.seconds[name], _macs_only_s(group, rest, name))


def _left_out(group: Group, start: Device, name: str) -> list[Row]:
    """Latency, and energy where it was measured, of one network from the others of its group."""
    rest = [other for other in group.seconds if other != name]
    # One network fixes the rate; what more networks tell, they may change.
    shipped = group.base.name == group.board
    free = (RATE, DEPTHWISE if shipped else FLASH, LINEAR)[: len(rest)]
    fitted = constants.fit(start, group.measurements(rest), free).device
    predicted = cost.uniform(fitted, network(name), W8A8).latency_s
    found = [_row(group, name, "latency_s", predicted, group.seconds[name], _macs_only_s(group, rest, name))]
    known = [n for n in rest if n in group.joules]
    if name in group.joules and known:
        power = np.exp(np.mean([np.log(group.joules[n] / group.seconds[n]) for n in known]))
        powered = with_numbers(fitted, {"energy.static_w": Quantity(value=float(power))})
        powered = powered.model_copy(update={"energy": powered.energy.model_copy(update={"relative": False})})
        per_mac_j = float(np.exp(np.mean([np.log(group.joules[n] / network(n).macs) for n in known])))
        predicted = cost.uniform(powered, network(name), W8A8).energy_j
        found.append(_row(group, name, "energy_j", predicted, group.joules[name], network(name).macs * per_mac_j))
    return found
