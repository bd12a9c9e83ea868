"""Devices: what a target really executes, how fast, and what it can store; one TOML file each.

A device lists its *native* precisions with their dense multiply-accumulate rates. Any other width runs as the smallest native
precision that holds it, times an unpacking factor; only what is stored and moved shrinks, in the packing of the runtime.
Every number is a ``Quantity``: with a source (a key of the file's ``[sources]``), or assumed. Units are SI and are part of the names.
The same pydantic classes make ``devices/device.schema.json``. Mistakes are collected by ``hwmodels.device_file``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, Strict, model_validator

from hwmodels.errors import UsageError
from hwmodels.precision import Precision

NUMBER = 'a number, or { value = ..., source = "id", note = "..." }'


class Table(BaseModel):
    """A table of a device file: unknown keys are mistakes, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Quantity(Table):
    """A number with its origin. Written ``68e9`` (assumed) or ``{ value = 68e9, source = "id", note = "..." }``.

    ``source`` is a key of the device's ``sources``; without one the number is an assumption, and every listing says so.
    """

    value: Annotated[float, Strict()]
    source: str | None = None
    note: str = ""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        if isinstance(given, dict | Quantity):
            return given
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise ValueError(f"allowed: {NUMBER}")
        return {"value": given}

    @model_validator(mode="after")
    def _finite(self) -> Quantity:
        if not math.isfinite(self.value):
            raise ValueError("allowed: a finite number")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "number"}, handler(core_schema)]}

    def __float__(self) -> float:
        return self.value


def _above_zero(quantity: Quantity) -> Quantity:
    if quantity.value <= 0:
        raise ValueError("allowed: a number above 0")
    return quantity


def _not_negative(quantity: Quantity) -> Quantity:
    if quantity.value < 0:
        raise ValueError("allowed: 0 or more")
    return quantity


def _fraction(quantity: Quantity) -> Quantity:
    if not 0 < quantity.value <= 1:
        raise ValueError("allowed: above 0, at most 1")
    return quantity


def _factor(quantity: Quantity) -> Quantity:
    if quantity.value < 1:
        raise ValueError("allowed: 1 or more (a width that is not native is never faster than the native one)")
    return quantity


def _precision_key(text: str) -> str:
    try:
        return str(Precision.parse(text))
    except UsageError as error:
        raise ValueError(f"allowed: {error.hint}") from None


Positive = Annotated[Quantity, AfterValidator(_above_zero)]
NonNegative = Annotated[Quantity, AfterValidator(_not_negative)]
Fraction = Annotated[Quantity, AfterValidator(_fraction)]
Factor = Annotated[Quantity, AfterValidator(_factor)]
PrecisionKey = Annotated[str, AfterValidator(_precision_key)]
Bits = Literal[1, 2, 3, 4, 5, 6, 7, 8, 16]
BitsKey = Literal["1", "2", "3", "4", "5", "6", "7", "8", "16"]
Count = Annotated[int, Strict(), Field(ge=1)]
Flag = Annotated[bool, Strict()]


class Widths(Table):
    """Widths on offer. 16 means a 16-bit integer (``wide = "int16"``) or half precision (``"fp16"``); integer weights have at most 8 bits.

    ``symmetric_activations``: the runtime has no zero points, so 8-bit activations are -128..127 around 0.
    """

    weight_bits: Annotated[tuple[Bits, ...], Field(min_length=1)]
    activation_bits: Annotated[tuple[Bits, ...], Field(min_length=1)]
    wide: Literal["int16", "fp16", "none"] = "none"
    symmetric_activations: Flag = False


class Packing(Table):
    """How weights are stored: "bits" = bit-packed, rounded up to a byte per output channel; "bytes" = one container of whole bytes
    a weight; "stream" = losslessly compressed, with measured ``stored_bits_per_weight`` by width.

    ``expanded_at_load``: the packing saves storage only; weights are moved at the width they run as.
    """

    kind: Literal["bits", "bytes", "stream"]
    stored_bits_per_weight: dict[BitsKey, Positive] = {}
    expanded_at_load: Flag = False

    def weight_bytes(self, weight_count: int, output_channels: int, bits: int) -> int:
        """Bytes of a layer's weights stored in ``bits`` (biases and scales not included)."""
        if self.kind == "bytes":
            return weight_count * (1 if bits <= 8 else 2)
        if self.kind == "stream":
            return math.ceil(weight_count * self.stored_bits_per_weight[str(bits)].value / 8)  # type: ignore[index]
        return output_channels * math.ceil(weight_count // output_channels * bits / 8)


class Memory(Table):
    """One memory: capacity, sustained bandwidth, and energy per byte moved, each where known."""

    bytes: Positive | None = None
    bytes_per_s: Positive | None = None
    j_per_byte: NonNegative | None = None


class Memories(Table):
    """``onchip``: scratchpad, SRAM or last-level cache; ``dram``: external RAM; ``flash``: where an MCU keeps its weights."""

    onchip: Memory | None = None
    dram: Memory | None = None
    flash: Memory | None = None

    def __getitem__(self, name: str) -> Memory:
        memory = getattr(self, name) if name in type(self).model_fields else None
        if memory is None:
            raise KeyError(name)
        return memory

    def __contains__(self, name: str) -> bool:
        return name in type(self).model_fields and getattr(self, name) is not None


class Limits(Table):
    """Hard limits that a plan must meet: flash for weights, RAM for activations."""

    weight_bytes: Positive | None = None
    peak_activation_bytes: Positive | None = None


class Overhead(Table):
    """Fixed time of an inference, and of each layer (kernel launch, command issue)."""

    inference_s: NonNegative = Quantity(value=0.0)
    layer_s: NonNegative = Quantity(value=0.0)


class Energy(Table):
    """``relative``: no measured anchor on this device, so energies may be compared with each other, and not quoted in joules."""

    j_per_mac: dict[PrecisionKey, Positive] = {}
    static_w: NonNegative = Quantity(value=0.0)
    relative: Flag = True


class Gpu(Table):
    """Implicit GEMM on tensor cores: output tiles ``tile_m`` (pixels) by ``tile_n`` (channels), waves over ``sm_count``, channels padded.

    ``efficiency``: fraction of peak that well-shaped convolutions reach. ``cuda_core_rates``: MAC/s outside the tensor cores (depthwise).
    """

    sm_count: Positive
    clock_hz: Positive
    tile_m: Positive
    tile_n: Positive
    channel_pad: dict[PrecisionKey, Positive] = {}
    efficiency: Fraction = Quantity(value=1.0)
    cuda_core_rates: dict[PrecisionKey, Positive] = {}


class OutputCycles(Table):
    """Cycles per output element of the output unit, by operation and activation width."""

    conv_a8: Positive
    conv_a16: Positive
    relu: Positive
    add_a8: Positive
    add_a16: Positive
    lut: Positive


class Npu(Table):
    """A documented array (``microblock``, ``ifm_channels``, ``taps``, ``output_cycles``: Ethos-U) or a channel quantum with an
    effective rate (``channel_pad``, ``efficiency``). ``fused_bytes``: feature maps up to this size between consecutive layers stay on chip.
    """

    clock_hz: Positive | None = None
    cores: Count = 1
    microblock: tuple[Count, Count, Count] | None = None
    ifm_channels: dict[PrecisionKey, Positive] = {}
    taps: dict[PrecisionKey, Positive] = {}
    output_cycles: OutputCycles | None = None
    channel_pad: dict[PrecisionKey, Positive] = {}
    efficiency: Fraction = Quantity(value=1.0)
    fused_bytes: NonNegative = Quantity(value=0.0)


class CyclesPerMac(Table):
    """Cycles per multiply-accumulate of int8 kernels, by operation."""

    conv: Positive
    pointwise: Positive
    depthwise: Positive
    linear: Positive


class Mcu(Table):
    """Cycle tables of a processor core with its kernel library, at W8A8; ``rates`` give the other native precisions relative to it."""

    core: str
    kernels: str = ""
    clock_hz: Positive
    cycles_per_mac: CyclesPerMac
    cycles_per_output_requant: NonNegative
    cycles_per_input_byte_im2col: NonNegative
    cycles_per_layer: NonNegative


class Cpu(Table):
    """A general-purpose processor: number of threads, and the fraction of ``rates`` that convolutions reach."""

    threads: Positive = Quantity(value=1.0)
    efficiency: Fraction = Quantity(value=1.0)


class Fact(NamedTuple):
    """One number of a device as a person reads it. ``source`` is the citation, None for an assumption."""

    key: str
    value: str
    source: str | None
    note: str


class Device(Table):
    """A target, as its file describes it. ``rates`` are dense MAC/s of the native precisions; the table named like ``kind`` is present."""

    schema_version: Literal[1] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    title: str
    kind: Literal["npu", "gpu", "mcu", "cpu"]
    aliases: tuple[str, ...] = ()
    runtime: str
    summary: str
    hypothetical: Flag = False
    default_input: tuple[Count, Count]
    rates: Annotated[dict[PrecisionKey, Positive], Field(min_length=1)]
    widths: Widths
    packing: Packing
    memory: Memories
    limits: Limits = Limits()
    overhead: Overhead = Overhead()
    unpack: dict[PrecisionKey, Factor] = {}
    energy: Energy = Energy()
    gpu: Gpu | None = None
    npu: Npu | None = None
    mcu: Mcu | None = None
    cpu: Cpu | None = None
    sources: dict[str, str] = {}

    @property
    def native(self) -> tuple[Precision, ...]:
        """The precisions with arithmetic of their own, ascending."""
        return tuple(sorted(Precision.parse(key) for key in self.rates))

    @property
    def wide_is_float(self) -> bool:
        return self.widths.wide == "fp16"

    def runs_as(self, weight_bits: int, activation_bits: int) -> Precision:
        """The smallest native precision that executes stored weights and an input tensor of these widths.

        Raises:
            UsageError: none holds them.
        """
        found = smallest_native(self.native, weight_bits, activation_bits, self.wide_is_float)
        if found is None:
            raise UsageError(
                f"{self.name} cannot execute {weight_bits}-bit weights with {activation_bits}-bit activations",
                f"Native there: {', '.join(map(str, self.native))}.",
            )
        return found

    def unpack_factor(self, weight_bits: int, activation_bits: int) -> float:
        """Compute-time factor (>= 1) for stored weights that are not as wide as the precision they run as; 1 where none is listed.

        A factor given for 8-bit activations stands for the other activation widths too, unless they have their own.
        """
        for key in (f"W{weight_bits}A{activation_bits}", f"W{weight_bits}A8"):
            if key in self.unpack:
                return self.unpack[key].value
        return 1.0

    def quantities(self) -> Iterator[tuple[str, Quantity]]:
        """Every number of the file with its dotted key."""
        yield from _quantities(self, "")

    def facts(self) -> list[Fact]:
        """Every number with unit, citation (None: assumed) and note, in the order of the file's tables."""
        return [Fact(key, human(key, q.value), self.sources.get(q.source or ""), q.note) for key, q in self.quantities()]

    @property
    def device_sha256(self) -> str:
        """Digest of the content (comments and layout of the file do not matter)."""
        content = json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def smallest_native(
    native: tuple[Precision, ...], weight_bits: int, activation_bits: int, wide_is_float: bool
) -> Precision | None:
    """The first of the ascending ``native`` precisions that holds these widths; a 16 is half precision where ``wide_is_float``."""
    wanted = Precision(weight_bits, activation_bits, is_float=wide_is_float and 16 in (weight_bits, activation_bits))
    return next((precision for precision in native if precision.holds(wanted)), None)


def _quantities(node: object, path: str) -> Iterator[tuple[str, Quantity]]:
    if isinstance(node, Quantity):
        yield path, node
    elif isinstance(node, BaseModel):
        for name in sorted(node.model_fields_set, key=list(type(node).model_fields).index):
            yield from _quantities(getattr(node, name), f"{path}.{name}".lstrip("."))
    elif isinstance(node, Mapping):
        for name, value in node.items():
            yield from _quantities(value, f"{path}.{name}")


def human(key: str, value: float) -> str:
    """A number of a device file with its unit, which the key tells: ``human("memory.dram.bytes_per_s", 68e9)`` is ``68 GB/s``."""
    parts = key.split(".")
    leaf = parts[-1]
    if leaf == "bytes" or leaf.endswith("_bytes"):
        return _prefixed(value, "B", 1024, ("", "Ki", "Mi", "Gi", "Ti"))
    unit = next((unit for suffix, unit in _UNITS if leaf == suffix or leaf.endswith("_" + suffix)), "")
    if not unit:
        unit = next((_TABLE_UNITS[part] for part in parts if part in _TABLE_UNITS), "")
    if unit in ("", "cycles", "bits", "channels", "taps"):
        return f"{value:.6g} {unit}".strip()
    return _prefixed(value, unit, 1000, ("", "k", "M", "G", "T"))


_UNITS = (("bytes_per_s", "B/s"), ("j_per_byte", "J/B"), ("hz", "Hz"), ("s", "s"), ("w", "W"))
_TABLE_UNITS = {
    "rates": "MAC/s",
    "cuda_core_rates": "MAC/s",
    "j_per_mac": "J/MAC",
    "cycles_per_mac": "cycles",
    "output_cycles": "cycles",
    "stored_bits_per_weight": "bits",
    "ifm_channels": "channels",
    "channel_pad": "channels",
    "taps": "taps",
}
_SMALL = ("", "m", "u", "n", "p", "f")


def _prefixed(value: float, unit: str, base: int, names: tuple[str, ...]) -> str:
    power = 0
    while abs(value) >= base and power < len(names) - 1:
        value, power = value / base, power + 1
    while 0 < abs(value) < 1 and -power < len(_SMALL) - 1:
        value, power = value * 1000, power - 1
    prefix = names[power] if power >= 0 else _SMALL[-power]
    return f"{value:.4g} {prefix}{unit}"


def names() -> list[str]:
    """Names of the devices that come with the package, sorted."""
    from hwmodels import device_file

    return device_file.shipped_names()


def load(name_or_path: str) -> Device:
    """A device by its name, one of its aliases, or the path of a ``.toml`` file.

    Raises:
        UsageError: no device of that name; the closest ones are named.
        FileError: the file cannot be read or is not TOML.
        DeviceFileError: the file has mistakes; all are listed.
    """
    from hwmodels import device_file

    return device_file.load(name_or_path)


def load_text(text: str, origin: str) -> Device:
    """A device from the text of its file; ``origin`` is what errors call it. Raises as ``load`` does."""
    from hwmodels import device_file

    return device_file.load_text(text, origin)
