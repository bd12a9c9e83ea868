"""How far the latencies predicted for a device can be trusted: a mark beside one of them, a sentence below a table of them, and
the same for machines. Wherever a latency is shown, one of the three is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwmodels.device.device import Device
from hwmodels.fitting import agreement
from hwmodels.fitting.agreement import LEAST_ROWS, Doubt
from hwsearch.documents import elsewhere, units
from hwsearch.documents.results import DeviceFacts, LayerRow


@dataclass(frozen=True)
class Trust:
    """``compared``: whether latencies predicted for the device ``title`` were ever held against measured ones, None where that is
    not known; ``doubt``: how far they may be off, None where too little was compared."""

    title: str
    compared: bool | None
    doubt: Doubt | None

    @property
    def below(self) -> str:
        """A sentence below a table of latencies; empty where nothing is known."""
        if not self.compared:
            return units.NEVER_MEASURED.format(self.title) if self.compared is False else ""
        return units.FEWER_MEASURED.format(self.title, LEAST_ROWS) if self.doubt is None else units.doubt(self.doubt)

    def interval_s(self, latency_s: float, uncompared_s: float = 0.0) -> tuple[float, float] | None:
        """Ends of the 90 % interval; see ``Doubt.interval_s``."""
        return None if self.doubt is None else self.doubt.interval_s(latency_s, uncompared_s)

    def mark(self, interval_s: tuple[float, float] | None) -> str:
        """What stands behind a latency of that interval, in parentheses; empty where nothing is known."""
        if self.doubt is None or interval_s is None:
            return f" ({self.lack})" if self.lack else ""
        return f" (90 %: {units.interval(*interval_s)}, by {self.doubt.source})"

    @property
    def lack(self) -> str:
        """Why a latency has no interval, in a few words; empty where it has one, or that is not known."""
        if not self.compared:
            return units.NO_MEASUREMENT if self.compared is False else ""
        return units.FEW_MEASUREMENTS if self.doubt is None else ""


def of(device: Device | DeviceFacts) -> Trust:
    """What is known of this very device, or was when results were written."""
    if isinstance(device, DeviceFacts):
        return Trust(device.title, device.compared, device.doubt)
    return Trust(device.title, agreement.compared(device), agreement.doubt(device))


def beside(device: Device, latency_s: float, layers: Sequence[LayerRow]) -> str:
    """``Trust.mark`` of the latency of a network whose ``layers`` are known."""
    known = of(device)
    return known.mark(known.interval_s(latency_s, elsewhere.seconds(layers, device)))


def document(device: Device | DeviceFacts, latency_s: float | None = None, layers: Sequence[LayerRow] = ()) -> dict[str, object]:
    """For machines: ``compared``, ``doubt`` and, of a latency, its ``interval_s`` (90 %), None where that is not known."""
    known = of(device)
    found: dict[str, object] = {"compared": known.compared, "doubt": known.doubt}
    if latency_s is not None:
        found["interval_s"] = known.interval_s(latency_s, elsewhere.seconds(layers, device))
    return found
