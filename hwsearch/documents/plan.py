"""Plans as data: one choice for every layer and tensor, what was predicted, what was measured, and where it came from.

A plan is two files beside each other: ``NAME.json`` (this schema) and ``NAME.safetensors`` (the integers: see
``quant.storage``), named and checked by its hash. The pair is self-contained: neither the network's code nor its weights
are needed to run or export it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hwmodels.tiling.tiling import Tiling
from hwsearch.documents import earlier

SCHEMA = 1


class Predicted(BaseModel):
    """Objectives from the cost model and the refined quality model; every one is minimised."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    psnr_loss_db: float
    latency_s: float
    weight_bytes: int
    peak_activation_bytes: int
    energy_j: float | None


class Counted(BaseModel):
    """What papers count, of convolution weights alone and on no device (see ``hwmodels.counting``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    mean_weight_bits: float
    """By parameters, over all convolutions."""
    scope_weight_bits: float
    """The same over the layers of the scope."""
    compression: float
    """32 over ``mean_weight_bits``."""
    bitops: float
    """Multiply-accumulates of one picture times the bits of the weights times the bits of what is read."""


class Measured(BaseModel):
    """Objectives measured by running the plan's integers on the evaluation pictures."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    psnr_db: float
    psnr_loss_db: float
    ssim: float
    runtime: str
    mismatched_codes: int
    """Output codes that differ between our integer engine and ``runtime``."""
    codes: int
    tiled_mismatched_codes: int | None = None
    """Output codes that differ between our engine on whole pictures and tile by tile; None for a plan that cuts nothing."""
    float_layers: list[str] = Field(default_factory=list)
    """Layers that the device runs in floating point, hence not proven in integers."""


class Provenance(BaseModel):
    """Where a plan came from: enough to make it again."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    created: str
    seed: int
    network_arguments: dict[str, str | int | float | bool] = Field(default_factory=dict)
    weights_sha256: str
    device_sha256: str
    calibration: list[str]
    versions: dict[str, str]
    origin: str
    """Which part of the search found it: "exact", "refine" or "uniform"."""


class Plan(BaseModel):
    """One point of the design space."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: int = SCHEMA
    name: str
    network: str
    scale: int
    target: str
    input_height: int
    input_width: int
    tiling: Tiling | None = None
    """How the picture is cut; None: not at all."""
    scope: str
    requantization: str = "f32"
    wide: str = "int16"
    """What 16 bits mean on the target: "int16" or "fp16"."""
    method: str = earlier.USUAL_METHOD
    """How ranges and integers were found: the name of a quantization method."""
    weight_bits: dict[str, int]
    activation_bits: dict[str, int]
    predicted: Predicted
    counted: Counted | None = None
    measured: Measured | None = None
    integers: str | None = None
    """File name of the integers, beside this file."""
    integers_sha256: str | None = None
    provenance: Provenance

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, values: Any) -> Any:
        return earlier.with_method(values) if isinstance(values, dict) else values

    @property
    def key(self) -> str:
        """Hash of the choices alone: equal for equal plans of one network and target, whatever was predicted."""
        tiling = None if self.tiling is None else str(self.tiling)
        made = [self.network, self.scale, self.target, self.weight_bits, self.activation_bits, tiling]
        made += [] if self.method == earlier.USUAL_METHOD else [self.method]
        choices = json.dumps(made, sort_keys=True)
        return hashlib.sha256(choices.encode()).hexdigest()[:16]

    @property
    def origin(self) -> dict[str, str | int]:
        """What exported files say of the plan they came from."""
        facts: dict[str, str | int] = {"plan": self.name, "plan_key": self.key, "network": self.network, "scale": self.scale}
        facts |= {"target": self.target, "created": self.provenance.created}
        return facts | ({"integers_sha256": self.integers_sha256} if self.integers_sha256 else {})
