"""The constants of all Hexagon devices, fitted together.

A time is linear in the constants but for the weights, which arrive side by side with the work and ahead of it. The logarithm of a
coefficient is
a sum of parameters: what a kind of work costs on every device (passes of the vector unit, the share that spills), and what one
device can do (rates, vector unit, memory, host, fixed times). So a device with few rows borrows the shape from all others, and
brings its own speed. Residuals are ``log(predicted / measured)``; each family of a device pulls alike, and what is far off pulls
less.

No rate is above what the silicon can do, no memory faster than its interface (``LIMITS``); constants that the rows hardly see
stay near round numbers (``SHARED``, ``START``, ``RATIO``). The smaller the scratchpad, the fewer layers run strip by strip before
their strips fill it: the share that spills is taken to be inverse to its size (the rows of 2, 4 and 8 MiB give a power of 1.0
where it is left free). Kinds of work that one family alone has would otherwise take up all
that is wrong about that family.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hwmodels.classes import hexagon
from hwmodels.device.device import Device
from hwmodels.device.facts import number
from hwmodels.numbers import Precision
from hwmodels.pricing import memory
from hwmodels.pricing.columns import Choices, columns
from hwmodels.workload import Workload
from oracle.weights_ahead import total_s

if TYPE_CHECKING:
    from oracle.aihub import Timing

NOISE = 0.15
"""Residual from where on a row pulls less."""

PASSES = {
    "depthwise_tap": 0.2,
    "picture": 4.0,
    "move": 0.5,
    "resample": 1.5,
    "window_tap": 0.05,
    "normalize_function": 10.0,
    "normalize": 3.0,
    "fused_lookup": 0.3,
}
SHARED = {
    **PASSES,
    "strip_spill": 0.25,
    "matrix_start": 0.5,
    "weights_ahead": 0.25,
}
"""What all devices share: round numbers where the fit begins, and near which it stays; the share that spills is that of
a scratchpad of ``SCRATCHPAD_BYTES``."""
SCRATCHPAD_BYTES = 8 * 2**20
PRIOR = 0.12
"""How near (standard deviation of the logarithm): a network errs alike on sixteen boards, which is one observation."""

OWN = ("W8A8", "W8A16", "FP16", "vector", "memory", "layer", "inference", "host", "float_passes")
"""What each device has of its own: MAC/s by precision, B/s of the vector unit, of external memory and of the host; seconds."""
START = {
    "W8A8": 15e12,
    "W8A16": 6e12,
    "FP16": 3.5e12,
    "vector": 60e9,
    "memory": 40e9,
    "layer": 1e-6,
    "inference": 8e-5,
    "host": 10e9,
    "float_passes": 1.5,
}
SPREAD = {"layer": 0.4, "inference": 0.8, "host": 0.8, "float_passes": 0.3}
"""How far devices are expected to be from each other (standard deviation of the logarithm). Starting the processor and the way to
it are the work of a board's own cores, memory and software, which differ more than what is inside of the processor: with 0.5 and
0.4 before, the fit pulled boards together that have a spread of 0.7 in one of the two. Set with the rows in sight."""
RATIO = {"W8A16": (1 / 2.2, 0.3), "FP16": (1 / 4.5, 0.4), "vector": (4e-3, 0.7)}
"""Rates and the vector unit relative to the rate in 8 bits, and how far from it a device may be."""


class Limits(NamedTuple):
    """What the silicon can do at most: MAC/s in 8 bits and B/s of the memory interface."""

    macs_per_s: float
    memory_bytes_per_s: float


GB = 1e9
LIMITS: dict[str, tuple[float | None, float]] = {
    "QCS8450 (Proxy)": (None, 51.2 * GB),
    "QCS8550 (Proxy)": (48, 67.2 * GB),
    "Samsung Galaxy S24": (None, 76.8 * GB),
    "Samsung Galaxy S25": (None, 85.3 * GB),
    "Snapdragon 8 Elite Gen 5 QRD": (None, 85.3 * GB),
    "Snapdragon X Elite CRD": (45, 135 * GB),
    "Snapdragon X2 Elite CRD": (80, 152 * GB),
    "Snapdragon 7 Gen 4 QRD": (None, 33.6 * GB),
    "Dragonwing Q-6690 MTP": (6, 25.6 * GB),
    "Dragonwing RB3 Gen 2 Vision Kit": (12, 25.6 * GB),
    "Dragonwing IQ-9075 EVK": (None, 102.4 * GB),
    "QCS8275 (Proxy)": (None, 51.2 * GB),
    "SA8255 (Proxy)": (None, 102.4 * GB),
    "SA8295P ADP": (None, 51.2 * GB),
    "SA8650 (Proxy)": (None, 102.4 * GB),
    "SA8775P ADP": (None, 102.4 * GB),
}
"""TOPS that Qualcomm states for the one processor that these rows ran on, where that is above the fastest network, and B/s of the
memory interface (as the device files assume it; QCS6490 has two channels of 4 bytes by Linux's interconnect driver of its chip,
qcom/sc7280.c, at 3.2 GHz). The 45 TOPS that are told of Snapdragon 8 Gen 3 are below what U-Net reaches there; those of the car
and industrial chips are sums over several processors."""
FASTEST_REACHES = 0.75
"""Where no peak is known, the fastest network is taken to reach this share of it. Of the stated peaks it reaches 0.72 to 0.80
(8 Gen 2, X Elite, X2 Elite)."""


def limits(timings: Sequence[Timing]) -> dict[str, Limits]:
    """What the silicon of each board can do at most."""
    fastest = {board: 0.0 for board in LIMITS}
    for timing in timings:
        if str(timing.precision) == "W8A8":
            fastest[timing.board] = max(fastest[timing.board], timing.workload.macs / timing.latency_s)
    return {
        board: Limits(tops * 0.5e12 if tops is not None else fastest[board] / FASTEST_REACHES, memory_bytes_per_s)
        for board, (tops, memory_bytes_per_s) in LIMITS.items()
    }


@dataclass(frozen=True, eq=False)
class Asked:
    """What a network asks of a device in one precision. L layers, K kinds of work.

    Attributes:
        work: ``float64[L, K]``: multiply-accumulates, vector bytes by kind (those of fused look-ups last), spilled bytes.
        weight_bytes: ``float64[L]``.
        host_bytes: exchanged with the host.
    """

    work: np.ndarray
    weight_bytes: np.ndarray
    host_bytes: float


KINDS = (
    *("matrix", "depthwise_tap", "map", "picture", "move", "resample", "window_tap", "normalize_function", "normalize"),
    "fused_lookup",
    "spill",
)
"""Columns of ``Asked.work``."""
WIDE = ("move", "normalize_function", "normalize")
"""Kinds of work that cost the same in floating point."""


def asked(device: Device, workload: Workload, precision: Precision) -> Asked:
    """Work of every layer by the product's own counting."""
    size = np.array([precision.activation_bits / 8])
    weights = np.zeros((len(workload.layers), 1, 1))
    for row in workload.weighted:
        layer = workload.layers[row]
        channels = workload.tensors[layer.output].channels
        weights[row] = memory.stored_weight_bytes(device, layer, channels, precision.weights, precision)
    outside = memory.offchip_elements(workload, device, size)
    choices = Choices(np.zeros((1, 1)), np.zeros((1, 1), dtype=np.int64), size, weights, *outside)
    cols = columns(workload)
    assert device.npu is not None
    pad = device.npu.channel_pad[str(precision)].value
    found = np.zeros((len(workload.layers), len(KINDS)))
    for row, (kind, taps) in enumerate(zip(hexagon.kinds(workload), hexagon.taps(workload), strict=True)):
        did = hexagon.ask(cols, choices, row, hexagon.Kernel(int(kind), int(taps), float(pad), float(size[0])), 0, 0)
        found[row, 0] = did.macs
        found[row, kind] += did.vector_bytes
        found[row, -2] = did.looked_up_bytes
        found[row, -1] = did.spilled_bytes
    host = size[0]
    return Asked(found, weights[:, 0, 0], host * float(cols.host_read.sum() + cols.host_written.sum()))


@dataclass(frozen=True, eq=False)
class _Block:
    """The networks of one board in one precision, one after another. L layers in all, C networks, R rows.

    Attributes:
        own: index in ``OWN`` of the rate.
        onchip_bytes: of the scratchpad.
        begins: ``int64[C]``, the first layer of each network.
        network, row: ``int64[R]``, network in this block, and row among all.
    """

    board: int
    own: int
    is_float: bool
    onchip_bytes: float
    work: np.ndarray
    weight_bytes: np.ndarray
    host_bytes: np.ndarray
    begins: np.ndarray
    network: np.ndarray
    row: np.ndarray


class Problem:
    """Rows, and what each asks. A point is ``float64[P]``: logarithms, those of ``SHARED`` first, then ``OWN`` of each board."""

    def __init__(self, timings: Sequence[Timing], targets: Mapping[str, Device]) -> None:
        self.timings = timings
        self.boards = list(dict.fromkeys(t.board for t in timings))
        self.measured = np.array([t.latency_s for t in timings])
        self.limits = limits(timings)
        self.blocks = self._blocks(targets)
        self.shared = {name: i for i, name in enumerate(SHARED)}

    def _blocks(self, targets: Mapping[str, Device]) -> list[_Block]:
        counted: dict[tuple[int, str, float], Asked] = {}
        found = []
        for b, board in enumerate(self.boards):
            device = targets[board]
            for precision in ("W8A8", "W8A16", "FP16"):
                rows = [i for i, t in enumerate(self.timings) if t.board == board and str(t.precision) == precision]
                workloads = {id(self.timings[i].workload): self.timings[i] for i in rows}
                if not rows:
                    continue
                asks = []
                for key, timing in workloads.items():
                    known = (key, precision, number(device, "memory.onchip.bytes"))
                    if known not in counted:
                        counted[known] = asked(device, timing.workload, timing.precision)
                    asks.append(counted[known])
                order = {key: n for n, key in enumerate(workloads)}
                lengths = np.array([len(a.weight_bytes) for a in asks])
                found.append(
                    _Block(
                        b,
                        OWN.index(precision),
                        precision == "FP16",
                        number(device, "memory.onchip.bytes"),
                        np.concatenate([a.work for a in asks]),
                        np.concatenate([a.weight_bytes for a in asks]),
                        np.array([a.host_bytes for a in asks]),
                        np.concatenate([[0], np.cumsum(lengths)[:-1]]),
                        np.array([order[id(self.timings[i].workload)] for i in rows]),
                        np.array(rows),
                    )
                )
        return found

    def own(self, board: int, name: str) -> int:
        """Where a constant of a board is in a point."""
        return len(SHARED) + board * len(OWN) + OWN.index(name)

    def start(self) -> np.ndarray:
        """The point where a fit begins."""
        begin = [*SHARED.values()]
        for board in self.boards:
            macs_per_s = self.limits[board].macs_per_s
            own = START | {name: ratio * macs_per_s for name, (ratio, _) in RATIO.items()}
            own |= {"W8A8": 0.8 * macs_per_s, "memory": 0.7 * self.limits[board].memory_bytes_per_s}
            begin += [own[name] for name in OWN]
        return np.log(begin)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest point: nothing faster than the silicon, nothing more than a thousand times off."""
        low, high = self.start() - np.log(1e3), self.start() + np.log(1e3)
        high[self.shared["strip_spill"]] = 0.0
        for b, board in enumerate(self.boards):
            high[self.own(b, "W8A8")] = np.log(self.limits[board].macs_per_s)
            high[self.own(b, "W8A16")] = np.log(self.limits[board].macs_per_s / 1.5)
            high[self.own(b, "FP16")] = np.log(self.limits[board].macs_per_s / 2)
            high[self.own(b, "memory")] = np.log(self.limits[board].memory_bytes_per_s)
        return low, high

    def predict(self, point: np.ndarray) -> np.ndarray:
        """Seconds of each row: ``float64[N]``."""
        return self._evaluate(point)[0]

    def _evaluate(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Seconds of each row, and their derivatives ``float64[N, P]``."""
        seconds, slopes = np.zeros(len(self.timings)), np.zeros((len(self.timings), len(point)))
        passes = np.array([0.0, *(point[self.shared[k]] if k in self.shared else 0.0 for k in KINDS[1:-1])])
        for block in self.blocks:
            at = {name: self.own(block.board, name) for name in OWN}
            rate = at[OWN[block.own]]
            slower = np.array([block.is_float and kind not in WIDE for kind in KINDS[:-1]])
            each = np.exp(passes - point[at["vector"]] + slower * point[at["float_passes"]])
            each[0], spill = np.exp(-point[rate]), self._spill(point, block.onchip_bytes)
            parts = block.work * np.append(each, spill * np.exp(-point[at["memory"]]))
            matrix = block.work[:, 0] > 0
            start = np.exp(point[at["layer"]] + point[self.shared["matrix_start"]] * matrix)
            busy, arriving = parts.sum(axis=1) + start, block.weight_bytes * np.exp(-point[at["memory"]])
            ahead = block.onchip_bytes * np.exp(point[self.shared["weights_ahead"]] - point[at["memory"]])
            total, works, waits, by_ahead = total_s(busy, arriving, float(ahead), block.begins)
            sums = np.add.reduceat(parts * works[:, None], block.begins, axis=0)[block.network]
            arrived = np.add.reduceat(arriving * waits, block.begins)[block.network]
            layers = np.add.reduceat(start * works, block.begins)[block.network]
            slopes[block.row, self.shared["matrix_start"]] = np.add.reduceat(start * works * matrix, block.begins)[block.network]
            host = block.host_bytes[block.network] * np.exp(-point[at["host"]])
            fixed = np.exp(point[at["inference"]])
            rows = block.row
            room = (by_ahead * ahead)[block.network]
            seconds[rows] = total[block.network] + host + fixed
            slopes[rows, rate] = -sums[:, 0]
            for column, kind in enumerate(KINDS[1:-1], start=1):
                if kind in self.shared:
                    slopes[rows, self.shared[kind]] = sums[:, column]
            slopes[rows, self.shared["strip_spill"]] = sums[:, -1] * (spill < 1.0)
            slopes[rows, self.shared["weights_ahead"]] = room
            slopes[rows, at["vector"]] = -sums[:, 1:-1].sum(axis=1)
            slopes[rows, at["float_passes"]] = (sums[:, 1:-1] * slower[1:]).sum(axis=1)
            slopes[rows, at["memory"]] = -sums[:, -1] - arrived - room
            slopes[rows, at["layer"]], slopes[rows, at["inference"]], slopes[rows, at["host"]] = layers, fixed, -host
        return seconds, slopes

    def _spill(self, point: np.ndarray, onchip_bytes: float) -> float:
        """The share of what does not fit into a scratchpad that leaves it."""
        return min(1.0, float(np.exp(point[self.shared["strip_spill"]])) * SCRATCHPAD_BYTES / onchip_bytes)

    def _priors(self) -> tuple[np.ndarray, np.ndarray]:
        """``matrix, target``: what ``matrix @ point`` should be near, in standard deviations."""
        size, start, rows, targets = len(self.start()), self.start(), [], []

        def add(terms: Mapping[int, float], target: float, spread: float) -> None:
            row = np.zeros(size)
            for index, factor in terms.items():
                row[index] += factor / spread
            rows.append(row)
            targets.append(target / spread)

        for i in range(len(SHARED)):
            add({i: 1.0}, start[i], PRIOR)
        boards = range(len(self.boards))
        for name, spread in SPREAD.items():
            for b in boards:
                mean = {self.own(other, name): -1 / len(self.boards) for other in boards}
                mean[self.own(b, name)] += 1.0
                add(mean, 0.0, spread)
            add({self.own(b, name): 1 / len(self.boards) for b in boards}, np.log(START[name]), 0.4)
        for b in boards:
            for name, (ratio, spread) in RATIO.items():
                add({self.own(b, name): 1.0, self.own(b, "W8A8"): -1.0}, np.log(ratio), spread)
            for name in ("W8A8", "memory"):
                add({self.own(b, name): 1.0}, start[self.own(b, name)], 0.4)
        return np.array(rows), np.array(targets)

    def values(self, point: np.ndarray, board: str) -> dict[str, float]:
        """The constants of the device file of a board, by dotted key."""
        b = self.boards.index(board)
        own = {name: float(np.exp(point[self.own(b, name)])) for name in OWN}
        shared = {name: float(np.exp(point[i])) for name, i in self.shared.items()}
        seen = {str(t.precision) for t in self.timings if t.board == board}
        return {
            **{f"rates.{precision}": own[precision] for precision in ("W8A8", "W8A16", "FP16") if precision in seen},
            "memory.dram.bytes_per_s": own["memory"],
            "overhead.inference_s": own["inference"],
            "overhead.layer_s": own["layer"],
            "npu.vector_bytes_per_s": own["vector"],
            "npu.host_bytes_per_s": own["host"],
            **({"npu.float_passes": own["float_passes"]} if "FP16" in seen else {}),
            "npu.strip_spill": next(self._spill(point, block.onchip_bytes) for block in self.blocks if block.board == b),
            "npu.weights_ahead": shared["weights_ahead"],
            "npu.matrix_start": shared["matrix_start"],
            **{f"npu.passes.{kind}": shared[kind] for kind in PASSES},
        }

    def fit(self, seen: np.ndarray, begin: np.ndarray | None = None) -> np.ndarray:
        """The point that fits the rows ``seen bool[N]``."""
        from scipy.optimize import least_squares

        alike = Counter((t.board, t.family) for t, s in zip(self.timings, seen, strict=True) if s)
        weight = np.array([alike[t.board, t.family] ** -0.25 if s else 0.0 for t, s in zip(self.timings, seen, strict=True)])
        prior, target = self._priors()
        low, high = self.bounds()

        def residuals(point: np.ndarray) -> np.ndarray:
            errors = np.log(self.predict(point) / self.measured) / NOISE
            return np.concatenate([weight * _soft(errors)[0], prior @ point - target])

        def jacobian(point: np.ndarray) -> np.ndarray:
            seconds, slopes = self._evaluate(point)
            bent = _soft(np.log(seconds / self.measured) / NOISE)[1] / NOISE
            return np.concatenate([(weight * bent / seconds)[:, None] * slopes, prior])

        first = np.clip(self.start() if begin is None else begin, low + 1e-9, high - 1e-9)
        return np.asarray(least_squares(residuals, first, jac=jacobian, bounds=(low, high), xtol=1e-5, ftol=1e-5, max_nfev=100).x)


def _soft(errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A residual whose square grows like ``log(1 + error**2)`` (Cauchy), and its derivative."""
    size = np.sqrt(np.log1p(errors**2))
    slope = np.where(size < 1e-6, 1.0, errors / (1 + errors**2) / np.maximum(size, 1e-12) * np.sign(errors))
    return np.sign(errors) * size, slope


def left_out(problem: Problem, begin: np.ndarray) -> np.ndarray:
    """Seconds of each row by fits that have not seen its family on any board: ``float64[N]``."""
    families = np.array([t.family for t in problem.timings])
    predicted = np.zeros(len(families))
    for family in dict.fromkeys(families.tolist()):
        held = families == family
        predicted[held] = problem.predict(problem.fit(~held, begin))[held]
    return predicted
