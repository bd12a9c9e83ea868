"""What a finished run knows: one JSON document, ``results.json`` in the run directory, from which report and tables are made."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from hwmodels.tiling.tiling import Tiling
from hwsearch.documents.plan import Plan


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LayerRow(_Frozen):
    """Price of one layer under one plan; times in seconds."""

    name: str
    op: str
    macs: int
    weight_bits: int | None
    input_bits: int
    output_bits: int
    runs_as: str
    stored_as: str
    compute_s: float
    weight_s: float
    activation_s: float
    overhead_s: float
    latency_s: float
    weight_bytes: int
    binds: str
    """The term that decides the latency: "compute", "weights", "activations" or "overhead"."""


class ScheduleStep(_Frozen):
    """Activation memory while one layer runs: ``{tensor name: bytes}`` of everything alive."""

    layer: str
    live_bytes: dict[str, int]


class Point(_Frozen):
    """One plan in the design space, in objectives only."""

    psnr_loss_db: float
    latency_s: float
    weight_bytes: int
    peak_activation_bytes: int
    energy_j: float | None
    origin: str
    """"exact", "probe" (random check of the proxies), "refine", or "uniform W8A8" and the like."""
    on_front: bool = False
    plan: str | None = None
    """Name of the plan file, where there is one."""


class TilingPoint(_Frozen):
    """One way to cut the picture, priced under one plan."""

    tiling: Tiling | None
    """None: the whole picture."""
    tiles: int
    macs: int
    latency_s: float
    peak_activation_bytes: int
    energy_j: float | None
    fits: bool
    """Whether it is within the memory limits of device and budget."""
    chosen: bool


class ProxyCheck(_Frozen):
    """A proxy's predictions against the measured loss of the same random plans."""

    name: str
    spearman: float
    seconds: float
    predicted_db: list[float]
    measured_db: list[float]

    @property
    def median_error_db(self) -> float:
        """Median absolute error of prediction."""
        return median(abs(p - m) for p, m in zip(self.predicted_db, self.measured_db, strict=True))

    @property
    def median_error_share(self) -> float:
        """Median error of prediction as a share of the measured loss, over the plans that lose anything; 0 where none does."""
        shares = [abs(p - m) / m for p, m in zip(self.predicted_db, self.measured_db, strict=True) if m > 0]
        return median(shares) if shares else 0.0


class SignalToNoise(_Frozen):
    """Signal to quantization noise ratio of one layer's weights, or of the tensors of one width group.

    ``db``: bits -> dB; None where that width makes no error.
    """

    name: str
    is_weight: bool
    db: dict[int, float | None]


class Crop(_Frozen):
    """Files (PNG, relative to the run directory) of one magnified detail of an evaluation picture."""

    picture: str
    high: str
    bicubic: str
    float_: str
    plan: str
    error: str
    plan_name: str
    psnr_db: dict[str, float]
    """Of "bicubic", "float", "plan" on the whole picture."""


class Fact(_Frozen):
    """One number of the device file, ready to print. ``source`` is None where it is an assumption."""

    key: str
    value: str
    source: str | None
    note: str | None = None


class DeviceFacts(_Frozen):
    name: str
    title: str
    kind: str
    runtime: str
    hypothetical: bool
    compared: bool | None = None
    """Whether predicted latencies were ever held against measured ones; None in results of earlier versions."""
    facts: list[Fact]
    assumptions: list[str]


class Reference(_Frozen):
    """The floating-point network: quality measured on the evaluation pictures, size at 32 bits."""

    psnr_db: float
    ssim: float
    bicubic_psnr_db: float
    weight_bytes: int
    latency_s: float | None
    """On the device in its best floating-point precision; None where it has none."""
    precision: str | None


class Results(_Frozen):
    """Everything that a finished run shows."""

    target: str
    network: str
    scale: int
    input_height: int
    input_width: int
    macs: int
    parameters: int
    space_size: float
    scope: str
    reference: Reference
    device: DeviceFacts
    uncounted: list[str]
    notes: list[str]
    """Plain sentences that a reader must know: what runs in floating point, what was assumed, what was not done."""
    front: list[Plan]
    chosen: dict[str, str]
    """Role ("knee", "best quality", "fastest", "smallest", "budget") -> plan name."""
    points: list[Point]
    proxies: list[ProxyCheck]
    """Against random plans."""
    front_proxies: list[ProxyCheck] = Field(default_factory=list)
    """The proxy that the search used, as it came and calibrated by measurement, against the plans of the exact fronts; each was
    predicted before it was measured."""
    sqnr: list[SignalToNoise] = Field(default_factory=list)
    layers: dict[str, list[LayerRow]]
    """Plan name -> rows, for the chosen plans."""
    schedule: dict[str, list[ScheduleStep]]
    crops: list[Crop]
    pictures: dict[str, list[str]]
    """"calibration", "search", "evaluation" -> names; disjoint."""
    budgets: dict[str, float]
    limits: dict[str, float] = Field(default_factory=dict)
    """The device's own hard limits, in the names of the objectives: "weight_bytes", "peak_activation_bytes"."""
    fps: float | None = None
    """Pictures a second that were asked for."""
    tilings: list[TilingPoint] = Field(default_factory=list)
    """Ways to cut the picture under the plan of the budget or, without one, of the knee; empty where only one was looked at."""
    command: str = ""
    """The command line that made the run, where there was one."""
    seed: int
    evaluations: int
    wall_s: float
    stages_s: dict[str, float]
    versions: dict[str, str]
    created: str
    _run_dir: Path | None = PrivateAttr(default=None)

    @property
    def run_dir(self) -> Path | None:
        """Where the run stands, once it is written; not part of the document, which may be moved."""
        return self._run_dir

    @property
    def int8_weight_bytes(self) -> int | None:
        """Weight bytes of the uniform W8A8 plan on this device; None where it was not priced."""
        return next((point.weight_bytes for point in self.points if point.origin == "uniform W8A8"), None)

    def placed(self, run_dir: Path) -> Results:
        """The same results, knowing where they stand."""
        self._run_dir = run_dir
        return self
