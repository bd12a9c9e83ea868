"""What a finished run knows: one JSON document, ``results.json`` in the run directory, from which report and tables are made."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from hwmodels.fitting.agreement import Doubt
from hwmodels.tiling.tiling import Tiling
from hwsearch.documents import earlier, units
from hwsearch.documents.bounds import Amount, Bits, Count, Inside, Number, Rate, Scale, Seed, Side, Text, Width
from hwsearch.documents.configuration import Leg
from hwsearch.documents.document import Document
from hwsearch.documents.origin import OriginText
from hwsearch.documents.plan import LossIs, Plan, Told


def _or_infinite(value: object) -> object:
    return math.inf if value is None else value


OrInfinite = Annotated[float, Field(ge=0, allow_inf_nan=True), BeforeValidator(_or_infinite)]
"""JSON has no infinity and says null."""


class _Finite(Document):
    """Numbers are finite."""

    model_config = ConfigDict(allow_inf_nan=False)


class LayerRow(_Finite):
    """Price of one layer under one plan; times in seconds."""

    name: Text
    op: Text
    macs: Count
    weight_bits: Bits | None
    input_bits: Bits
    output_bits: Bits
    runs_as: Text
    stored_as: Text
    compute_s: Amount
    weight_s: Amount
    activation_s: Amount
    overhead_s: Amount
    latency_s: Amount
    weight_bytes: Count
    binds: Text
    """The term that decides the latency: "compute", "weights", "activations" or "overhead"."""
    runs_on: Text = ""
    """The other processor that the runtime hands the layer to; "" where it stays on the device."""

    @property
    def executed(self) -> str:
        """What "runs as" says to a person."""
        return f"on the {self.runs_on}" if self.runs_on else self.runs_as


class ScheduleStep(_Finite):
    """Activation memory while one layer runs: ``{tensor name: bytes}`` of everything alive."""

    layer: Text
    live_bytes: dict[Text, Count]


class Point(Told):
    """One plan in the design space, in objectives only."""

    loss_db: Number
    loss_is: LossIs = "simulated"
    latency_s: Amount
    weight_bytes: Count
    peak_activation_bytes: Count
    energy_j: Amount | None
    origin: OriginText
    on_front: bool = False
    plan: Text | None = None
    """Name of the plan file, where there is one."""


class TilingPoint(_Finite):
    """One way to cut the picture, priced under one plan."""

    tiling: Tiling | None
    """None: the whole picture."""
    tiles: Count
    macs: Count
    latency_s: Amount
    peak_activation_bytes: Count
    energy_j: Amount | None
    fits: bool
    """Whether it is within the memory limits of device and budget."""
    chosen: bool


class ProxyCheck(_Finite):
    """A proxy's predictions against the simulated loss of the same random plans."""

    name: Text
    spearman: Number
    seconds: Amount
    predicted_db: list[Number]
    simulated_db: list[Number]

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, values: Any) -> Any:
        return earlier.with_simulated(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _pairs(self) -> ProxyCheck:
        if not 0 < len(self.predicted_db) == len(self.simulated_db):
            raise ValueError("a proxy is checked on plans of which both losses are known")
        return self

    @property
    def ranks(self) -> bool:
        """Whether there is something to rank: three plans of different losses."""
        return len(set(self.simulated_db)) > 2

    @property
    def median_error_db(self) -> float:
        """Median absolute error of prediction."""
        return median(abs(p - m) for p, m in zip(self.predicted_db, self.simulated_db, strict=True))

    @property
    def median_error_share(self) -> float:
        """Median error of prediction as a share of the simulated loss, over the plans that lose anything; 0 where none does."""
        shares = [abs(p - m) / m for p, m in zip(self.predicted_db, self.simulated_db, strict=True) if m > 0]
        return median(shares) if shares else 0.0


class SignalToNoise(_Finite):
    """Signal to quantization noise ratio of one layer's weights, or of the tensors of one width group.

    ``db``: width -> dB; None where that width makes no error.
    """

    name: Text
    is_weight: bool
    db: dict[Width, Number | None]


class Crop(_Finite):
    """Files (PNG, relative to the run directory) of one magnified detail of an evaluation picture."""

    picture: Text
    high: Inside
    bicubic: Inside
    float_: Inside
    plan: Inside
    error: Inside
    plan_name: Text
    psnr_db: dict[Text, OrInfinite]
    """Of "bicubic", "float", "plan" on the whole picture."""


class Fact(_Finite):
    """One number of the device file, ready to print. ``source`` is None where it is an assumption."""

    key: Text
    value: Text
    source: Text | None
    note: Text | None = None


class DeviceFacts(_Finite):
    name: Text
    title: Text
    kind: Text
    runtime: Text
    hypothetical: bool
    compared: bool | None = None
    """Whether predicted latencies were ever held against measured ones; None in results of earlier versions."""
    doubt: Doubt | None = None
    """How far a predicted latency may be off; None where too little was ever compared."""
    facts: list[Fact]
    assumptions: list[Text]


class NamedQuality(_Finite):
    """What a task measures: the name and the unit of ``quality_db`` and ``loss_db``, or of ``second``, in one document."""

    name: Text
    unit: Text


class Reference(Told):
    """The floating-point network: quality measured on the evaluation pictures, size at 32 bits."""

    quality_db: Number
    second: Number
    baseline_db: Number | None
    """Of the simplest method (``Results.baseline``); None where the task has none."""
    weight_bytes: Count
    latency_s: Amount | None
    """On the device in its best floating-point precision; None where it has none."""
    precision: Text | None


class Results(_Finite):
    """Everything that a finished run shows."""

    target: Text
    network: Text
    scale: Scale
    input_height: Side
    input_width: Side
    macs: Count
    parameters: Count
    space_size: OrInfinite
    """Number of plans."""
    scope: Text
    reference: Reference
    quality: NamedQuality = NamedQuality(name="PSNR-Y", unit="dB")
    """What ``quality_db`` and ``loss_db`` mean here."""
    second: NamedQuality = NamedQuality(name="SSIM-Y", unit="")
    """What ``second`` means here."""
    baseline: Text = "bicubic"
    """The simplest method that does the job; empty where there is none."""
    device: DeviceFacts
    uncounted: list[Text]
    notes: list[Text]
    """Plain sentences that a reader must know: what runs in floating point, what was assumed, what was not done."""
    front: list[Plan]
    chosen: dict[Text, Text]
    """Role ("knee", "best quality", "fastest", "smallest", "budget") -> plan name."""
    finalists: dict[Text, Number] = Field(default_factory=dict)
    """Plan name -> what the plan loses on the search pictures once it is finished, for those of which one was picked by that."""
    points: list[Point]
    proxies: list[ProxyCheck]
    """Against random plans."""
    front_proxies: list[ProxyCheck] = Field(default_factory=list)
    """The proxy that the search used, as it came and calibrated by measurement, against the plans of the exact fronts; each was
    predicted before it was simulated."""
    sqnr: list[SignalToNoise] = Field(default_factory=list)
    layers: dict[Text, list[LayerRow]]
    """Plan name -> rows, for the chosen plans."""
    schedule: dict[Text, list[ScheduleStep]]
    crops: list[Crop]
    pictures: dict[Text, list[Text]]
    """"calibration", "search", "evaluation" -> names; disjoint."""
    budgets: dict[Text, Number]
    limits: dict[Text, Number] = Field(default_factory=dict)
    """The device's own hard limits, in the names of the objectives: "weight_bytes", "peak_activation_bytes"."""
    fps: Rate | None = None
    """Pictures a second that were asked for."""
    tilings: list[TilingPoint] = Field(default_factory=list)
    """Ways to cut the picture under the plan of the budget or, without one, of the knee; empty where only one was looked at."""
    command: Text = ""
    """The command line that made the run, where there was one."""
    seed: Seed
    evaluations: Count
    wall_s: Amount
    stages_s: dict[Text, Number]
    versions: dict[Text, Text]
    created: Text
    places: dict[Text, Inside] = Field(default_factory=dict)
    """Plan name -> folder of the run that its file lies in, where that is not the one of these results."""
    resumed: list[Leg] = Field(default_factory=list)
    """Each time that the run was gone on with; ``versions`` are those of the last."""
    _run_dir: Path | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, values: Any) -> Any:
        return earlier.with_budgets(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _names_stand_for_plans(self) -> Results:
        names = [plan.name for plan in self.front]
        if len(set(names)) < len(names):
            raise ValueError("two plans of the front have one name")
        strangers = sorted({*self.chosen.values()} - {*names})
        if strangers:
            raise ValueError(f"chosen plans are not in the front: {', '.join(strangers)[:200]}")
        return self

    @property
    def run_dir(self) -> Path | None:
        """Where the run stands, once it is written; not part of the document, which may be moved."""
        return self._run_dir

    @property
    def unproven(self) -> list[Plan]:
        """The chosen plans that are not proven."""
        chosen = {*self.chosen.values()}
        return [plan for plan in self.front if plan.unproven is not None and plan.name in chosen]

    @property
    def rewritten_alike(self) -> str | None:
        """What was done to the network of every plan of the front, in words, empty for nothing; None where plans differ in it."""
        said = {units.rewritten(plan.dropped, plan.branches) for plan in self.front}
        return said.pop() if len(said) == 1 else None

    @property
    def int8_weight_bytes(self) -> int | None:
        """Weight bytes of the uniform W8A8 plan on this device; None where it was not priced."""
        return next((point.weight_bytes for point in self.points if point.origin.uniform == "W8A8"), None)

    def file_of(self, plan: str) -> str:
        """The file of a plan, relative to where these results lie."""
        folder = self.places.get(plan)
        return f"plans/{plan}.json" if folder is None else f"{folder}/plans/{plan}.json"

    def placed(self, run_dir: Path) -> Results:
        """The same results, knowing where they stand."""
        found = self.model_copy()
        found._run_dir = run_dir
        return found
