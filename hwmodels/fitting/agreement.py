"""How well the model of each device agrees with figures from outside: measured on the device, or estimated by its own compiler.

``devices/agreement.json`` is computed from those figures, which are not shipped, by ``tests/bench/agreement.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from hwmodels.device import reader
from hwmodels.device.device import Device

FILE = Path(__file__).parents[1] / "devices" / "agreement.json"
LEAST_ROWS = 10
"""A 90th percentile of fewer figures is their worst, and no interval."""


@dataclass(frozen=True)
class Agreement:
    """Predictions for one device beside the figures of one source.

    Attributes:
        device: name of a shipped device, or of the board where none is shipped.
        kind: class of the cost model.
        quantity: "latency_s", "energy_j", ...
        source: where the outside figures come from.
        rows: number of predictions.
        median_error, p90_error: median and 90th percentile of ``|predicted / measured - 1|``.
        kendall, spearman: rank correlations of predictions with figures; None where fewer than three rows differ.
        left_out: whether no prediction's own network (or setting) was seen by the fit that made it. False: nothing was fitted.
        baselines: median error of simpler models, fitted and left out alike, by name.
        groups: how many families of networks (networks, or settings, where there are no families) were left out in turn.
        plans: pairs of precisions of one network that were compared.
        seen: what is akin to the rows and was seen by the fits all the same, as the end of a sentence; "" where nothing was.
        single_layers: whether the rows are layers by themselves and no networks.
        plans_error, plans_p90: median and 90th percentile of how wrong the ratio of their predictions is.
    """

    device: str
    kind: str
    quantity: str
    source: str
    rows: int
    median_error: float
    p90_error: float
    kendall: float | None
    spearman: float | None
    left_out: bool
    baselines: Mapping[str, float] = field(default_factory=dict)
    groups: int = 0
    plans: int = 0
    plans_error: float | None = None
    plans_p90: float | None = None
    seen: str = ""
    single_layers: bool = False

    @property
    def brief(self) -> str:
        """For a narrow column: median error, Kendall's tau, rows, and the source's name without its details."""
        order = f", τ {self.kendall:.2f}" if self.kendall is not None else ""
        error = f"{self.what} {self.median_error:.1%}{self._spread}{order}"
        rows = f"{self.rows} {'single layer' if self.single_layers else 'row'}{'s' * (self.rows != 1)}"
        seen = f"; the fit saw {self.seen}" if self.seen else ""
        return f"{error}, {rows}, {self.source_name}{seen}"

    @property
    def how(self) -> str:
        """What the fit behind the predictions had seen of them."""
        if self.left_out and self.groups > 1:
            left = f"each of {self.groups} families left out of the fit"
            return f"{left}, which saw {self.seen}" if self.seen else left
        return f"the fit saw {self.seen}" if self.seen else "nothing fitted"

    @property
    def _spread(self) -> str:
        """The 90th percentile, and how many families it rests on, where families were left out in turn."""
        if not self.left_out or self.groups < 2:
            return ""
        return f" (90th percentile {self.p90_error:.0%}, {self.groups} left out in turn)"

    @property
    def source_name(self) -> str:
        """The source without its details: what stands before the first comma or bracket."""
        return self.source.split(",")[0].split(" (")[0]

    @property
    def source_of_figures(self) -> str:
        """``source_name``, and that it is a compiler's estimate where it is one."""
        return self.source_name + (" (a compiler's estimate)" if "compiler" in self.source else "")

    @property
    def what(self) -> str:
        """The quantity without its unit: ``latency_s`` is latency."""
        return self.quantity.removesuffix("_s").removesuffix("_j").removesuffix("_bytes").replace("_", " ")


def of(device: str) -> list[Agreement]:
    """The agreements of a device, latency first; none where nothing was ever compared."""
    return [entry for entry in _shipped() if entry.device == device]


def compared(device: Device) -> bool:
    """Whether the latency of this very device was ever held against figures from outside: shipped and compared, or fitted to
    timings of its own. A file that was changed, even under a shipped name, is another device."""
    if any(quantity.note.startswith("fitted to") for key, quantity in device.quantities() if key.startswith("rates.")):
        return True
    known = device.name in reader.shipped_names() and any(entry.quantity == "latency_s" for entry in of(device.name))
    return known and reader.shipped(device.name).device_sha256 == device.device_sha256


@dataclass(frozen=True)
class Doubt:
    """How far a predicted latency of a device may be from the figures that its model was held against.

    Attributes:
        share: 90 % of the predictions were at most this share of the figure away from it.
        between_plans: the same for the ratio of two plans of one network; None where no network was measured twice.
        source: where the figures come from; a compiler's estimate says so.
        groups: families of networks that were left out in turn.
        seen: what is akin to the figures and was seen by the fits all the same; "" where nothing was.
    """

    share: float
    between_plans: float | None
    source: str
    groups: int
    seen: str = ""

    def interval_s(self, latency_s: float, uncompared_s: float = 0.0) -> tuple[float, float]:
        """Ends of the 90 % interval around a predicted latency, from ``|predicted / figure - 1| <= share``; the upper end is
        infinite where predictions were too low by any factor. A part that was held against nothing may be twice as long or half
        (assumed)."""
        held = latency_s - uncompared_s
        highest = held / (1 - self.share) if self.share < 1 else float("inf")
        return held / (1 + self.share) + uncompared_s / 2, highest + 2 * uncompared_s

    def tells_apart(self, latency_s: float, other_s: float) -> bool:
        """Whether one plan of a network is faster than another beyond what the model gets wrong between plans; where that is not
        known, beyond what it gets wrong altogether."""
        ratio = max(latency_s, other_s) / max(min(latency_s, other_s), 1e-300)
        return ratio > 1 + (self.share if self.between_plans is None else self.between_plans)


def doubt(device: Device) -> Doubt | None:
    """The worst of what is known of the latency of this very device, of networks where any were compared; None where fewer than
    ``LEAST_ROWS`` figures are."""
    latencies = [entry for entry in of(device.name) if entry.quantity == "latency_s" and entry.rows >= LEAST_ROWS]
    known = [entry for entry in latencies if not entry.single_layers] or latencies
    if not known or not compared(device):
        return None
    worst = max(known, key=lambda entry: entry.p90_error)
    return Doubt(
        worst.p90_error, worst.plans_p90 if worst.plans >= LEAST_ROWS else None, worst.source_of_figures, worst.groups, worst.seen
    )


def document(found: list[Agreement]) -> str:
    """The text of ``agreement.json``."""
    return json.dumps({"schema": 1, "agreements": [asdict(entry) for entry in found]}, indent=1, ensure_ascii=False) + "\n"


def parse(text: str) -> list[Agreement]:
    """The reverse of ``document``."""
    return [Agreement(**entry) for entry in json.loads(text)["agreements"]]


@cache
def _shipped() -> list[Agreement]:
    return parse(FILE.read_text(encoding="utf-8"))
