"""What a value of a device file may be: numbers with their origin, precisions, widths, counts.

Every number is a ``Quantity``: with a source (a key of the file's ``[sources]``), or assumed. Units are SI and part of the names.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, Strict, model_validator

from hwmodels.errors import UsageError
from hwmodels.numbers import FORMAT_NAMES, FORMAT_PATTERN, Precision, format_of

NUMBER = 'a number, or { value = ..., source = "id", note = "..." }'

SMALLEST, LARGEST = 1e-24, 1e18
"""Magnitudes of numbers in SI units: nothing that a device is or does lies beyond them, and prices stay finite."""
MOST = 2**20
"""Of what is counted, such as the side of a picture."""


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
        if isinstance(given, int) and abs(given) > LARGEST:
            raise ValueError(f"allowed: at most {LARGEST:g} in SI units")
        return {"value": given}

    @model_validator(mode="after")
    def _finite(self) -> Quantity:
        if not math.isfinite(self.value):
            raise ValueError("allowed: a finite number")
        if self.value != 0 and not SMALLEST <= abs(self.value) <= LARGEST:
            raise ValueError(f"allowed: 0, or between {SMALLEST:g} and {LARGEST:g} in SI units")
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


def _format_name(text: str) -> str:
    try:
        return str(format_of(text))
    except UsageError:
        raise ValueError(f"allowed: {FORMAT_NAMES}") from None


Positive = Annotated[Quantity, AfterValidator(_above_zero)]
NonNegative = Annotated[Quantity, AfterValidator(_not_negative)]
Fraction = Annotated[Quantity, AfterValidator(_fraction)]
Factor = Annotated[Quantity, AfterValidator(_factor)]
PrecisionKey = Annotated[str, AfterValidator(_precision_key)]
FormatName = Annotated[str, AfterValidator(_format_name), Field(json_schema_extra={"pattern": FORMAT_PATTERN})]
BitsKey = Literal["1", "2", "3", "4", "5", "6", "7", "8", "16"]
PackedKey = Literal["1", "2", "3", "4", "5", "6", "7"]
ElementKey = Literal[
    "add", "mul", "unary", "pool", "softmax", "normalize", "concat", "slice", "repeat", "shuffle", "resize", "transpose", "view",
    "copy", "pad", "gather", "product", "product_first", "product_second", "product_mac", "add_repeated", "real", "bend", "mean",
    "mean_value", "deviation", "deviation_value", "window", "window_value", "average", "average_value", "softmax_row",
    "normalize_row", "interpolate", "interpolate_row", "interpolate_value", "interpolate_column", "run", "table_run",
    "scatter", "shuffle_run", "bilinear", "bilinear_value", "bilinear_column", "normalize_uncentred", "normalize_uncentred_row",
    "curve", "gated", "variance", "repeat_value", "table_row", "unaligned",
]  # fmt: skip
Count = Annotated[int, Strict(), Field(ge=1, le=MOST)]
Flag = Annotated[bool, Strict()]
