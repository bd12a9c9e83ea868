"""Plans as data: one choice for every layer and tensor, what was predicted, what was measured, and where it came from.

A plan is two files beside each other: ``NAME.json`` (this schema) and ``NAME.safetensors`` (the integers: see
``quant.network.storage``), named and checked by its hash. The pair is self-contained: neither the network's code nor its weights
are needed to run or export it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, model_validator

from hwmodels.tiling.tiling import Tiling
from hwsearch.documents import earlier
from hwsearch.documents.bounds import Amount, Count, Digest, Name, Number, Scale, Seed, Side, Text, Width
from hwsearch.documents.document import Document
from hwsearch.documents.origin import OriginText
from searchspaces.data.scale import network_text, spelled

LossIs = Literal["simulated", "predicted"]
"""Where a loss comes from: quantization "simulated" in floating point on the search pictures, or "predicted" from the damage of
single choices. What is "measured" was run in integers on the evaluation pictures, and stands in ``Measured``."""
SCHEMA: Literal[1] = 1


class Told(Document):
    """What is told of a plan or a network, quality among it; documents of earlier versions are read."""

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, values: Any) -> Any:
        return earlier.with_quality(values) if isinstance(values, dict) else values


class Predicted(Told):
    """Objectives of a plan that was not run in integers; every one is minimised. All but the loss are the cost model's."""

    loss_db: Number
    loss_is: LossIs = "simulated"
    latency_s: Amount
    weight_bytes: Count
    peak_activation_bytes: Count
    energy_j: Amount | None


class Counted(Document):
    """What papers count, of convolution weights alone and on no device (see ``hwmodels.counting``)."""

    mean_weight_bits: Amount
    """By parameters, over all convolutions."""
    scope_weight_bits: Amount
    """The same over the layers of the scope."""
    compression: Amount
    """32 over ``mean_weight_bits``."""
    bitops: Amount
    """Multiply-accumulates of one picture times the bits of the weights times the bits of what is read."""


class Measured(Told):
    """Objectives measured by running the plan's integers on the evaluation pictures."""

    quality_db: Number
    loss_db: Number
    second: Number
    runtime: Text
    mismatched_codes: Count
    """Output codes that differ between our integer engine and ``runtime``."""
    codes: Count
    tiled_mismatched_codes: Count | None = None
    """Output codes that differ between our engine on whole pictures and tile by tile; None for a plan that cuts nothing."""
    near_db: Number | None = None
    """PSNR of the output against the floating-point network's, of the mean of the samples' squared errors over all channels, of
    values in 0..1; None where outputs are no pictures, and in plans of earlier versions."""
    float_layers: list[Text] = Field(default_factory=list)
    """Layers that the device runs in floating point, hence not proven in integers."""


class Unproven(Document):
    """Why a plan that was run in integers is not proven: its exported file cannot be run, or does not compute what our engine
    computes."""

    reason: Text
    operator: Text = ""
    """The first operator whose codes differ on the same codes before it; empty where none was found."""
    differing: Count = 0
    """Codes of that operator that differ on one picture, of ``codes``; the largest distance is ``largest``."""
    codes: Count = 0
    largest: Count = 0


class Provenance(Document):
    """Where a plan came from: enough to make it again."""

    created: Text
    seed: Seed
    network_arguments: dict[Text, str | int | float | bool] = Field(default_factory=dict)
    weights_sha256: Digest
    device_sha256: Digest
    calibration: list[Text]
    versions: dict[Text, Text]
    origin: OriginText


class Seal(Document):
    """Digests of what belongs together in a plan, taken when it was written: they tell an edited plan from its own, and what of
    it was edited."""

    network: Digest
    """Name, enlargement, arguments and weights of the network, the blocks that it is without, and its branches."""
    widths: Digest
    """The width of every layer and tensor, what they mean, and how they were quantized."""
    setting: Digest
    """Device, size of the input, tiles, scope and rounding."""
    whole: Digest
    """The three above, the integers, and the plan's name: parts of several plans do not make one."""


class Plan(Document):
    """One point of the design space."""

    schema_version: Literal[1] = SCHEMA
    name: Name
    network: Text
    scale: Scale
    dropped: list[Text] = Field(default_factory=list)
    """Blocks that the network is without, by their names in its state dict."""
    branches: dict[Text, Count] = Field(default_factory=dict)
    """Layer -> rank of its low-rank branch (``searchspaces.ir.branches``)."""
    input_channels: list[Text] = Field(default_factory=list)
    """How what the network reads is made from the picture (``networks.input_channels``); empty: it is the picture."""
    value_range: Text | None = None
    """What values the network expects, where that was said (``networks.adapted.value_range``)."""
    order: Text | None = None
    """In which order it expects colours, where that was said."""
    target: Text
    input_height: Side
    input_width: Side
    tiling: Tiling | None = None
    """How the picture is cut; None: not at all."""
    scope: Text
    requantization: Text = "f32"
    wide: Text = "int16"
    """What 16 bits mean on the target: "int16", "fp16", "bf16"."""
    method: Text = earlier.USUAL_METHOD
    """How ranges and integers were found: the name of a quantization method, or of several with ``+`` between them."""
    weight_methods: dict[Text, Text] = Field(default_factory=dict)
    """Of several methods the one that made a layer's integers, by layer; what none of them decides is not named."""
    activation_methods: dict[Text, Text] = Field(default_factory=dict)
    """Likewise the one that made the format of a tensor, and of all that must have the same; by the first of them."""
    weight_bits: dict[Text, Width]
    """Number formats by layer: bits, or the name of a format that bits do not tell (``fp8e4m3``); so below, by tensor."""
    activation_bits: dict[Text, Width]
    predicted: Predicted
    counted: Counted | None = None
    measured: Measured | None = None
    """None where the plan was not run in integers, or is ``unproven``."""
    unproven: Unproven | None = None
    integers: Name | None = None
    """File name of the integers, beside this file."""
    integers_sha256: Digest | None = None
    remarks: list[Text] = Field(default_factory=list)
    """What whoever uses the plan must know of how its integers came to be, in sentences: of a training that went wrong, say."""
    provenance: Provenance
    seal: Seal | None = None
    """None in plans of earlier versions."""

    @model_validator(mode="after")
    def _proven_or_not(self) -> Plan:
        if self.measured is not None and self.unproven is not None:
            raise ValueError("a plan that is not proven has no measured quality")
        return self

    @model_validator(mode="after")
    def _tiles_lie_inside(self) -> Plan:
        if self.tiling is not None and not (1 <= self.tiling.height <= 99_999 and 1 <= self.tiling.width <= 99_999):
            raise ValueError(f"tiles of {self.tiling} cannot be cut")
        return self

    @property
    def not_proven(self) -> str:
        """Why the plan is not proven, in a sentence; empty for one that is, or that was not run in integers."""
        return "" if self.unproven is None else f"{self.name} is NOT PROVEN: {self.unproven.reason}"

    def sealed(self) -> Plan:
        """The same plan with its seal."""
        return self.model_copy(update={"seal": self._own_seal()})

    @property
    def edited(self) -> tuple[str, ...]:
        """What was changed since the plan was written, in words; empty also for a plan of earlier versions, without a seal."""
        if self.seal is None:
            return ()
        own, found = self._own_seal(), []
        if own.network != self.seal.network:
            found.append(f"the network ({network_text(self.network, self.scale)}, its arguments, blocks, branches or weights)")
        if own.widths != self.seal.widths:
            mixed = bool(self.weight_methods or self.activation_methods)
            found.append("the widths, or the methods that made them" if mixed else "the widths")
        if own.setting != self.seal.setting:
            found.append(f"the setting ({self.target}, {self.input_height}x{self.input_width}, tiles, scope or rounding)")
        if not found and own.whole != self.seal.whole:
            found.append("the integers, or the name")
        return tuple(found)

    def _own_seal(self) -> Seal:
        made_with = self.provenance
        arguments = made_with.network_arguments
        network = _sha256(self.network, spelled(self.scale), arguments, made_with.weights_sha256, *self._as_adapted)
        # Not sorted: the order of layers is that of the network.
        widths = _sha256([*self.weight_bits.items()], [*self.activation_bits.items()], self.wide, self.method, *self._as_mixed)
        tiling = None if self.tiling is None else str(self.tiling)
        size = (self.input_height, self.input_width)
        setting = _sha256(self.target, made_with.device_sha256, size, tiling, self.scope, self.requantization)
        whole = _sha256(network, widths, setting, self.integers_sha256, self.name, made_with.seed)
        return Seal(network=network, widths=widths, setting=setting, whole=whole)

    @property
    def _as_adapted(self) -> list[Any]:
        """What was done to the network; nothing where a plan says nothing of it, so that such plans have the seals and keys of
        versions that could not."""
        expects = {"input_channels": self.input_channels, "value_range": self.value_range, "order": self.order}
        said = {name: value for name, value in (expects | {"branches": self.branches}).items() if value}
        return ([self.dropped] if self.dropped else []) + ([said] if said else [])

    @property
    def _as_mixed(self) -> list[Any]:
        """Which method made what; nothing where one made all, so that such plans keep their seals and keys."""
        return [self.weight_methods, self.activation_methods] if self.weight_methods or self.activation_methods else []

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, values: Any) -> Any:
        return earlier.with_method(values) if isinstance(values, dict) else values

    @property
    def key(self) -> str:
        """Hash of the choices alone: equal for equal plans of one network and target, whatever was predicted."""
        tiling = None if self.tiling is None else str(self.tiling)
        made: list[Any] = [self.network, spelled(self.scale), self.target, self.weight_bits, self.activation_bits, tiling]
        made += self._as_adapted
        made += [] if self.method == earlier.USUAL_METHOD else [self.method]
        made += self._as_mixed
        choices = json.dumps(made, sort_keys=True)
        return hashlib.sha256(choices.encode()).hexdigest()[:16]

    @property
    def origin(self) -> dict[str, str | int]:
        """What exported files say of the plan they came from."""
        facts: dict[str, str | int] = {"plan": self.name, "plan_key": self.key, "network": self.network}
        facts |= {"scale": spelled(self.scale), "target": self.target, "created": self.provenance.created}
        return facts | ({"integers_sha256": self.integers_sha256} if self.integers_sha256 else {})


def _sha256(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
